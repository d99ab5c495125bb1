"""One run in several processes against one process with as many threads: the same cores, the same batches.

    python benchmarks/ddp.py [--width 32] [--batch-size 16] [--images 32] [--ranks 2] [--rounds 4]

Every run is a worker of its own, its ranks started by torchrun and joined by Gloo. The speeds are those of
the journal: training images a second of each epoch after a run's first. Both ways take turns, so that a
machine that slows down slows both. Other work on the machine makes epochs slower and none faster: the fastest
ones are compared, and the medians say how much was disturbed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.host.processes import python_command, python_environment
from engine.run.directory import RunCard, RunDir
from engine.run.events import Epoch, Started
from engine.run.journal import read_all

TARGET = 0.9
"""Of the speed of one process with the same cores."""
EPOCHS = 8


@dataclass(frozen=True)
class Outcome:
    """Of one run: images a second of each epoch but the first, the loss of the last, seconds from start to
    end."""

    speeds: list[float]
    loss: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=32, help="channels of the U-Net's first level (32)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--images", type=int, default=32, help="training images of 128x128 an epoch (32)")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        synthesize(workspace / "data", images=options.images * 5 // 4, size=(128, 128), seed=0)
        config = with_values(
            get_recipe("paper-unet"),
            {
                "data.root": str(workspace / "data"),
                "data.split": "random",
                "data.size": "128x128",
                "model.width": options.width,
                "batch_size": options.batch_size,
                "epochs": EPOCHS,
                "gallery.every": 0,
                "checkpoint.seconds": 1000,
                "device": "cpu",
            },
        )
        ways = {
            f"1 process, {options.ranks} threads": {"devices": 1, "runtime.threads": options.ranks},
            f"{options.ranks} processes, 1 thread": {"devices": options.ranks, "runtime.threads": 1},
        }
        run_worker(
            workspace, with_values(config, {"epochs": 1, "runtime.threads": options.ranks})
        )  # the cache
        outcomes: dict[str, list[Outcome]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, values in ways.items():
                outcomes[way].append(run_worker(workspace, with_values(config, values)))
    say(options, outcomes)


def run_worker(workspace: Path, config: RunConfig) -> Outcome:
    run = RunDir(workspace / "runs" / f"{time.monotonic_ns()}")
    run.create(RunCard(run.id, "ddp", "benchmarks", time.time()), config)
    begun = time.monotonic()
    command = python_command("engine.worker", str(run.path), "--cache", str(workspace / "cache"))
    with open(run.log, "ab") as log:
        subprocess.run(command, env=python_environment(), stdout=log, stderr=subprocess.STDOUT, check=True)
    seconds = time.monotonic() - begun
    events = read_all(run.journal)
    epochs = [event for event in events if isinstance(event, Epoch) and event.split == "train"]
    assert [event.ranks for event in events if isinstance(event, Started)] == [int(config.devices)]
    speeds = [event.images_per_second or 0.0 for event in epochs[1:] or epochs]
    return Outcome(speeds, epochs[-1].loss or 0.0, seconds)


def say(options: argparse.Namespace, outcomes: dict[str, list[Outcome]]) -> None:
    print(
        f"U-Net, width {options.width}, 128x128, batch {options.batch_size}, {EPOCHS} epochs of "
        f"{options.images} images, {options.rounds} rounds"
    )
    fastest = []
    for way, found in outcomes.items():
        speeds = [speed for outcome in found for speed in outcome.speeds]
        fastest.append(max(speeds))
        whole = min(outcome.seconds for outcome in found)
        print(
            f"{way:22}  {fastest[-1]:6.2f} images/s in the fastest epoch (median "
            f"{statistics.median(speeds):5.2f}), shortest run {whole:5.1f} s, last loss {found[-1].loss:.4f}"
        )
    print(f"several / one: {fastest[1] / fastest[0]:.3f}   (wanted: at least {TARGET})")


if __name__ == "__main__":
    main()
