"""What runs on the same cores cost each other.

    python benchmarks/side_by_side.py [--runs 2] [--epochs 3]

Workers of the recipe `quick` on synthetic scenes, by the seconds of their epochs after the first: one alone,
then several at once that each take all cores, then with the share of the cores that an agent gives each.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.host.processes import CORES_VARIABLE, available_cores, python_command, python_environment
from engine.run.directory import RunCard, RunDir
from engine.run.events import Epoch
from engine.run.journal import read_all

IMAGES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2, help="how many at once")
    parser.add_argument("--epochs", type=int, default=3, help="of each; the first is not counted")
    options = parser.parse_args()
    share = str(max(1, available_cores() // options.runs))
    ways: list[tuple[str, int, dict[str, str]]] = [
        ("one alone", 1, {}),
        (f"{options.runs} at once, all cores each", options.runs, {}),
        (f"{options.runs} at once, {share} of the cores each", options.runs, {CORES_VARIABLE: share}),
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthesize(root / "data", images=IMAGES, size=(64, 128), seed=0)
        config = with_values(
            get_recipe("quick"),
            {"data.root": str(root / "data"), "epochs": options.epochs, "device": "cpu", "gallery.every": 0},
        )
        epoch_seconds(config, root / "warm-up", 1, {})  # builds the cache
        print(f"quick, {IMAGES} images, {available_cores()} cores\n")
        print(f"{'':<40}{'s an epoch':>12}{'images/s of all':>17}{'x alone':>9}")
        alone = 0.0
        for number, (name, runs, environment) in enumerate(ways):
            seconds = epoch_seconds(config, root / str(number), runs, environment)
            rate = runs * IMAGES / seconds
            alone = alone or rate
            print(f"{name:<40}{seconds:12.2f}{rate:17.1f}{rate / alone:9.2f}", flush=True)


def epoch_seconds(config: RunConfig, folder: Path, runs: int, environment: dict[str, str]) -> float:
    """Median seconds from one epoch's end to the next, over `runs` workers that are at it together."""
    made = []
    for number in range(runs):
        run = RunDir(folder / f"run{number}")
        run.create(RunCard(run.id, run.id, "benchmark", time.time()), config)
        made.append(run)
    cache = str(folder.parent / "cache")
    workers = [
        subprocess.Popen(
            python_command("engine.worker", str(run.path), "--cache", cache),
            env={**python_environment(), **environment},
            stdout=subprocess.DEVNULL,
        )
        for run in made
    ]
    statuses = [worker.wait() for worker in workers]
    if any(statuses):
        raise SystemExit("a worker failed")
    spans = []
    for run in made:
        ends = [e.t for e in read_all(run.journal) if isinstance(e, Epoch) and e.split == "val"]
        spans += [later - earlier for earlier, later in itertools.pairwise(ends)]
    return statistics.median(spans)


if __name__ == "__main__":
    main()
