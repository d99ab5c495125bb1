"""From the start of a worker to its first training step, with the cache already built.

    python benchmarks/start_up.py [--width 64] [--batch-size 16] [--rounds 5]

The times are those of the journal, counted from just before the process is started: `started` is written when
torch is imported and the hardware chosen, `data` when the cache is open, the first `progress` when a whole
step (forward, backward, weights, scores) is done.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.host.processes import python_command, python_environment
from engine.run.directory import RunCard, RunDir
from engine.run.events import AnyEvent, Data, Epoch, Progress, Started
from engine.run.journal import read_all

TARGET_SECONDS = 12.0
IMAGES = 80


@dataclass(frozen=True)
class StartUp:
    """Seconds: the import of torch alone, and from the start of the process to three events."""

    import_torch: float
    started: float
    data: float
    first_step: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64, help="channels of the U-Net's first level (64)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N (cpu)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        synthesize(workspace / "data", images=IMAGES, size=(128, 256), seed=0)
        config = with_values(
            get_recipe("paper-unet"),
            {
                "data.root": str(workspace / "data"),
                "data.split": "official",
                "model.width": options.width,
                "batch_size": options.batch_size,
                "epochs": 1,
                "device": options.device,
                "gallery.every": 0,
            },
        )
        start_once(config, workspace, "builds-the-cache")
        rounds = [start_once(config, workspace, f"round{number}") for number in range(options.rounds)]

    print(
        f"U-Net, width {options.width}, batch {options.batch_size}, {options.device}, {len(rounds)} rounds\n"
    )
    print(f"{'seconds':<14}{'median':>8}{'lowest':>8}{'highest':>9}")
    for field in fields(StartUp):
        values = [getattr(one, field.name) for one in rounds]
        name = field.name.replace("_", " ")
        print(f"{name:<14}{statistics.median(values):>8.2f}{min(values):>8.2f}{max(values):>9.2f}")
    median = statistics.median(one.first_step for one in rounds)
    verdict = "met" if median < TARGET_SECONDS else "MISSED"
    print(f"\nfirst step after {median:.2f} s; target below {TARGET_SECONDS:g} s: {verdict}")


def start_once(config: RunConfig, workspace: Path, name: str) -> StartUp:
    """Run one worker to its end and read from its journal how it began."""
    run = RunDir(workspace / "runs" / name)
    run.create(RunCard(id=name, name=name, experiment="start-up", created=time.time()), config)
    with open(run.log, "wb") as log:
        begun = time.time()
        done = subprocess.run(
            python_command("engine.worker", str(run.path)),
            env=python_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"{name} ended with exit status {done.returncode}:\n{run.log.read_text()}")
    events = read_all(run.journal)
    started = next(event for event in events if isinstance(event, Started))
    return StartUp(
        import_torch=started.import_seconds,
        started=started.t - begun,
        data=next(event.t for event in events if isinstance(event, Data)) - begun,
        first_step=next(event.t for event in events if is_a_step(event)) - begun,
    )


def is_a_step(event: AnyEvent) -> bool:
    return isinstance(event, Epoch) or (isinstance(event, Progress) and event.phase == "train")


if __name__ == "__main__":
    main()
