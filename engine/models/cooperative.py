"""Triton kernels of several passes over the same maps, each of which needs what those before have summed up.

As one launch: as many programs as a GPU has at work at the same time walk over the work of the first pass,
wait for each other, and walk over that of the second. Sums are added up in a fixed order, so bits repeat.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

ALL = 0
"""What a launch does: `PASS` of a kernel, all or a single one, from 1. Triton's interpreter takes one program
after the other, of which none can wait for the next, so there each pass is a launch."""
PER_PROCESSOR = 2
"""Programs at work at the same time on each of a GPU's processors, ..."""
WARPS = 8
REGISTERS = 128
"""... so that a thread has this many of its 65,536 registers."""
PROGRAMS_OF_INTERPRETER = 5


@triton.jit
def wait_for_all(gate):  # type: ignore[no-untyped-def]
    """Go on once all programs have come here; what each has stored before, all can load after.

    `gate` is an int32 in the device's memory, of which only the highest bit means something. All arrivals
    together add 2^31 and flip it: the first program adds what the others leave of that.
    """
    tl.debug_barrier()
    others = tl.num_programs(0) - 1
    step = tl.where(tl.program_id(0) == 0, 2147483647 - (others - 1), 1)
    before = tl.atomic_add(gate, step, sem="acq_rel", scope="gpu")
    now = before
    while (before ^ now) >= 0:
        now = tl.atomic_add(gate, 0, sem="acq_rel", scope="gpu")
    tl.debug_barrier()


@triton.jit  # type: ignore[untyped-decorator]
def meet_kernel(gate, PASS: tl.constexpr):  # type: ignore[no-untyped-def]
    if PASS == 0:
        wait_for_all(gate)


def prepare(gpu: int) -> None:
    """Make the gate of a GPU, before a CUDA graph is captured, which would have it in its own memory, and let
    programs meet there. Raises RuntimeError where they cannot all be at work at once, as under a limit of
    CUDA MPS."""
    launch_passes(meet_kernel, 1, torch.device("cuda", gpu))


def programs_of(device: torch.device) -> int:
    """How many programs of a kernel with `WARPS` and `REGISTERS` a device has at work at the same time."""
    if device.type != "cuda":
        return PROGRAMS_OF_INTERPRETER
    return PER_PROCESSOR * _processors(_index(device))


def launch_passes(kernel: Any, passes: int, device: torch.device, *given: Any, **fixed: Any) -> None:
    """Run a kernel whose last arguments are `gate` and `PASS`. A device runs one of these at a time, all on
    one stream: they share a gate."""
    grid = (programs_of(device),)
    if device.type == "cuda":
        options = {"num_warps": WARPS, "maxnreg": REGISTERS, "launch_cooperative_grid": True}
        kernel[grid](*given, _gate(_index(device)), PASS=ALL, **fixed, **options)
        return
    for single in range(1, passes + 1):
        kernel[grid](*given, None, PASS=single, **fixed)


@cache
def _gate(gpu: int) -> torch.Tensor:
    return torch.zeros(1, dtype=torch.int32, device=f"cuda:{gpu}")


@cache
def _processors(gpu: int) -> int:
    return torch.cuda.get_device_properties(gpu).multi_processor_count


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
