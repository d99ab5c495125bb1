"""What the database says now: read in a thread, told to the app as immutable snapshots.

A screen never waits for the database. It watches `app.snapshot`, which a newer snapshot replaces whole, also
in the queue of messages: who was busy for a while sees the present, not the past in slow motion.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from textual.message import Message

from engine.agent.presence import Presence
from engine.host.processes import is_alive
from engine.store import NoSuchRun, StoreError
from engine.tasks import TASKS
from engine.typed import typed
from engine.workspace import Workspace, file_identity
from seg_tui.first_look import WAIT_SECONDS, FirstLook, Look

if TYPE_CHECKING:
    from engine.store import AgentState, RunSummary, Store

LOOK_AFTER_SECONDS = 2.0
"""How often it is looked whether somebody looks after the runs that are under way or wait."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All runs at one moment, by id. A run that did not change is the same object in the next snapshot.

    `there` says whether the workspace has a database at all; `at` is UTC seconds. `unattended` says
    whether runs wait that an agent would start, and none is on this host, nor says anything from another one.
    `read_only` is "", or why nothing can be changed. `workspace` is the id of the one that is shown;
    `has_agent` says whether an agent of it is on this host, True until somebody has looked, and `holding`
    what its agents say.
    """

    runs: Mapping[str, RunSummary] = field(default_factory=lambda: MappingProxyType({}))
    there: bool = False
    at: float = 0.0
    unattended: bool = False
    read_only: str = ""
    workspace: str = ""
    has_agent: bool = True
    holding: tuple[AgentState, ...] = ()

    def changed_since(self, before: Snapshot) -> list[str]:
        """The ids of the runs that are new or have changed."""
        return [run_id for run_id, run in self.runs.items() if before.runs.get(run_id) is not run]


@dataclass(frozen=True)
class _Agents:
    """Whether an agent is here, what agents say, and whether runs wait for nobody."""

    here: bool = True
    holding: tuple[AgentState, ...] = ()
    unattended: bool = False


class SnapshotTaken(Message):
    """Something changed; `snapshot` is how it is now."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SnapshotTaken)


class StoreTroubled(Message):
    """The database cannot be read; `problem` is a line that says why and what to do."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class StoreRecovered(Message):
    """The database can be read again."""


class LiveFailed(Message):
    """Nothing is read any more, because of a fault of this program."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault = fault


class Live:
    """Reads the database of `workspace` every `interval` seconds until `stop`, and posts what it finds. With
    `look_after` it folds in what runs have written that nobody looks after, as every look of the command line
    does, and tells whether runs wait for an agent that is not there. It starts nothing. What a `first_look`
    that was begun earlier has seen comes first.

    The store it has open is its own; screens open theirs through `Workspace.open_store`.
    """

    def __init__(
        self,
        workspace: Workspace,
        post: Callable[[Message], object],
        interval: float = 0.5,
        look_after: bool = True,
        first_look: FirstLook | None = None,
    ) -> None:
        self.workspace, self.interval = workspace, interval
        self._first_look = first_look
        self._post, self._cares = post, look_after
        self._wake, self._stopped = threading.Event(), threading.Event()
        self.newest = Snapshot()
        """The last that was posted, for who cannot wait for its message."""
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None
        self._read_only = self._workspace_id = ""
        self._runs: dict[str, RunSummary] = {}
        self._latest = -1
        self._also: tuple[str, ...] = ()
        self._read: tuple[str, ...] = ()
        self._told = False
        self._known = False
        self._trouble = ""
        self._looked_after = 0.0
        self._agents = self._told_agents = _Agents()
        self._thread = threading.Thread(target=self._follow, name="live", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def want(self, names: Sequence[str]) -> None:
        """Read of each run what it has under these names, which filters know, too."""
        if tuple(names) != self._also:
            self._also = tuple(names)
            self._wake.set()

    def nudge(self) -> None:
        """Look now, not only when the interval is over: somebody has just changed something."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread and close the database; returns when it is done, or after two seconds."""
        self._stopped.set()
        self._wake.set()
        if self._first_look is not None:
            self._first_look.abandon()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _follow(self) -> None:
        try:
            if self._first_look is not None and (look := self._first_look.take()) is not None:
                self._tell_of(look)
                self._wait()  # the screen is drawn first
            self._look_on()
        except Exception as fault:
            self._post(LiveFailed(fault))
        finally:
            self._close()

    def _look_on(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look_after()
                self._look()
                if self._trouble:
                    self._trouble = ""
                    self._post(StoreRecovered())
            except (StoreError, OSError) as error:
                self._close()
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    self._post(StoreTroubled(self._trouble))
            self._wait()

    def _wait(self) -> None:
        self._wake.wait(self.interval)
        self._wake.clear()

    def _tell_of(self, look: Look) -> None:
        self._file, self._read_only, self._workspace_id = look.file, look.read_only, look.workspace
        # The next look reads all of them once more: nobody has had this file open meanwhile, so it may have
        # been replaced by another one that got its inode.
        self._runs = {run.id: run for run in look.runs}
        self._known = True
        self._tell(there=True)

    def _look(self) -> None:
        """Read what changed; post a snapshot if anything did. Raises StoreError."""
        file = file_identity(self.workspace)
        if file is None:
            self._close()
            if self._known:
                raise StoreError(
                    f"{self.workspace.database} no longer exists; this is its last state. "
                    f"Restore it, or rebuild it from runs/ with `{typed('db', 'rebuild')}`"
                )
            if not self._told:
                self._tell(there=False)
            return
        if file != self._file:
            # A rebuilt database is another file under the same name; who has the old one open reads the old.
            self._close()
        if self._store is None:
            self._open()
        assert self._store is not None
        also = self._also
        changes = self._store.changes(self._latest if also == self._read else -1, also)
        if also and any(run.ended and not TASKS[run.task].learns for run in changes.runs):
            # Others have now what it measured of their networks.
            changes = self._store.changes(-1, also)
        self._read, self._latest = also, changes.latest
        fresh = {run.id: run for run in changes.runs if self._runs.get(run.id) != run}
        known = changes.count == len(self._runs) and self._agents == self._told_agents
        if not fresh and known and self._told:
            return
        self._runs = {**self._runs, **fresh}
        if changes.count != len(self._runs):
            left = set(self._store.run_ids())
            self._runs = {run_id: run for run_id, run in self._runs.items() if run_id in left}
        self._known = True
        self._tell(there=True)

    def _open(self) -> None:
        self._store = self.workspace.open_store(WAIT_SECONDS, look=True)
        self._read_only, self._workspace_id = self._store.read_only, self._store.workspace
        file = file_identity(self.workspace)
        if file != self._file:  # what is known is of none, or of another
            self._file, self._runs, self._latest = file, {}, -1

    def _tell(self, there: bool) -> None:
        self._told, self._told_agents = True, self._agents
        agents = self._agents
        snapshot = Snapshot(
            MappingProxyType(self._runs),
            there,
            time.time(),
            agents.unattended,
            self._read_only if there else "",
            self._workspace_id if there else "",
            agents.here,
            agents.holding,
        )
        self.newest = snapshot
        self._post(SnapshotTaken(snapshot))

    def _look_after(self) -> None:
        """Fold in what runs have written that nobody looks after, and see whether some wait for nobody."""
        if (
            not self._cares
            or self._store is None
            or time.monotonic() - self._looked_after < LOOK_AFTER_SECONDS
        ):
            return
        self._looked_after = time.monotonic()
        here = Presence.of(self.workspace).living() is not None
        holding = tuple(self._store.agents.living())
        if here:
            self._agents = _Agents(True, holding)
            return
        self._agents = _Agents(False, holding, not holding and self._store.queue.goes_on())
        from engine.agent.ingest import owner_of, refresh  # what takes long to import comes after the runs
        from engine.run.journal import JournalError

        for row in self._store.queue.active() if not self._store.read_only else ():
            owner = owner_of(row)
            if owner is None or is_alive(owner) is False:
                # `db check` tells what ails a journal; a run may be deleted just now.
                with contextlib.suppress(JournalError, NoSuchRun, OSError):
                    refresh(self._store, [self.workspace.run_dir(row.id)])

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
        if self._store is not None or self._file is not None:
            self._told = False
        self._store, self._file, self._runs, self._latest = None, None, {}, -1
