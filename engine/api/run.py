"""`engine.api.run.Run`: one run, to be read, waited for, stopped and drawn."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.api.frames import Frame
from engine.api.html import run_html
from engine.api.tables import Tables, notice
from engine.store import RunRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.loading import LoadedNetwork

POLL_SECONDS = 0.25


class Run:
    """One run of a workspace. Its properties are read from the database each time, so they follow a run that
    goes on."""

    def __init__(self, workspace: Tables, run_id: str) -> None:
        self.workspace = workspace
        self.id = run_id

    def __repr__(self) -> str:
        row = self.row
        return f"<Run {row.id} {row.name!r}: {row.status}>"

    def _repr_html_(self) -> str:
        with self.workspace.open() as store:
            return run_html(store.run(self.id), store.results.epochs(self.id, "val"))

    @property
    def row(self) -> RunRow:
        """All that the database has of the run itself, as it is now. Raises NoSuchRun once it is deleted."""
        with self.workspace.open() as store:
            return store.run(self.id)

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def status(self) -> str:
        """queued, starting, running, stopping, finished, stopped, failed or lost."""
        return self.row.status

    @property
    def dice(self) -> float | None:
        """The best mean Dice on the validation split, from 0 to 1; None before the first epoch."""
        return self.row.best_dice

    @property
    def config(self) -> dict[str, Any]:
        """The config by dotted key."""
        from engine.config.stored import flat_values  # takes longer than reading the run

        return flat_values(self.row.stored_config)

    @property
    def folder(self) -> Path:
        """The run's folder: journal, log, checkpoints, gallery."""
        return self.workspace.folders.run_dir(self.id).path

    def curve(self, split: str | None = "val") -> Frame:
        """The scores of each epoch; `split` None: on both splits."""
        return self.workspace.epochs(self, split=split)

    def class_scores(self, split: str | None = "val") -> Frame:
        """Dice and IoU of each class at each epoch."""
        return self.workspace.class_scores(self, split=split)

    def evaluations(self) -> Frame:
        """The scores that the run's network got on a split, by itself and by `seg-engine evaluate`."""
        return self.workspace.evaluations(self)

    def environments(self) -> Frame:
        """The scores that the run's network got in other environments by `seg-engine generalise`."""
        return self.workspace.environments(self)

    def figure(self, measure: str = "dice", against: str = "epochs", columns: int = 1) -> Figure:
        """The run's curves as `Workspace.figure` draws them."""
        return self.workspace.figure(self, measure=measure, against=against, columns=columns)

    def load(
        self,
        checkpoint: str = "best",
        device: str = "auto",
        size: tuple[int, int] | None = None,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
    ) -> LoadedNetwork:
        """The trained network, as `engine.load` gives it; imports torch."""
        from engine.config.seen import Seen
        from engine.loading import load

        return load(self.id, self.workspace.folders.root, checkpoint, device, Seen(size, window, stride))

    def wait(self, timeout: float | None = None) -> RunRow:
        """Wait until the run has ended; returns how. A preempted one has not while somebody is there who
        queues it again. A run that is paused, or waits for a device that never comes, never ends: `timeout`
        is the most seconds to wait, after which TimeoutError is raised and the run goes on. Ctrl-C ends the
        waiting, not the run."""
        from engine.agent.ingest import is_settled, refresh  # takes longer than reading the run

        deadline = None if timeout is None else time.monotonic() + timeout
        folder = self.workspace.folders.run_dir(self.id)
        with self.workspace.open() as store:
            while True:
                row = store.run(self.id)
                if is_settled(row):
                    return row
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"{self.id} is {row.status} after {timeout:g} s; it goes on")
                time.sleep(POLL_SECONDS)
                if not store.read_only:
                    refresh(store, [folder])

    def stop(self) -> str:
        """Let the run end its step, save and stop; a queued one leaves the queue. Returns what became of it:
        stopped, stopping or ended. Raises Refused where it is over."""
        from engine.requests.lifecycle import stop

        with self.workspace.open(change=True) as store:
            return stop(self.workspace.folders, store, [store.run(self.id)])[0]

    def resume(self) -> Run:
        """Queue a run that stopped, failed or was lost: it goes on from its last checkpoint. Raises Refused
        where it cannot."""
        from engine.api.starting import want_agent
        from engine.requests.lifecycle import requeue

        with self.workspace.open(change=True) as store:
            requeue(self.workspace.folders, store, [store.run(self.id)])
        want_agent(self.workspace.folders, self.id, notice)
        return self

    def tag(self, *tags: str) -> Run:
        """Add tags. Raises Refused for text that no database keeps."""
        from engine.requests.lifecycle import change_tags

        with self.workspace.open(change=True) as store:
            change_tags(self.workspace.folders, store, self.id, add=tags)
        return self

    def note(self, text: str) -> Run:
        """Replace the note; "" removes it. Raises Refused for text that no database keeps."""
        from engine.requests.lifecycle import set_note

        with self.workspace.open(change=True) as store:
            set_note(self.workspace.folders, store, self.id, text)
        return self
