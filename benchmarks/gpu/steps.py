"""The step of a recipe on this GPU: `python -m benchmarks.gpu.steps RECIPE [--steps N] [KEY=VALUE ...]`.

The engine's own training loop, on random images that lie in the device's memory. The first epoch compiles
and times algorithms; the fastest of the later ones counts. One more runs with torch's check for host waits.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import engine
from benchmarks.ending import told_in_lines
from engine.config.keys import parse_assignments, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.batches import ResidentBatches
from engine.learning.ceiling import matrix_ceiling
from engine.learning.flops import flops_per_sample
from engine.learning.hardware import Hardware, choose_hardware, settle_arithmetic
from engine.run.directory import RunDir
from engine.training.loop import train_epoch
from engine.training.objectives import output_channels
from engine.training.state import new_state
from engine.worker.job import Job
from engine.worker.process import prepare_process

ENGINE = str(Path(engine.__file__).parent)
CLASSES = 19
PASSES = 3
"""Forward, gradient of the inputs, gradient of the weights."""
NOMINAL_FLOPS = {"H100": 989e12, "H200": 989e12}
"""Dense bf16 operations a second, from NVIDIA's data sheets (SXM)."""
BATCHES = 2
"""Different batches that lie in memory; an epoch goes through them again and again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=int, default=10, help="of an epoch (10)")
    parser.add_argument("--epochs", type=int, default=4, help="that are timed (4)")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_intermixed_args()
    config = with_values(get_recipe(options.recipe), parse_assignments(options.changes))
    prepare_process(config.runtime)
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    print(json.dumps({"recipe": options.recipe, **measure(config, hardware, options.steps, options.epochs)}))


def measure(config: RunConfig, hardware: Hardware, steps: int, epochs: int) -> dict[str, Any]:
    """Times, memory and host waits of `epochs` epochs of `steps` steps each."""
    ceiling = matrix_ceiling(hardware)
    names = [str(index) for index in range(CLASSES)] if config.needs_labels else []
    decisions: list[str] = []
    state = new_state(config, hardware, names, lambda decision: decisions.append(decision.reason))
    batches, images = resident(config, hardware, steps)
    seconds, waited, peaks = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(RunDir(Path(folder)), config, None, Path(folder))

        def epoch() -> None:
            torch.cuda.synchronize()
            begun = time.perf_counter()
            meter = train_epoch(job, state, batches, images)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begun)
            waited.append(meter.waited / seconds[-1])
            peaks.append(torch.cuda.max_memory_allocated())
            state.finish_epoch()

        for _ in range(1 + epochs):
            epoch()
        reserved = torch.cuda.max_memory_reserved()
        with host_waits() as waits:
            train_epoch(job, state, batches, images)
    step = min(seconds[1:]) / steps
    flops = PASSES * flops_per_sample(config, output_channels(config, CLASSES)) * config.batch_size
    nominal = next((rate for name, rate in NOMINAL_FLOPS.items() if name in hardware.name), None)
    return {
        "device": hardware.name,
        "precision": hardware.precision,
        "size": "x".join(map(str, config.data.size)),
        "batch": config.batch_size,
        "step_ms": 1e3 * step,
        "images_per_second": config.batch_size / step,
        "tflops": flops / step / 1e12,
        "share_of_ceiling": flops / step / ceiling,
        "share_of_nominal": flops / step / nominal if nominal else None,
        "peak_gib": max(peaks[1:]) / 2**30,
        "reserved_gib": reserved / 2**30,
        "first_epoch_seconds": seconds[0],
        "data_wait": min(waited[1:]),
        "host_waits": dict(waits),
        "decisions": decisions,
    }


def resident(config: RunConfig, hardware: Hardware, steps: int) -> tuple[ResidentBatches, int]:
    """Random images on the device, and how many an epoch of `steps` steps takes."""
    count = BATCHES * config.batch_size
    shape = (count, *config.data.size)
    generator = torch.Generator(hardware.device).manual_seed(0)
    pixels = torch.randint(
        0, 256, (*shape, 3), dtype=torch.uint8, device=hardware.device, generator=generator
    )
    labels = torch.randint(0, CLASSES, shape, dtype=torch.uint8, device=hardware.device, generator=generator)
    images = steps * config.batch_size
    return ResidentBatches(pixels, labels, torch.arange(images, device=hardware.device) % count), images


@contextmanager
def host_waits() -> Iterator[collections.Counter[str]]:
    """Counts, by file and line of the engine, where the host waits for the device within."""
    seen: collections.Counter[str] = collections.Counter()

    def show(message: Warning | str, *rest: Any, **more: Any) -> None:
        if "called a synchronizing" in str(message):
            stack = traceback.extract_stack()
            where = next((frame for frame in reversed(stack) if frame.filename.startswith(ENGINE)), stack[-2])
            seen[f"{Path(where.filename).name}:{where.lineno}"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode("default")


if __name__ == "__main__":
    sys.exit(told_in_lines(main))
