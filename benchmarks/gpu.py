"""How close a recipe's training comes to the device's ceiling, and where the rest goes.

    python -m benchmarks.gpu [--recipe paper-unet] [--device cuda] [--images 1024] [--epochs 4] [KEY=VALUE]

Trains on synthetic scenes that lie in the device's memory, once as it is and once through torch.compile, and
prints images a second, FLOP/s against a large matrix product, and the share of time that waited for data.
Then the tables of step_profile.py: a step by kind of work, each convolution alone. Runs on the CPU, too
(`--device cpu`).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.step_profile import print_convolutions, print_step
from engine.config.described import format_value
from engine.config.keys import parse_assignments, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.batches import make_batches
from engine.data.dataset import Dataset, open_dataset
from engine.data.synthetic import synthesize
from engine.learning.ceiling import matrix_ceiling
from engine.learning.flops import flops_per_sample
from engine.learning.hardware import Hardware, choose_hardware, settle_arithmetic
from engine.run.directory import RunDir
from engine.run.journal import JournalWriter
from engine.training.loop import train_epoch
from engine.training.state import new_state
from engine.worker.job import Job

PROFILED_STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="paper-unet")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    base = with_values(get_recipe(options.recipe), parse_assignments(options.changes))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthesize(root / "data", images=options.images * 5 // 4, size=(128, 256), seed=0)
        values = {"data.root": str(root / "data"), "data.split": "official", "device": options.device}
        config = with_values(base, {**values, "epochs": 10_000, "gallery.every": 0})
        hardware = choose_hardware(config)
        settle_arithmetic(config, hardware)
        data = open_dataset(config.data, root / "cache")
        ceiling = matrix_ceiling(hardware)
        print(
            f"{options.recipe} at {format_value(config.data.size)}, batch {config.batch_size}, "
            f"{hardware.name}, {hardware.precision}, torch {torch.__version__}; "
            f"a matrix product runs at {ceiling / 1e12:.2f} TFLOP/s"
        )
        for mode in ("off", "on"):
            changed = with_values(config, {"runtime.compile": mode})
            measure(changed, data, hardware, root / mode, ceiling, options.epochs)
    ceilings = [ceiling]
    print_step(config, hardware, PROFILED_STEPS, ceilings)
    print_convolutions(config, hardware, ceilings)


def measure(
    config: RunConfig, data: Dataset, hardware: Hardware, folder: Path, ceiling: float, epochs: int
) -> None:
    """Print what whole epochs of the engine's own loop reach; the first, which compiles, apart."""
    classes = list(data.class_set.names)
    run = RunDir(folder / "runs" / "bench")
    run.path.mkdir(parents=True)
    reasons: list[str] = []
    with JournalWriter(run.journal) as journal:
        job = Job(run, config, journal, folder)
        state = new_state(config, hardware, classes, lambda decision: reasons.append(decision.reason))
        batches, _ = make_batches([data.train, data.val], hardware.device)
        seconds, waits = [], []
        for _ in range(epochs + 1):
            begun = time.perf_counter()
            meter = train_epoch(job, state, batches, len(data.train))
            assert meter.confusion is not None
            meter.confusion.compute()
            seconds.append(time.perf_counter() - begun)
            waits.append(meter.waited / seconds[-1])
            state.finish_epoch()
    rate = len(data.train) / statistics.median(seconds[1:])
    achieved = 3 * flops_per_sample(config, len(classes)) * rate
    print(
        f"compile {config.runtime.compile:<3}: {rate:9.1f} images/s, {achieved / 1e12:7.2f} TFLOP/s, "
        f"{100 * achieved / ceiling:5.1f} % of the ceiling, "
        f"data wait {100 * statistics.median(waits[1:]):.2f} %, "
        f"first epoch {seconds[0]:.1f} s" + "".join(f"; {reason}" for reason in reasons)
    )


if __name__ == "__main__":
    main()
