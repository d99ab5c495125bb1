"""Peer: the engine, as its users run it: a run directory and `python -m engine.worker`.

Journal, checkpoints, gallery and the scores of the training split included, which no other peer writes or
counts. The epochs are read from the run's journal; the clock starts at its `started` event, which the worker
writes when its imports are done, so that a cache which has to be built is built in the time that counts. That
is the case when `FOLDER/../cache`, where all runs of one round look, lacks it.
"""

from __future__ import annotations

import subprocess
import time

from benchmarks.peers.protocol import Passed, Record, arguments, write_record
from engine.config.run_config import RunConfig
from engine.host.processes import python_command, python_environment
from engine.run.directory import RunCard, RunDir
from engine.run.events import AnyEvent, Epoch, Failed, Started
from engine.run.journal import read_all


def main() -> None:
    settings, folder = arguments()
    run = RunDir(folder / "run")
    run.create(
        RunCard(id="run", name=folder.name, experiment="peers", created=time.time()),
        RunConfig.model_validate(settings.run_config),
    )
    worker = python_command("engine.worker", str(run.path), "--cache", str(folder.parent / "cache"))
    done = subprocess.run(worker, env=python_environment(), check=False)
    events = read_all(run.journal)
    for event in events:
        if isinstance(event, Failed):
            raise SystemExit(f"the run failed: {event.message}")
    if done.returncode != 0:
        raise SystemExit(f"the worker ended with exit status {done.returncode}")
    write_record(folder, record_of(events, len(settings.train)))


def record_of(events: list[AnyEvent], train_images: int) -> Record:
    """The journal as a peer's record. Each epoch has a `train` event and then a `val` event."""
    started = next(event for event in events if isinstance(event, Started))
    train = {event.epoch: event for event in events if isinstance(event, Epoch) and event.split == "train"}
    val = [event for event in events if isinstance(event, Epoch) and event.split == "val"]
    epochs = [
        Passed(
            seconds=event.t - started.t,
            epoch=event.epoch,
            images_seen=event.epoch * train_images,
            val_dice=event.dice or 0.0,
            train_seconds=train[event.epoch].seconds or 0.0,
        )
        for event in val
    ]
    return Record(started.precision, started.t, epochs)


if __name__ == "__main__":
    main()
