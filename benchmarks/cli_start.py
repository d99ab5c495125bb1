"""How long the command line takes to be there: `--help`, and `runs` in a workspace of 1,000 runs.

    python benchmarks/cli_start.py [--runs 1000] [--rounds 7]

Times are of whole processes, beside a Python that does nothing, so that another machine's figures can be
compared by their ratio. `runs` prints into a pipe: 50 rows as a table, then all of them with --limit 0. The
second table shows the slowest imports of `runs`, with all that they import themselves.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.config.run_config import RunConfig
from engine.run.directory import RunCard
from engine.run.events import Epoch, Finished, Started
from engine.store import Store

TARGET_SECONDS = 0.5
CLASSES = tuple(f"class {i}" for i in range(19))
COMMAND = "from engine.cli.main import main; main()"
SHOWN_IMPORTS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="runs in the workspace (1000)")
    parser.add_argument("--rounds", type=int, default=7, help="times that each command is started (7)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), options.runs)
        commands = {
            "python -c pass": ["-c", "pass"],
            "--help": ["-c", COMMAND, "--help"],
            "runs": ["-c", COMMAND, "-w", folder, "runs"],
            "runs --limit 0": ["-c", COMMAND, "-w", folder, "runs", "--limit", "0"],
            "runs --json": ["-c", COMMAND, "-w", folder, "runs", "--json"],
        }
        bare = 0.0
        print(f"{options.runs} runs, {options.rounds} rounds, {os.cpu_count()} cores\n")
        print(f"{'command':<16}{'median s':>10}{'lowest s':>10}{'highest s':>11}{'x bare':>8}")
        for name, command in commands.items():
            seconds = [time_once(command) for _ in range(options.rounds)]
            median = statistics.median(seconds)
            bare = bare or median
            verdict = "" if median < TARGET_SECONDS else f"  MISSED: over {TARGET_SECONDS:g} s"
            print(
                f"{name:<16}{median:>10.3f}{min(seconds):>10.3f}{max(seconds):>11.3f}"
                f"{median / bare:>8.1f}{verdict}"
            )
        print(f"\n{'import in `runs`':<34}{'ms':>6}")
        for name, milliseconds in slowest_imports(commands["runs"]):
            print(f"{name:<34}{milliseconds:>6.0f}")


def fill(workspace: Path, runs: int) -> None:
    """A database of runs with one epoch each; their folders are not needed to list them."""
    scores: dict[str, float | None] = dict.fromkeys(CLASSES, 0.5)
    config = RunConfig(recipe="paper-unet")
    with Store(f"sqlite:///{workspace / 'experiments.db'}") as store:
        for number in range(runs):
            run_id = f"r{number:07d}"
            dice = (number * 7919 % 1000) / 1000
            store.lifecycle.create(
                RunCard(run_id, f"run {number}", f"experiment {number % 20}", 1e9 + number), config
            )
            begun = Started(
                seq=0, t=1e9, attempt=1, host="box", pid=1, device="cuda:0", device_name="Some GPU",
                precision="bf16", threads=8, versions={}, import_seconds=2.0,
            )  # fmt: skip
            epoch = Epoch(
                seq=1, t=1e9 + 60, attempt=1, epoch=1, split="val", loss=1 - dice, dice=dice, dice_image=dice,
                miou=dice / 2, pixel_accuracy=dice, class_dice=scores, class_iou=scores, lr=0.001,
                seconds=30.0, images_per_second=80.0, data_wait=0.01, peak_memory_bytes=10**9,
            )  # fmt: skip
            end = Finished(seq=2, t=1e9 + 61, attempt=1, epoch=1, seconds=61.0)
            store.journals.ingest(run_id, [begun, epoch, end], 3, 0)


def time_once(arguments: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - begun


def slowest_imports(arguments: list[str]) -> list[tuple[str, float]]:
    """Modules with the milliseconds that importing each took, with what it imports; the slowest first."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True)
    found = re.findall(r"import time:\s+\d+ \|\s+(\d+) \|\s+(\S+)", done.stderr)
    times = sorted(((name, int(microseconds) / 1000) for microseconds, name in found), key=lambda f: -f[1])
    return times[:SHOWN_IMPORTS]


if __name__ == "__main__":
    main()
