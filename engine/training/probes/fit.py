"""How many images a step would have fitted into memory: `python -m engine.training.probes.fit CONFIG.json`.

Asked by a worker that ran out of memory, in a process of its own: it begins with clean memory, under the same
limits, and should the kernel kill somebody for want of memory, it is not the one that has to report.
It takes the `training_step` of a run. Prints, as JSON, the most images a pass that go through, found by
halving (0 when not even one image does, or not as many as the norm layers of the network need), and whether
the batch can be kept, in micro-batches of that size.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import re
import resource
import signal
import subprocess
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.config.step_parts import enough_by_section, largest_part, smallest_part
from engine.host.leaving import die_with_the_parent, leave
from engine.host.processes import python_command, python_environment
from engine.plugins import config_of_file
from engine.worker.process import prepare_process

if TYPE_CHECKING:
    import torch

SECONDS = 120.0
"""Longest time that looking for an advice may take."""
CPU_RESERVE, CUDA_RESERVE = 300 * 10**6, 10**9
"""Bytes left free beside a step: for the matrices of `matrix_ceiling`, and because the same steps need more
in one process than in the next, whose heap is cut up differently."""
EXIT_TOO_LARGE, EXIT_BROKEN = 1, 2
STEPS = 2
"""The first step makes the optimizer's state; the second has it beside the gradients of a micro-batch and the
activations of the next. More micro-batches need no more."""


@dataclass(frozen=True)
class Among:
    """Which of how many ranks asks; the worker's `Group` without torch, which is imported later."""

    rank: int = 0
    count: int = 1


ALONE = Among()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the device or the host, in torch, Python or C++."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    marks = [
        "DefaultCPUAllocator: can't allocate memory",
        "std::bad_alloc",
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_ALLOC_FAILED",
    ]
    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    if any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in limits):
        # oneDNN gives no reason; where memory is limited, this is it.
        marks += ["could not create a primitive", "could not execute a primitive"]
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in marks)


def describe_shortage(error: BaseException) -> str:
    """What could not be had, in a few words."""
    wanted = re.search(r"ried to allocate ([\d.]+) (\w+)", str(error))
    if wanted is None:
        return "out of memory"
    amount = f"{int(wanted[1]) / 1e6:.3g} MB" if wanted[2] == "bytes" else f"{wanted[1]} {wanted[2]}"
    return f"out of memory: no room for {amount} more"


def advise(
    config_file: Path,
    config: RunConfig,
    classes: int,
    images: int,
    data_bytes: int,
    among: Among = ALONE,
) -> str:
    """The change that would fit, as it is typed on the command line. Never raises, takes SECONDS at most.

    `images` is the size of the training split: no batch is larger. `data_bytes` is that of all its caches.
    A batch is shared by the ranks of `among`; the search is made on the device of the one that asks.
    """
    ranks = among.count
    given, images = images, min(images, -(-config.batch_size // ranks))
    command = python_command("engine.training.probes.fit", str(config_file))
    command += ["--classes", str(classes), "--images", str(images), "--data-bytes", str(data_bytes)]
    command += ["--rank", str(among.rank), "--ranks", str(ranks)]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            timeout=SECONDS,
            check=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=python_environment(),
        )
        found = Found(**json.loads(answer.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, IndexError):
        return "a smaller batch_size needs less"
    size = found.size
    if size == 0:
        less = config.model.smaller(config.train_size_key)
        return f"not even {_fewest(config)} a step fits; {less} needs less"
    if size == largest_part(config, images):
        return f"validation.batch_size={size} fits"
    scoring = " validation.batch_size=0" if config.validation.batch_size > size else ""
    parts: dict[str, object] = {"runtime.micro_batch": size, "validation.batch_size": size}
    keeps_batch = found.keeps_batch and _is_trainable(config, parts, given, ranks)
    told = " ".join(f"{key}={value}" for key, value in parts.items())
    if config.runtime.micro_batch or ranks > 1:
        return f"{told} fits" if keeps_batch else "a smaller batch_size needs less"
    sizes = (smaller for smaller in range(size, 0, -1))
    batch = next((n for n in sizes if _is_trainable(config, {"batch_size": n}, given, ranks)), 0)
    advice = [f"batch_size={batch}{scoring} fits"] if batch else []
    if keeps_batch:
        keeps = f", which keeps {config.batch_size} images a step" if batch else " fits"
        advice.append(f"{told}{keeps}")
    return "; or ".join(advice) or f"{config.model.smaller(config.train_size_key)} needs less"


@dataclass(frozen=True)
class Found:
    """The most images a pass that fit, 0 for none, and whether the whole batch fits in such micro-batches."""

    size: int
    keeps_batch: bool


def _is_trainable(config: RunConfig, changes: dict[str, object], images: int, ranks: int) -> bool:
    """Whether every step of the changed config has enough images for the network, the last batch's, too."""
    changed = with_values(config, changes)
    return enough_by_section(changed, smallest_part(changed, images, ranks))


def _fewest(config: RunConfig) -> str:
    return "one image" if enough_by_section(config, 1) else "two images"


def largest_that_fits(
    config: RunConfig, classes: int, images: int, data_bytes: int, among: Among = ALONE
) -> Found:
    """Halve the images a pass until training steps pass, in micro-batches of the batch of `images` images;
    where not even the fewest do, in batches of their own, which leave less to be augmented at once."""
    largest = largest_part(config, images)
    # Training at this size has failed, unless scoring has, in larger batches or on larger images.
    if config.validation.batch_size <= largest and config.train_size == config.data.size:
        largest //= 2
    for keeps_batch in (True, False):
        size = largest
        while size > 0:
            if _fits(config, classes, size, images if keeps_batch else size, data_bytes, among):
                return Found(size, keeps_batch)
            size //= 2
    return Found(0, False)


def _fits(
    config: RunConfig, classes: int, size: int, batch: int, data_bytes: int, among: Among = ALONE
) -> bool:
    """Try a few steps on `batch` random images, `size` a pass, in a child of their own.

    Nothing of a failed try is left over, and oneDNN, which for want of memory may also crash, takes no more
    than the child with it; so does the kernel when it kills. Raises RuntimeError when they fail otherwise.
    """
    child = os.fork()
    if child == 0:
        die_with_the_parent()
        signal.alarm(int(SECONDS))  # it is not to outlive the search
        os._exit(_try_steps(config, classes, size, batch, data_bytes, among))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == EXIT_BROKEN:
        raise RuntimeError(f"training steps of {size} images failed, and not for want of memory")
    return status == 0


def _try_steps(
    config: RunConfig, classes: int, size: int, batch: int, data_bytes: int, among: Among = ALONE
) -> int:
    """The exit status of a try."""
    try:
        _steps(config, classes, size, batch, data_bytes, among)
    except BaseException as error:
        from engine.learning.enough_images import is_lack_of_images

        if is_out_of_memory(error) or is_lack_of_images(error):
            return EXIT_TOO_LARGE  # a step of fewer images fits no more than one of too many
        traceback.print_exc()
        return EXIT_BROKEN
    return 0


def release_memory() -> None:
    """Collect what nobody holds any more, and give the device's part of it back."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _steps(
    config: RunConfig, classes: int, size: int, batch: int, data_bytes: int, among: Among = ALONE
) -> None:
    import torch

    from engine.data.batches import Batch
    from engine.learning.hardware import choose_hardware, settle_arithmetic
    from engine.training.distillation import load_teacher
    from engine.training.probes.steps import random_batch, score_whole_images, state_for_steps
    from engine.training.step import augmented, training_step

    # Compiling would take minutes and save little memory; a graph is left out where it does not fit.
    plain = {"runtime.compile": "off", "runtime.graph": "off"}
    alone = {"devices": 1, "batch_size": batch, "runtime.micro_batch": size}
    config = with_values(config, {**plain, **alone})
    hardware = choose_hardware(config, among.rank)
    settle_arithmetic(config, hardware)
    teacher = load_teacher(config, Path("/"), hardware)
    state = state_for_steps(config, hardware, classes, STEPS * batch, teacher)
    kept = [tensor.clone() for tensor in state.model.state_dict().values()]  # a run holds its best weights
    kept.append(
        torch.ones(_held_beside(hardware.device, data_bytes), dtype=torch.uint8, device=hardware.device)
    )
    if among.count > 1:  # the buckets in which gradients are shared
        kept += [torch.empty_like(each) for each in state.model.parameters() if each.requires_grad]
    full = random_batch(config, hardware, classes, batch)
    training_step(state, Batch(full.images[:size], full.labels[:size]), size)
    held = augmented(state, full, batch)
    some = min(batch, 2 * size)
    training_step(state, Batch(full.images[:some], full.labels[:some]), some)
    if config.train_size != config.data.size:
        score_whole_images(state, Batch(full.images[:size], full.labels[:size]))
    del kept, held


def _held_beside(device: torch.device, data_bytes: int) -> int:
    """Bytes that a run holds beside its steps: a measurement of the device, the data where it is resident."""
    import torch

    from engine.data.batches import RESIDENT_SHARE

    if device.type == "cpu":
        return CPU_RESERVE
    resident = data_bytes <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
    return CUDA_RESERVE + (data_bytes if resident else 0)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engine.training.probes.fit", description=__doc__.splitlines()[0]
    )
    parser.add_argument("config", type=Path, help="a RunConfig as JSON")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--images", type=int, required=True, help="size of the training split")
    parser.add_argument("--data-bytes", type=int, default=0, help="size of the data's caches")
    parser.add_argument("--rank", type=int, default=0, help="which of the ranks asks")
    parser.add_argument("--ranks", type=int, default=1, help="that share each batch")
    options = parser.parse_args()
    with contextlib.suppress(
        OSError
    ):  # for want of memory the kernel is to take this process, not the worker
        Path("/proc/self/oom_score_adj").write_text("1000")
    die_with_the_parent()
    config = config_of_file(options.config)
    if teacher := config.distill.teacher:  # a path from the folder of the run, which has the config
        config = with_values(config, {"distill.from": str(options.config.absolute().parent / teacher)})
    prepare_process(config.runtime)
    among = Among(options.rank, options.ranks)
    found = largest_that_fits(config, options.classes, options.images, options.data_bytes, among)
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    leave(main())
