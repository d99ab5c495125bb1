"""How long one image takes through a network, by two protocols.

`engine` is what an application waits for: from the pixels uint8 [H, W, 3] in the device's memory to the class
ids, each pass waited for. `literature` is what papers on real-time networks report: the network alone on a
random float image, batch norms folded into convolutions, 10 passes to warm up, then passes for about 6 s
between two looks at the clock, without an argmax. So do the speed scripts of PIDNet (Xu et al., CVPR 2023,
github.com/XuJiacong/PIDNet) and DDRNet (Hong et al., arXiv:2101.06085).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from engine.config.task_sections import Precision, TimingConfig
from engine.data.batches import normalise
from engine.host.cpu import cpu_has_bf16
from engine.learning.class_maps import largest_class
from engine.learning.compile_autotune import compiled
from engine.learning.fold_norms import FoldError, with_folded_norms
from engine.learning.hardware import Hardware, allow_tf32
from engine.learning.windows import WHOLE_IMAGES, Windows
from engine.metrics.latency import LEAST_PASSES, WARM_PASSES, Setting, Timing, time_passes
from engine.models.contract import outputs_of

BRIEFLY: dict[str, Any] = {"warm": 2, "least": 5, "most": 20, "seconds": 10.0}
"""What an evaluation, which has more to do, spends on it."""

Network = Callable[[Tensor], Any]


@torch.inference_mode()
def measure_latency(
    model: nn.Module, size: tuple[int, int], hardware: Hardware, windows: Windows = WHOLE_IMAGES
) -> Timing:
    """Passes from one image of `size` (height, width) in the device's memory to its class ids, as a whole or
    in `windows`: the engine's protocol, briefly. Puts the model into evaluation mode."""
    return time_passes(_engine_pass(model.eval(), size, hardware, windows), **BRIEFLY)


def precisions_of(hardware: Hardware) -> tuple[Precision, ...]:
    """Those that the device has. TF32 is what cuDNN's convolutions use by torch's default from Ampere on,
    thus what many papers measured as fp32; here fp32 means all 24 bits."""
    if hardware.device.type == "cpu":
        return ("fp32", "bf16") if cpu_has_bf16() else ("fp32",)
    is_ampere = torch.cuda.get_device_capability(hardware.device) >= (8, 0)
    return ("fp32", "tf32", "bf16", "fp16") if is_ampere else ("fp32", "fp16")


def settings_of(wanted: TimingConfig, size: tuple[int, int], hardware: Hardware) -> list[Setting]:
    """The lines that are asked for, in their order; `size` is taken where none is named."""
    return [
        Setting(each, protocol, precision, is_compiled)
        for each in wanted.sizes or (size,)
        for protocol in wanted.protocols
        for precision in wanted.precisions or precisions_of(hardware)
        for is_compiled in ((False, True) if wanted.compile else (False,))
    ]


def measured(
    model: nn.Module, settings: Sequence[Setting], hardware: Hardware, seconds: float, channels_last: bool
) -> Iterator[tuple[Setting, Timing | str]]:
    """The passes of each setting, or in one line why there are none. The model, in evaluation mode on the
    device, stays as it is."""
    folded: nn.Module | FoldError | None = None
    smallest = min((setting.size for setting in settings), key=math.prod)
    for setting in settings:
        network = model
        if setting.protocol == "literature":
            if folded is None:
                folded = _folded(model, smallest, hardware)
            if isinstance(folded, FoldError):
                yield setting, str(folded)
                continue
            network = folded
        yield setting, _measured(network, setting, hardware, seconds, channels_last)


def _folded(model: nn.Module, size: tuple[int, int], hardware: Hardware) -> nn.Module | FoldError:
    if hardware.device.type == "cuda":
        allow_tf32(False)  # which rounds by more than the logits of the copy may differ
    try:
        return with_folded_norms(model, size)
    except FoldError as error:
        return error
    except (torch.OutOfMemoryError, MemoryError):
        return FoldError("out of memory")


def _measured(
    model: nn.Module, setting: Setting, hardware: Hardware, seconds: float, channels_last: bool
) -> Timing | str:
    is_tf32 = setting.precision == "tf32"
    used = replace(hardware, precision="fp32" if is_tf32 else setting.precision)
    if hardware.device.type == "cuda":
        allow_tf32(setting.precision != "fp32")
    network: Network = model
    if setting.compiled:
        torch.compiler.reset()  # what was compiled for other sizes counts towards dynamo's limit
        network = compiled(model, hardware.device)
    try:
        with torch.inference_mode():
            if setting.protocol == "engine":
                one_pass = _engine_pass(network, setting.size, used)
                return time_passes(one_pass, seconds=seconds)
            image = torch.randn(1, 3, *setting.size, device=hardware.device)
            if channels_last:
                image = image.contiguous(memory_format=torch.channels_last)
            with used.autocast():  # around all passes, so that the weights are cast once
                return _unbroken(lambda: network(image), hardware, seconds)
    except (torch.OutOfMemoryError, MemoryError):
        return "out of memory"
    except Exception as error:
        if not setting.compiled:
            raise
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"torch.compile failed: {line}"


def _engine_pass(
    network: Network, size: tuple[int, int], hardware: Hardware, windows: Windows = WHOLE_IMAGES
) -> Callable[[], None]:
    image = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8, device=hardware.device)

    def one_pass() -> None:
        with hardware.autocast():
            largest_class(windows.logits(lambda part: outputs_of(network, part).logits, normalise(image)))
        if hardware.device.type == "cuda":
            torch.cuda.synchronize(hardware.device)

    return one_pass


def _unbroken(one_pass: Callable[[], object], hardware: Hardware, seconds: float) -> Timing:
    """As many passes as fit into about `seconds`, the device waited for before the first and after the last.
    On CUDA the time of each is that between two events on the device."""
    if hardware.device.type != "cuda":
        return time_passes(one_pass, seconds=seconds)
    pace: list[float] = []
    for _ in range(WARM_PASSES):
        torch.cuda.synchronize(hardware.device)
        begun = time.perf_counter()
        one_pass()
        torch.cuda.synchronize(hardware.device)
        pace.append(time.perf_counter() - begun)
    count = max(LEAST_PASSES, round(seconds / statistics.median(pace[WARM_PASSES // 2 :])))
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]  # type: ignore[no-untyped-call]
    begun = time.perf_counter()
    marks[0].record()
    for mark in marks[1:]:
        one_pass()
        mark.record()
    torch.cuda.synchronize(hardware.device)
    taken = time.perf_counter() - begun
    return Timing(tuple(before.elapsed_time(after) / 1000 for before, after in pairwise(marks)), taken)
