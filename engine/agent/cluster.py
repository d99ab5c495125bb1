"""The agent's runs that are jobs of a Slurm cluster: submitted, watched, and each given a true end.

Slurm is asked every few seconds, once for all jobs. What a job is for is written in the script that it was
submitted with, so that an agent that finds a job knows its run whatever the database says, and none is
submitted twice. Where Slurm starts a job again (its node died, or somebody needed it) the run goes on as its
next attempt; where the run itself had to make room (slurm.time is over) it is queued again, for a new job.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engine.agent.executors import slurm
from engine.agent.executors.slurm import SlurmError, SlurmJob
from engine.agent.ingest import catch_up, last_word
from engine.agent.troubles import Troubles
from engine.config.slurm import SlurmConfig
from engine.host.access import owner_of_path
from engine.host.patience import in_background
from engine.host.processes import ProcessIdentity
from engine.run.directory import RunDir, RunDirError
from engine.run.files import replacing
from engine.run.journal import JournalError
from engine.store import RunRow, Store
from engine.store.cards import keep_card
from engine.workspace import Workspace

ASK_SECONDS = 2.0
"""How often Slurm is asked for its jobs."""

ANSWER_SECONDS = 2.0
"""How long the agent waits for Slurm in one step, before it goes on without."""

RETRY_SECONDS = 30.0
"""How long a submission waits that Slurm has no room for now."""

SLOT = "slurm"
DEVICES = ("auto", "cpu", "cuda")
STARTED_AGAIN = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED")
"""Ends of a job that say nothing against its run."""

Say = Callable[[str], None]

T = TypeVar("T")
Turn = Generator[None, None, T]
"""Work that asks Slurm, and pauses while it does not answer; what it returns is its result."""


@dataclass
class Submitted:
    """A run that is a job. `restarts` is how often Slurm had started it again when it was last looked at,
    `since` and `asked` are monotonic times: of its submission, and of the word that it is to stop. `tried` is
    the time of the listing with which that was last tried, `refusal` what Slurm said to it. `at_work`: it ran
    already when the run was taken from the queue, so that it may be of an earlier attempt."""

    run: RunDir
    job: str
    since: float
    restarts: int = 0
    asked: float | None = None
    cancelled: bool = False
    at_work: bool = False
    tried: float | None = None
    refusal: str = ""
    damage: str = ""


class Cluster:
    """Does all that is to be done now at each `step`; while there is nothing, Slurm is not asked.

    Slurm is asked one thing after the other. What is to be done pauses while an answer is awaited, so that a
    controller that takes long keeps the agent from nothing else.
    """

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        me: ProcessIdentity,
        say: Say,
        grace: float,
        troubles: Troubles,
    ) -> None:
        self.troubles = troubles
        self.store, self.workspace, self.me, self.say, self.grace = store, workspace, me, say, grace
        self.watched: dict[str, Submitted] = {}
        self._jobs: dict[str, SlurmJob] = {}
        self._waiting = False
        self._looked_at = self._tried_at = self._asked_at = self._not_before = float("-inf")
        self._round: Turn[None] | None = None
        self._patient_until = float("-inf")
        self._submitting: set[str] | None = None
        self._users: set[int] = set()
        self._known: dict[str, list[str]] = {}
        self._trouble = ""

    @property
    def busy(self) -> bool:
        """Whether runs are in its care, or Slurm has been asked something and has not answered yet."""
        return bool(self.watched) or self._round is not None

    def step(self, orphans: Sequence[RunRow]) -> None:
        """`orphans` are runs, active or preempted, that nobody looks after. Raises StoreError."""
        self._patient_until = time.monotonic() + ANSWER_SECONDS
        going_on, self._round = self._round or self._go_round(orphans), None  # an error ends it
        try:
            next(going_on)
        except StopIteration:
            return
        self._round = going_on
        self._read_journals()

    def _go_round(self, orphans: Sequence[RunRow]) -> Turn[None]:
        now = time.monotonic()
        if now - self._looked_at >= ASK_SECONDS:
            self._looked_at, self._waiting = now, self.store.queue.has_next(DEVICES, executor=SLOT)
        if not (orphans or self._waiting or self.watched):
            return
        if now - self._tried_at >= ASK_SECONDS:
            yield from self._list_jobs(bool(orphans))
        if self._asked_at != self._tried_at:
            self._read_journals()
            return
        for row in orphans:
            with self.troubles.of(row.id):
                yield from self._take_in(row)
        for run_id in self.troubles.last(self.watched):
            with self.troubles.of(run_id) as there:
                yield from self._look_after(self.watched[run_id])
            if not there:  # it ended, was seen to have, and was deleted since the last step
                self.watched.pop(run_id, None)
        if self._waiting and now >= self._not_before:
            yield from self._submit_all()
            self._waiting = False

    def _list_jobs(self, orphans: bool) -> Turn[None]:
        self._tried_at = time.monotonic()
        # The list may lack what is submitted meanwhile: an agent that is killed leaves its sbatch at work.
        self._submitting = slurm.being_submitted() if orphans else None
        if orphans or self._asked_at == float("-inf"):
            self._users = self._submitters()
        try:
            listed = yield from self._answer(lambda: slurm.list_jobs(self._users))
            self._jobs = {job.id: job for job in listed}
            self._asked_at, self._trouble = self._tried_at, ""
        except SlurmError as error:
            self._tell_trouble(str(error))

    def _answer(self, question: Callable[[], T]) -> Turn[T]:
        """What Slurm answers; raises what the question raises."""
        answer = in_background(question)
        wait([answer], max(0.0, self._patient_until - time.monotonic()))
        while not answer.done():
            yield
        return answer.result()

    def _read_journals(self) -> None:
        """What journals say holds whether Slurm answers or not."""
        for run_id in self.troubles.last(self.watched):
            with self.troubles.of(run_id):
                self._read_journal(self.watched[run_id])

    # ------------------------------------------------------------------ what Slurm has

    def _job_of(self, run_id: str) -> SlurmJob | None:
        """The living job that was submitted for a run, whoever did."""
        jobs = self._jobs.values()
        return next((job for job in jobs if job.alive and self._is_for(job, run_id)), None)

    def _is_for(self, job: SlurmJob, run_id: str) -> bool:
        ids = self._runs_of(job.name)
        return job.task < len(ids) and ids[job.task] == run_id

    def _runs_of(self, name: str) -> list[str]:
        """The runs that the jobs of a name are for, in the order of their array; none for a stranger's."""
        if name not in self._known:
            with contextlib.suppress(OSError):
                script = self._script(name).read_text(errors="replace")
                self._known[name] = slurm.runs_of(name, script, self.workspace.runs)
        return self._known.get(name, [])

    def _submitters(self) -> set[int]:
        """The users whose agents have submitted jobs here: in a shared workspace any of them may have been at
        work before."""
        owners = map(owner_of_path, self._script("").parent.glob("*.sh"))
        return {uid for uid in owners if uid is not None}

    def _script(self, name: str) -> Path:
        return self.workspace.root / "slurm" / f"{name}.sh"

    def _tell_trouble(self, message: str) -> None:
        if message != self._trouble:
            self.say(f"trouble: {message}")
        self._trouble = message

    # ------------------------------------------------------------------ submitting

    def _submit_all(self) -> Turn[None]:
        """Claim what is queued; runs that want the same of the cluster go as one array."""
        groups: dict[SlurmConfig, list[RunDir]] = {}
        in_order: list[RunDir] = []
        while (row := self.store.queue.claim_next(self.me, SLOT, DEVICES, executor=SLOT)) is not None:
            run = self.workspace.run_dir(row.id)
            job = self._job_of(row.id)
            if job is not None:
                self.store.queue.note_job(run.id, self.me, job.id)
                self._watch(run, job.id, job.restarts)
                self.watched[run.id].at_work = not job.waiting
                self.say(f"{row.id} adopted: it is job {job.id}")
                continue
            try:
                wanted = run.read_config().slurm
                # It speaks of an earlier attempt.
                run.proc_file.unlink(missing_ok=True)
            except (RunDirError, OSError) as error:
                self._fail(row.id, str(error), ("starting",))
                continue
            groups.setdefault(wanted, []).append(run)
            in_order.append(run)
        left: set[RunDir] = set()
        for wanted, runs in groups.items():
            for first in range(0, len(runs), slurm.LARGEST_ARRAY):
                left.update((yield from self._submit(wanted, runs[first : first + slurm.LARGEST_ARRAY])))
        for run in in_order:
            if run in left:
                self.store.lifecycle.set_status(run.id, "queued", expect=("starting",))

    def _submit(self, wanted: SlurmConfig, runs: list[RunDir]) -> Turn[list[RunDir]]:
        """Submit as many of these runs as Slurm takes, as one array if it takes that; returns those that it
        has no room for now."""
        name = slurm.new_name(runs)
        script = self._script(name)
        # What is listed so far lacks this job. Nothing is to be concluded from that, whatever goes wrong now.
        self._asked_at = float("-inf")
        try:
            script.parent.mkdir(exist_ok=True)
            with replacing(script) as stream:
                stream.write(slurm.job_script(name, runs, wanted, self.workspace.cache).encode())
            number = yield from self._answer(lambda: slurm.submit(script))
        except (SlurmError, OSError) as error:
            too_many = isinstance(error, SlurmError) and error.too_many
            if too_many:  # and there is no job that the script is kept for
                script.unlink(missing_ok=True)
            if too_many and len(runs) > 1:
                half = len(runs) // 2
                left = yield from self._submit(wanted, runs[:half])
                return left + runs[half:] if left else (yield from self._submit(wanted, runs[half:]))
            if isinstance(error, SlurmError) and error.passing:
                self._not_before = time.monotonic() + RETRY_SECONDS
                self._tell_trouble(f"{error}; tried again in {RETRY_SECONDS:g} s")
                return runs
            for run in runs:
                self._fail(run.id, str(error), ("starting", "stopping"))
            return []
        for task, run in enumerate(runs):
            job = f"{number}_{task}" if len(runs) > 1 else number
            self.store.queue.note_job(run.id, self.me, job)
            self._watch(run, job)
            self.say(f"{run.id}: job {job} submitted")
        return []

    def _watch(self, run: RunDir, job: str, restarts: int = 0) -> None:
        self.watched[run.id] = Submitted(run, job, time.monotonic(), restarts)

    def _fail(self, run_id: str, message: str, expect: tuple[str, ...]) -> None:
        if self.store.lifecycle.set_status(run_id, "failed", "exception", message, expect=expect):
            keep_card(self.store, self.workspace.run_dir(run_id))
            self.say(f"{run_id} failed: {message}")

    def _take_in(self, row: RunRow) -> Turn[None]:
        """Look after a run whose agent is gone."""
        run, job = self.workspace.run_dir(row.id), self._job_of(row.id)
        with contextlib.suppress(JournalError):  # whoever looks after it tells of that
            catch_up(self.store, run)
            row = self.store.run(row.id)
        number = job.id if job is not None else (row.claimed_by or {}).get("job", "")
        number = number if slurm.is_job(number) else ""
        if row.ended and row.cause != "preempted":
            self.say(f"{row.id} {row.status} while no agent was there")
        elif row.ended:
            if job is None:
                self._watch(run, number)
                yield from self._end(self.watched[run.id])
            else:
                self.store.lifecycle.set_status(row.id, "starting", seen=row)  # the next step adopts it
        elif not number:
            if self._may_be_submitted(row.id):
                return
            # Its agent died before it could submit it.
            status = "stopped" if row.status == "stopping" else "queued"
            if self.store.lifecycle.set_status(
                row.id, status, "stopped" if status == "stopped" else "", seen=row
            ):
                keep_card(self.store, run)
        elif self.store.queue.adopt(row.id, self.me, SLOT, row.claimed_by):
            self.store.queue.note_job(row.id, self.me, number)
            self._watch(run, number, job.restarts if job is not None else 0)
            self.watched[row.id].since = float("-inf")
            self.say(f"{row.id} adopted (job {number})")

    def _may_be_submitted(self, run_id: str) -> bool:
        """Whether a run that has no job in the list may get one all the same."""
        submitting = self._submitting
        return submitting is None or any(run_id in self._runs_of(name) for name in submitting)

    # ------------------------------------------------------------------ watching

    def _look_after(self, submitted: Submitted) -> Turn[None]:
        run, job = submitted.run, self._jobs.get(submitted.job)
        if job is not None and not self._is_for(job, run.id):
            job = None  # the database names another's
        self._read_journal(submitted)
        if submitted.since > self._asked_at:
            return  # Slurm was asked before it was submitted
        if job is None or not job.alive:
            yield from self._end(submitted, job)
            return
        row = self.store.run(run.id)
        if row.status == "stopping":
            yield from self._stop(submitted, job)
        elif job.restarts > submitted.restarts:
            submitted.restarts, submitted.at_work = job.restarts, False
            self.say(f"{run.id}: Slurm starts job {job.id} again ({job.reason or job.state})")
            if job.waiting:
                self.store.lifecycle.set_status(run.id, "starting", expect=("running", "stopped", "failed"))

    def _read_journal(self, submitted: Submitted) -> None:
        run = submitted.run
        try:
            catch_up(self.store, run)
            submitted.damage = ""
        except JournalError as error:
            if str(error) != submitted.damage:
                self.say(f"{run.id}: {error}")
            submitted.damage = str(error)

    def _stop(self, submitted: Submitted, job: SlurmJob) -> Turn[None]:
        """Once with each listing, until the job is not among the living: Slurm may not answer at first."""
        if submitted.tried == self._asked_at:
            return
        submitted.tried, now = self._asked_at, time.monotonic()
        try:
            if job.waiting and not submitted.cancelled:
                yield from self._answer(lambda: slurm.cancel(job.id))
                submitted.cancelled = True
                self.say(f"{submitted.run.id} taken out of Slurm's queue (job {job.id})")
            elif submitted.asked is None and not job.waiting:
                yield from self._answer(lambda: slurm.interrupt(job.id))
                submitted.asked = time.monotonic()
                self.say(f"{submitted.run.id} asked to stop (job {job.id})")
            elif (
                submitted.asked is not None and not submitted.cancelled and now - submitted.asked > self.grace
            ):
                yield from self._answer(lambda: slurm.cancel(job.id))
                submitted.cancelled = True
                self.say(f"{submitted.run.id} cancelled: it did not stop within {self.grace:g} s")
        except SlurmError as error:  # it may have ended just now; the next listing says so
            if str(error) != submitted.refusal:
                self.say(f"{submitted.run.id}: {error}")
            submitted.refusal = str(error)

    def _end(self, submitted: Submitted, job: SlurmJob | None = None) -> Turn[None]:
        """A job is no more; None where Slurm does not list it any more."""
        run = submitted.run
        if job is not None:
            state = job.state
        elif submitted.job:
            state = yield from self._answer(lambda: slurm.accounted_state(submitted.job))
        else:
            state = ""  # nobody knows which job it was
        del self.watched[run.id]
        row = self.store.run(run.id)
        if (row.status, row.cause) == ("stopped", "preempted"):
            # Somebody who cancels a job by hand means it.
            if state.startswith("CANCELLED"):
                self.store.lifecycle.set_status(
                    run.id, "stopped", "stopped", f"job {submitted.job} was cancelled", seen=row
                )
            else:
                self._queue_again(row, "it made room")
        elif not row.ended and row.status != "queued":
            self._settle(submitted, row, state)
        keep_card(self.store, run)
        row = self.store.run(run.id)
        told = f" ({row.cause}) {row.message}" if row.status in ("failed", "lost") else ""
        self.say(f"{run.id} {row.status}{told}")

    def _settle(self, submitted: Submitted, row: RunRow, state: str) -> None:
        """Give a run an end whose journal tells none."""
        run, job = submitted.run, submitted.job
        how = f"job {job} ended as {state}" if state else f"job {job} is gone"
        wanted = row.status == "stopping" or state.startswith("CANCELLED")
        if (told := last_word(run, row)) is not None:
            # Of one that made room, and was then taken out of Slurm's queue, it is the word of before.
            cause = "stopped" if wanted and told.status == "stopped" else told.cause
            end = (told.status, cause, told.message)
        elif submitted.at_work and row.status == "starting":
            self._queue_again(row, f"{how}, which was an earlier attempt")
            return
        elif wanted:
            end = ("stopped", "stopped", "")
        elif state in STARTED_AGAIN:
            self._queue_again(row, how)
            return
        elif state == "TIMEOUT":
            end = ("failed", "timeout", f"{how}; slurm.signal_seconds was too short to save a checkpoint")
        elif state == "OUT_OF_MEMORY":
            end = ("failed", "out_of_memory", f"{how}; use a smaller batch_size or request more memory")
        elif run.read_proc_attempt() < max(1, row.attempt):
            end = ("failed", "exception", f"{how} before its worker started; see {run.log}")
        else:
            end = ("failed", "killed", f"{how} and its worker reported nothing; see {run.log}")
        status, cause, message = end
        self.store.lifecycle.set_status(run.id, status, cause, submitted.damage or message, seen=row)

    def _queue_again(self, row: RunRow, why: str) -> None:
        if self.store.lifecycle.set_status(row.id, "queued", seen=row):
            self.say(f"{row.id} queued again: {why}")
