"""The agent: takes queued runs, starts their workers, watches them, and gives each a true end.

It holds nothing that would be lost with it. The database says what is to be done, run directories and the
kernel say what is; whichever agent comes next goes on from there. A run's trouble is its own: it is told with
the run's name and owner, and the others go on.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from engine.agent.bulletin import Bulletin
from engine.agent.cluster import Cluster
from engine.agent.devices import cores_of, parts_of, slot_of, visible_device, words_for
from engine.agent.executors.local import StillHeld, is_held, start_worker
from engine.agent.gate import Gate
from engine.agent.ingest import (
    catch_up,
    has_living_worker,
    is_clustered,
    is_over,
    owner_of,
    queue_again,
    settle,
)
from engine.agent.settings import Settings
from engine.agent.troubles import Troubles, in_a_line, say_fault
from engine.agent.workers import ask_to_stop, find_worker, kill_worker, mistrust
from engine.host.processes import identify, is_alive
from engine.run.directory import RunDir
from engine.run.journal import JournalError
from engine.store import AgentState, RunRow, Store
from engine.store.cards import keep_card
from engine.workspace import Workspace

GRACE_SECONDS = 60.0
"""How long a worker may take to end its step and save before it is killed."""

LEASE_SECONDS = 120.0
"""How long the heartbeat of a run on another host may rest before the run counts as lost."""

LOST_SECONDS = 10.0
"""How often it is looked for the heartbeat of runs that count as lost."""

LEAVING_SECONDS = 30.0
"""How long a worker may take to be gone once its end is on the record."""

Say = Callable[[str], None]


@dataclass
class Watched:
    """A run in this agent's care. `worker` is None when an earlier process started it; `asked` and `ended`
    are monotonic times: when it was told to stop, and when its end was first seen on the record."""

    run: RunDir
    slot: str
    worker: subprocess.Popen[bytes] | None
    asked: float | None = None
    ended: float | None = None
    killed_because: str = ""


class Agent:
    """Does all that is to be done now at each `step`, and never waits in one."""

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        slots: dict[str, int],
        say: Say,
        grace: float = GRACE_SECONDS,
        lease: float = LEASE_SECONDS,
        gate: Gate | None = None,
        sized: Callable[[int], dict[str, int]] | None = None,
    ) -> None:
        """`sized` gives the slots for so many runs on each device, a number that may change."""
        self.store, self.workspace, self.slots, self.say = store, workspace, slots, say
        self.grace, self.lease = grace, lease
        self.me = identify()
        self.watched: dict[str, Watched] = {}
        self.troubles = Troubles(store, workspace, say)
        self.cluster = Cluster(store, workspace, self.me, say, grace, self.troubles)
        self.gate = gate or Gate(workspace.runs, slots, Settings(workspace.root, {}), say)
        self.bulletin = Bulletin(store, self.me, say, self.gate.said)
        self._sized, self._runs_a_device = sized, 0
        self._others: dict[str, set[str]] = defaultdict(set)
        self._beats: dict[str, tuple[float | None, float]] = {}
        self._lost_beats: dict[str, float | None] = {}
        self._looked_for_lost = float("-inf")

    def step(self) -> None:
        """Raises StoreError when the database cannot be used; the next step goes on from there."""
        self.troubles.begin()
        self._look_for_lost()
        orphaned_jobs = self._look_around()
        for run_id in self.troubles.last(self.watched):
            self._care_for(run_id)
        preempted = self._preempted()
        self.cluster.step(orphaned_jobs + [row for row in preempted if is_clustered(row)])
        self._requeue([row for row in preempted if not is_clustered(row)])
        for run_id in self.store.queue.fail_dependents():
            keep_card(self.store, self.workspace.run_dir(run_id))
            self.say(f"{run_id} failed: {self.store.run(run_id).message}")
        self.gate.begin(self.watched.keys() | set().union(*self._others.values()))
        self._heed_slots()
        try:
            for slot, room in self.slots.items():
                while len(self._runs_in(slot)) < room and self._start_next(slot):
                    pass
        finally:
            self.gate.end()
        self.bulletin.tell(AgentState(self.me, self.gate.why, self.gate.states))
        self.troubles.raise_if_general()

    def _heed_slots(self) -> None:
        """Take so many runs on each device as the settings say now. Runs at work go on."""
        wanted = self.gate.settings.config.slots
        if self._sized is not None and wanted != self._runs_a_device:
            self.slots, self._runs_a_device = self._sized(wanted), wanted
            self.say(f"slots: {', '.join(f'{room} on {slot}' for slot, room in self.slots.items())}")

    def _care_for(self, run_id: str) -> None:
        watched = self.watched[run_id]
        with self.troubles.of(run_id) as there:
            self._look_after(watched)
        if not there:  # it ended, was seen to have, and was deleted since the last step
            self.watched.pop(run_id, None)

    @property
    def idle(self) -> bool:
        """Whether nothing is in its care and nothing waits that may start some day by itself."""
        return not self.watched and not self.cluster.busy and not self.store.queue.goes_on()

    # ------------------------------------------------------------------ runs that others started

    def _look_around(self) -> list[RunRow]:
        """Adopt the active runs of this host that nobody looks after, and count those of living others.

        Returns the jobs of a cluster that nobody looks after.
        """
        self._others.clear()
        elsewhere = set()
        jobs = []
        for row in self.store.queue.active():
            if row.id in self.watched or row.id in self.cluster.watched:
                continue
            with self.troubles.of(row.id):
                owner, run = owner_of(row), self.workspace.run_dir(row.id)
                process = run.read_proc()
                here = process is None or is_alive(process) is not None
                alive = is_alive(owner) if owner is not None else False
                if is_clustered(row):
                    if alive is None:  # its agent is on another login node, and may be gone
                        elsewhere.add(row.id)
                    if (alive is None and self._has_rested(row, run)) or alive is False or owner == self.me:
                        jobs.append(row)
                elif alive and owner != self.me:
                    for slot in parts_of(slot_of(row, self.slots)):
                        self._others[slot].add(row.id)
                elif alive is None or not here:
                    elsewhere.add(row.id)
                    self._watch_from_afar(row, run)
                else:
                    self._adopt(row, run)
        self._beats = {run_id: seen for run_id, seen in self._beats.items() if run_id in elsewhere}
        return jobs

    def _adopt(self, row: RunRow, run: RunDir) -> None:
        slot = slot_of(row, self.slots)
        if self.store.queue.adopt(row.id, self.me, slot, row.claimed_by):
            self.watched[row.id] = Watched(run, slot, worker=None)
            self.gate.started(parts_of(slot), row.id)  # its worker may not be seen on its device yet
            fault, process = mistrust(run), run.read_proc()
            up = f"process {process.pid}" if process else "not up yet"
            self.say(f"{row.id} adopted ({fault or up})")

    def _watch_from_afar(self, row: RunRow, run: RunDir) -> None:
        """Call a run of another host lost when its heartbeat has rested for a whole lease."""
        if self._has_rested(row, run):
            owner = owner_of(row)
            host = row.host or (owner.host if owner else "its host")
            message = f"no heartbeat from {host} for {self.lease:g} s"
            if self.store.lifecycle.set_status(row.id, "lost", "lost_host", message, seen=row):
                self.say(f"{row.id} lost: {message}")

    def _has_rested(self, row: RunRow, run: RunDir) -> bool:
        """Whether a run's heartbeat has not moved for a whole lease; while it does, its journal is read.

        The time is measured by this agent's own monotonic clock: the clocks of two hosts differ, and any of
        them may be set back.
        """
        beat, now = run.last_beat(), time.monotonic()
        last, since = self._beats.get(row.id, (None, now))
        if beat != last or row.id not in self._beats:
            self._beats[row.id] = beat, now
            with contextlib.suppress(JournalError):
                catch_up(self.store, run)
            return False
        return now - since > self.lease

    def _look_for_lost(self) -> None:
        """Let runs go on that were called lost, and whose heart beats again: their host could not be seen for
        a while. What they have written is read also where they have ended since."""
        now = time.monotonic()
        if now - self._looked_for_lost < LOST_SECONDS:
            return
        self._looked_for_lost = now
        before, self._lost_beats = self._lost_beats, {}
        for row in self.store.queue.lost():
            with self.troubles.of(row.id):
                run = self.workspace.run_dir(row.id)
                beat = self._lost_beats[row.id] = run.last_beat()
                if row.id not in before:
                    catch_up(self.store, run)
                elif beat != before[row.id] and self.store.lifecycle.set_status(row.id, "running", seen=row):
                    self.say(f"{row.id} running: its heart beats again")

    # ------------------------------------------------------------------ runs in its care

    def _look_after(self, watched: Watched) -> None:
        run = watched.run
        exit_status = watched.worker.poll() if watched.worker is not None else None
        if watched.worker is None:
            distrusted = self._distrusted(run)
            watched.killed_because = watched.killed_because or distrusted
            over = bool(distrusted) or is_over(run)
        else:
            over = exit_status is not None
        if over:
            self._end(watched, exit_status)
            return
        with self.troubles.of(run.id, "journal"):
            catch_up(self.store, run)
        row = self.store.run(run.id)
        if row.status == "stopping":
            self._stop(watched)
        elif row.status == "lost":
            # Another host could not see it any more; this one can.
            self.store.lifecycle.set_status(run.id, "running", expect=("lost",))
        elif row.ended:
            self._see_off(watched)

    def _stop(self, watched: Watched) -> None:
        """Ask a worker to stop, kill it after the grace time. Raises CannotSignal."""
        run = watched.run
        if watched.asked is None:
            watched.asked = time.monotonic()
            pid = ask_to_stop(run, watched.worker)
            self.say(f"{run.id} asked to stop (process {pid})" if pid else f"{run.id}: {self._nobody(run)}")
        elif not watched.killed_because and time.monotonic() - watched.asked > self.grace:
            kill_worker(run, watched.worker)
            watched.killed_because = f"it did not stop within {self.grace:g} s and was killed"
            self.say(f"{run.id} killed: it did not stop within {self.grace:g} s")

    def _distrusted(self, run: RunDir) -> str:
        """What is wrong with proc.json, when whoever it names is not this run's and nobody else is either."""
        fault = mistrust(run)
        return fault if fault and not is_held(run) and find_worker(run) is None else ""

    def _nobody(self, run: RunDir) -> str:
        return mistrust(run) or "is to stop; its worker is not visible yet"

    def _see_off(self, watched: Watched) -> None:
        """Kill a worker that is not gone long after its end, as when a child of it is stuck."""
        now = time.monotonic()
        watched.ended = watched.ended or now
        if not watched.killed_because and now - watched.ended > LEAVING_SECONDS:
            kill_worker(watched.run, watched.worker)
            watched.killed_because = f"its worker was still running {LEAVING_SECONDS:g} s after the run ended"
            self.say(f"{watched.run.id} killed: {watched.killed_because}")

    def _end(self, watched: Watched, exit_status: int | None) -> None:
        run = watched.run
        settle(self.store, run, exit_status, watched.killed_because)
        del self.watched[run.id]
        row = self.store.run(run.id)
        told = f" ({row.cause}) {row.message}" if row.status in ("failed", "lost") else ""
        self.say(f"{run.id} {row.status}{told}")

    def _preempted(self) -> list[RunRow]:
        """Runs that had to make room and are to go on, once their last process is gone.

        Those that some other process looks after are left to it, and those that were never claimed in this
        database came from elsewhere, where they may be queued already.
        """
        watched = self.watched.keys() | self.cluster.watched.keys()
        found = []
        for row in self.store.queue.preempted():
            owner = owner_of(row)
            if owner is not None and row.id not in watched and (owner == self.me or not is_alive(owner)):
                found.append(row)
        return found

    def _requeue(self, preempted: list[RunRow]) -> None:
        for row in preempted:
            run = self.workspace.run_dir(row.id)
            with self.troubles.of(row.id):
                if not is_held(run) and queue_again(self.store, run, row):
                    self.say(f"{row.id} preempted, queued again")

    # ------------------------------------------------------------------ starting

    def _runs_in(self, slot: str) -> set[str]:
        """The runs of this workspace that are at work in a slot, whoever looks after them."""
        mine = {run_id for run_id, watched in self.watched.items() if slot in parts_of(watched.slot)}
        return mine | self._others[slot]

    def _is_closed(self, slot: str) -> bool:
        """Whether no run may start in a slot now for the sake of others."""
        return self.gate.asks and self.gate.is_closed(slot, self._runs_in(slot))

    def _start_next(self, slot: str) -> bool:
        """Claim the next run for a slot and start it; False when none is there."""
        gpus = [other for other in self.slots if other != "cpu"] if slot != "cpu" else [slot]
        words = words_for(slot, self.slots)
        if self.gate.asks and (not self.store.queue.has_next(words, "local") or self._is_closed(slot)):
            return False
        beside = [
            other
            for other in gpus
            if other != slot and len(self._runs_in(other)) < self.slots[other] and not self._is_closed(other)
        ]
        row = self.store.queue.claim_next(self.me, slot, words, beside, len(gpus))
        if row is None:
            return False
        run = self.workspace.run_dir(row.id)
        worker = None
        try:
            slot = slot_of(row, self.slots)
            visible = visible_device(slot, str(row.config["device"]))
            worker = start_worker(run, self.workspace.cache, visible, cores_of(slot, self.slots))
        except Exception as error:  # whatever ails it is this run's own, and the next one is to start
            if not (isinstance(error, StillHeld) and has_living_worker(run)):
                message = in_a_line(error) if run.path.is_dir() else f"its folder {run.path} is gone"
                self.store.lifecycle.set_status(row.id, "failed", "exception", message, expect=("starting",))
                keep_card(self.store, run)
                self.say(f"{row.id} failed: {message}")
                say_fault(error, self.say)
                return True
            # The database was made again while the run was at work, and took it for one that waits.
            self.say(f"{row.id} adopted ({mistrust(run) or 'its worker lives'})")
        else:
            self.gate.started(parts_of(slot), row.id)
            self.say(f"{row.id} {row.name}: worker {worker.pid} on {slot}, attempt {row.attempt + 1}")
        self.watched[row.id] = Watched(run, slot, worker)
        return True
