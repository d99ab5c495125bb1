"""What bf16 costs in accuracy: final validation Dice of the engine in bf16 and in fp32, over seeds.

    python benchmarks/precision.py [--data ROOT] [--width 16] [--epochs 12] [--seeds 3]

Every run is a worker of its own. Both precisions start from the same weights and see the same batches in the
same order; they part by rounding alone, which training amplifies as it does any small change. So a single
pair says little and the means over seeds are compared, next to the spread from seed to seed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.host.processes import python_command, python_environment
from engine.run.directory import RunCard, RunDir
from engine.run.events import Epoch
from engine.run.journal import read_all

PRECISIONS = ("bf16", "fp32")
TARGET = 0.01
"""The means may differ by this much."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a real data set instead of synthetic scenes")
    parser.add_argument("--images", type=int, default=120, help="synthetic scenes of 256x512 (120)")
    parser.add_argument("--width", type=int, default=16, help="channels of the U-Net's first level (16)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3, help="at least 2 (3)")
    parser.add_argument("--lr", type=float, default=0.003, help="peak rate of AdamW with a cosine (0.003)")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: one pair of runs shows no spread")

    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        root = options.data
        if root is None:
            root = workspace / "data"
            synthesize(root, images=options.images, size=(256, 512), seed=0)
        config = with_values(
            get_recipe("paper-unet"),
            {
                "data.root": str(root.absolute()),
                "data.split": "official" if options.data is None else "random",
                "model.width": options.width,
                "batch_size": options.batch_size,
                "epochs": options.epochs,
                "optimizer.name": "adamw",
                "optimizer.lr": options.lr,
                "schedule.name": "cosine",
                "gallery.every": 0,
            },
        )
        print(f"width {options.width}, batch {options.batch_size}, {options.epochs} epochs; final val Dice\n")
        print(f"{'seed':<6}{'bf16':>10}{'fp32':>10}{'difference':>12}")
        ends: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for seed in range(options.seeds):
            for precision in PRECISIONS:
                values = {"seed": seed, "precision": precision}
                ends[precision].append(final_dice(with_values(config, values), workspace))
            bf16, fp32 = ends["bf16"][-1], ends["fp32"][-1]
            print(f"{seed:<6}{bf16:>10.5f}{fp32:>10.5f}{bf16 - fp32:>+12.5f}", flush=True)
    for name, over_seeds in (("mean", statistics.mean), ("sd", statistics.stdev)):
        print(f"{name:<6}{over_seeds(ends['bf16']):>10.5f}{over_seeds(ends['fp32']):>10.5f}")
    print(f"\n{verdict([b - f for b, f in zip(ends['bf16'], ends['fp32'], strict=True)])}")


def verdict(differences: list[float]) -> str:
    """Whether the mean difference meets the target, or the seeds are too few to tell."""
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    met = "met" if abs(mean) <= TARGET else "MISSED"
    doubt = "; NOT resolved, more seeds or images are needed" if error > TARGET / 2 else ""
    return f"difference of the means {mean:+.5f} +- {error:.5f}; target within {TARGET}: {met}{doubt}"


def final_dice(config: RunConfig, workspace: Path) -> float:
    """Train in a worker; the validation Dice of the last epoch."""
    name = f"seed{config.seed}-{config.precision}"
    run = RunDir(workspace / "runs" / name)
    run.create(RunCard(id=name, name=name, experiment="precision", created=time.time()), config)
    with open(run.log, "wb") as log:
        subprocess.run(
            python_command("engine.worker", str(run.path)),
            env=python_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    last = [e for e in read_all(run.journal) if isinstance(e, Epoch) and e.split == "val"][-1:]
    if not last or last[0].epoch != config.epochs or last[0].dice is None:
        raise SystemExit(f"{name} did not come to its end:\n{run.log.read_text()}")
    return last[0].dice


if __name__ == "__main__":
    main()
