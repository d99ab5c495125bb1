"""Stands in for workers in `benchmarks.tui`: `python -m benchmarks.tui_workers WORKSPACE RUNS EPOCH_SECONDS`.

One process that writes the journals of some runs as their workers would: progress twice a second, an epoch
of 19 classes every few seconds. It prints "ready", then a line for each epoch: when it was written (UTC
seconds), and its Dice, which no other epoch has. An agent takes the runs for its own and folds them.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.leaderboard import one_epoch
from engine.agent.ingest import catch_up
from engine.config.run_config import RunConfig
from engine.host.processes import identify
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.run.events import Epoch, Progress
from engine.run.journal import JournalWriter
from engine.workspace import Workspace

EPOCHS, STEPS = 1000, 40
PROGRESS_SECONDS = 0.5


@dataclass
class Worker:
    run: RunDir
    journal: JournalWriter
    log: int
    epoch: int = 0
    step: int = 0


def main() -> None:
    workspace, count, seconds = Workspace(Path(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3])
    workers = [begin(workspace, number) for number in range(count)]
    print("ready", flush=True)
    next_epoch = [time.monotonic() + seconds * (1 + number / count) for number in range(count)]
    written = 0
    while True:
        for number, worker in enumerate(workers):
            worker.run.beat()
            if time.monotonic() >= next_epoch[number]:
                next_epoch[number] += seconds
                written += 1
                dice = round(0.1 + written / 10_000, 4)
                end_epoch(worker, dice)
                print(f"{time.time():.4f} {dice:.4f}", flush=True)
            report_progress(worker)
        time.sleep(PROGRESS_SECONDS)


def begin(workspace: Workspace, number: int) -> Worker:
    """A run that has just come up, in its folder and in the database."""
    run = workspace.run_dir(new_run_id())
    card = RunCard(run.id, f"streaming-{number}", "streaming", time.time(), queued_for=0)
    config = RunConfig(recipe="paper-unet", epochs=EPOCHS)
    run.create(card, config)
    journal = JournalWriter(run.journal)
    run.write_proc(identify(), journal.attempt)
    log = os.open(
        run.log, os.O_WRONLY | os.O_CREAT
    )  # held as a worker holds it, or the agent would look for the worker
    fcntl.flock(log, fcntl.LOCK_EX)
    started, data, *_ = one_epoch()
    with workspace.open_store() as store:
        store.lifecycle.create(card, config, "starting")
        journal.write(started.model_copy(update={"host": socket.gethostname(), "pid": os.getpid()}))
        journal.write(data)
        catch_up(store, run)
    return Worker(run, journal, log)


def report_progress(worker: Worker) -> None:
    """The next step, with numbers that move, so that there is something to repaint."""
    worker.step = worker.step % STEPS + 1
    worker.journal.write(
        Progress(
            epoch=worker.epoch + 1,
            phase="train",
            step=worker.step,
            steps=STEPS,
            loss=0.5,
            images_per_second=100.0 + worker.step,
            eta_seconds=float(EPOCHS - worker.epoch),
        )
    )


def end_epoch(worker: Worker, dice: float) -> None:
    _, _, train, val, *_ = one_epoch()
    assert isinstance(train, Epoch)
    assert isinstance(val, Epoch)
    worker.epoch += 1
    for event in (train, val):
        worker.journal.write(event.model_copy(update={"epoch": worker.epoch, "dice": dice, "loss": 1 - dice}))
    with worker.run.log.open("a") as log:
        log.write(f"epoch {worker.epoch}: Dice {dice:.4f}\n")


if __name__ == "__main__":
    main()
