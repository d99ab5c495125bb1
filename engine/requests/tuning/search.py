"""A search that goes on: it asks Optuna for trials, queues each as a run, tells Optuna what became of it.

All that it knows is in two places. Optuna's study is a file in `tune/` of the workspace, and each trial there
names its run, before that is made. So whatever dies at whatever moment, a search that is begun again goes on
with the trials that there are: a trial whose run was not made yet gets it, none is made twice.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from engine.agent.ingest import refresh
from engine.agent.presence import ensure_agent
from engine.components.origin import ComponentError
from engine.config.keys import ConfigError
from engine.requests.derive import checkpoint_of, derived_config, where_it_trains
from engine.requests.lifecycle import change_tags, requeue, stop
from engine.requests.queueing import Place, enqueue
from engine.requests.refusals import Refused
from engine.requests.tuning.goals import GOALS, make_pruner, make_sampler, most_epochs
from engine.requests.tuning.searched import CONTENT, Search
from engine.run.directory import RunCard, new_run_id
from engine.run.files import LONGEST_NAME, FileLock, fitting_name
from engine.store import BEST, PRUNED, NoSuchRun, RunRow, Store
from engine.workspace import Workspace

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

POLL_SECONDS = 0.5
MOST_RESUMES = 3
"""How often a trial that was lost, with its machine or its worker, is queued again."""

LONGEST_STUDY = LONGEST_NAME - len(f".study.lock{uuid4()}.rename")
"""Bytes of a study's name: Optuna renames its lock to one of its own name and all this."""

RUN, EVALUATION, STOPPED, RESUMES, SETTINGS = "run", "evaluation", "pruned", "resumes", "settings"
"""What is kept of a trial, and of the study."""


@dataclass(frozen=True)
class News:
    """What has become of a trial: its `state` is started, epoch, finished, pruned, failed or resumed."""

    trial: int
    run: str
    state: str
    values: dict[str, str]
    epoch: int = 0
    scores: tuple[float, ...] = ()
    why: str = ""


class Searching:
    """A search at work in a workspace; `tell` gets its news."""

    def __init__(
        self, workspace: Workspace, store: Store, search: Search, tell: Callable[[News], None]
    ) -> None:
        self.workspace, self.store, self.search, self.tell = workspace, store, search, tell
        self.goals = [GOALS[name] for name in search.metrics]
        self.study = self._open()

    def run(self) -> None:
        """Search until all trials are over. May be interrupted at any moment."""
        self._tag_best()  # whoever was killed may have told Optuna of a trial and nobody else
        while True:
            for trial in self._active():
                self._follow(trial)
            while len(self._active()) < self.search.parallel and self._left():
                self._begin()
            active = self._active()
            if not active:
                return
            if any(map(self._waits, active)):
                ensure_agent(self.workspace)
            time.sleep(POLL_SECONDS)

    def best(self) -> list[FrozenTrial]:
        """The best trial, the first of equal ones; of several objectives those that no other beats in all."""
        from optuna.trial import TrialState

        if not self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            return []
        return self.study.best_trials if len(self.goals) > 1 else [self.study.best_trial]

    def _open(self) -> Study:
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file = study_file(self.workspace, self.search.name)
        try:
            self._storage = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
            study = optuna.create_study(
                storage=self._storage,
                study_name=self.search.name,
                directions=["minimize" if goal.is_cost else "maximize" for goal in self.goals],
                pruner=make_pruner(self.search.pruner, most_epochs(self.search.axes, self.search.config)),
                load_if_exists=True,
            )
        except JSONDecodeError as error:
            told = f"is damaged ({error}), so its search cannot go on; name another experiment"
            raise Refused([f"{file}: {told}"]) from error
        before = study.user_attrs.get(SETTINGS)
        if before is not None:  # earlier versions kept neither a default nor what a file held
            now = self.search.settings
            before = {CONTENT: now[CONTENT]} | before | {"data": before["data"] or now["data"]}
        if before is None:
            study.set_user_attr(SETTINGS, self.search.settings)
        elif before != self.search.settings:
            differing = [key for key in before if before[key] != self.search.settings.get(key)]
            raise Refused(
                [
                    f"--experiment {self.search.name}: was begun with another {' and '.join(differing)}; "
                    "repeat its command to go on, or name another experiment"
                ]
            )
        seed = self.search.seed + len(study.get_trials(deepcopy=False))
        study.sampler = make_sampler(self.search.sampler, seed)
        return study

    def _active(self) -> list[FrozenTrial]:
        """The trials that have begun and are not over."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _left(self) -> bool:
        """Whether another trial is to be begun."""
        trials = self.study.get_trials(deepcopy=False)
        most = self.search.trials
        if self.search.sampler == "grid":
            most = min(most, math.prod(len(axis.grid()) for axis in self.search.axes))
        return len(trials) - len(self._waiting()) < most

    def _waiting(self) -> list[FrozenTrial]:
        """The trials that have their values and have not begun: of a grid the next one, or all of it that is
        left, as earlier versions put it there at once."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def _begin(self) -> None:
        if self.search.sampler == "grid" and not self._waiting():
            points = itertools.product(*(axis.grid() for axis in self.search.axes))
            number = len(self.study.get_trials(deepcopy=False))
            point = next(itertools.islice(points, number, None))
            keys = (axis.key for axis in self.search.axes)
            self.study.enqueue_trial(dict(zip(keys, point, strict=True)))
        trial = self.study.ask({axis.key: axis.distribution() for axis in self.search.axes})
        self._make_run(self._frozen(trial.number))

    def _make_run(self, trial: FrozenTrial) -> None:
        """Make the run of a trial, which knows its name before."""
        run_id = trial.user_attrs.get(RUN) or new_run_id()
        self._keep(trial, RUN, run_id)
        search = self.search
        card = RunCard(
            id=run_id,
            name=f"{search.name} trial {trial.number}",
            experiment=search.name,
            created=time.time(),
            tags=search.tags,
            trial=trial.number,
        )
        try:
            config = search.config(trial.params)
            enqueue(self.workspace, self.store, card, config, Place(search.priority))
        except (ConfigError, ComponentError) as error:  # the ends of the ranges fit, these values do not
            self._give_up(trial, str(error))
            return
        self._news(trial, "started", run=run_id)

    def _follow(self, trial: FrozenTrial) -> None:
        """See what has become of the run of a trial."""
        if set(trial.params) != {axis.key for axis in self.search.axes}:
            self._give_up(trial, "was cut off while its values were chosen")
            return
        try:
            row = self._row(trial)
        except NoSuchRun:
            if trial.user_attrs.get(EVALUATION) or trial.intermediate_values:
                self._give_up(trial, "its run was deleted")
            else:
                self._make_run(trial)
            return
        if not row.ended or row.cause == "preempted":
            refresh(self.store, [self.workspace.run_dir(row.id)])
            self._report(trial, row)
        elif row.status == "finished":
            self._report(trial, row)
            self._finish(trial, row)
        elif trial.user_attrs.get(STOPPED):
            self._prune(trial, row)
        elif lost := self._lost(trial, row):
            self._resume(trial, lost)
        else:
            self._give_up(trial, row.message or f"was {row.status}")

    def _lost(self, trial: FrozenTrial, row: RunRow) -> list[RunRow]:
        """What of a trial's run, and the pre-training that it waited for, is to be queued again, as it was
        lost; nothing where that has been done often enough."""
        if trial.user_attrs.get(RESUMES, 0) >= MOST_RESUMES:
            return []
        if row.cause == "dependency" and self._exists(row.after):
            first = self.store.run(row.after)
            return [first, row] if first.status == "lost" else []
        return [row] if row.status == "lost" else []

    def _resume(self, trial: FrozenTrial, lost: list[RunRow]) -> None:
        self._keep(trial, RESUMES, trial.user_attrs.get(RESUMES, 0) + 1)
        requeue(self.workspace, self.store, lost)
        self._news(trial, "resumed", run=lost[-1].id, why=lost[0].message)

    def _report(self, trial: FrozenTrial, row: RunRow) -> None:
        """Pass on the epochs that are new; ask whether the trial is worth going on."""
        of_epoch = self.goals[0].of_epoch
        if len(self.goals) > 1 or of_epoch is None or row.epoch <= max(trial.intermediate_values, default=0):
            return
        for epoch in self.store.results.epochs(row.id, "val"):
            value = of_epoch(epoch)
            if value is None or epoch.epoch in trial.intermediate_values:
                continue
            self._storage.set_trial_intermediate_value(self._id(trial), epoch.epoch, value)
            self._news(trial, "epoch", epoch=epoch.epoch, scores=(value,))
            frozen = self._frozen(trial.number)
            is_going = not row.ended and STOPPED not in frozen.user_attrs
            if is_going and self.study.pruner.prune(self.study, frozen):
                self._keep(trial, STOPPED, True)
                stop(self.workspace, self.store, [row])
                return

    def _finish(self, trial: FrozenTrial, row: RunRow) -> None:
        scores: list[float] = []
        for name, goal in zip(self.search.metrics, self.goals, strict=True):
            if goal.needs_speed:
                try:
                    evaluation = self._evaluation(trial, row)
                except Refused as error:  # its checkpoint is gone, which no later attempt changes
                    self._give_up(trial, str(error))
                    return
                value = self._latency(evaluation.id)
                if value is None and (lost := self._lost(trial, evaluation)):
                    self._resume(trial, lost)
                    return
                if value is None and (not evaluation.ended or evaluation.cause == "preempted"):
                    return  # it goes on; of one that had ended before, all scores were there
            else:
                value = goal.of_run(row)
            if value is None:
                self._give_up(trial, f"it has no {name}")
                return
            scores.append(float(value))
        self.study.tell(trial.number, scores)
        self._tag_best()
        self._news(trial, "finished", epoch=row.epoch, scores=tuple(scores))

    def _tag_best(self) -> None:
        """Give the tag to the best trials so far, and take it from those that were."""
        best = {trial.user_attrs[RUN] for trial in self.best()}
        tagged = {row.id: row for row in self.store.runs([f"tag:{BEST}"], experiment=self.search.name)}
        for run_id in best - tagged.keys():
            if self._exists(run_id):
                change_tags(self.workspace, self.store, run_id, add=[BEST])
        for row in tagged.values():
            if row.trial is not None and row.id not in best:
                change_tags(self.workspace, self.store, row.id, remove=[BEST])

    def _evaluation(self, trial: FrozenTrial, row: RunRow) -> RunRow:
        """The run that measures the speed of a trial's network, as it is now; queued where there is none.
        Raises Refused where the network is gone."""
        run_id = trial.user_attrs.get(EVALUATION) or new_run_id()
        if self._exists(run_id):
            refresh(self.store, [self.workspace.run_dir(run_id)])
            return self.store.run(run_id)
        self._keep(trial, EVALUATION, run_id)
        path = checkpoint_of(self.workspace, row, "best", waits=False)
        about = {"source": row.id, "checkpoint": path, "split": "val", "at": "input"}
        config = derived_config(self.workspace, row, about, where_it_trains(row))
        card = RunCard(
            id=run_id,
            name=f"{row.name} speed",
            experiment=self.search.name,
            created=time.time(),
            tags=self.search.tags,
        )
        enqueue(self.workspace, self.store, card, config, Place(self.search.priority))
        return self.store.run(run_id)

    def _latency(self, run_id: str) -> float | None:
        """Seconds an image of an evaluation; None: not known yet."""
        scores = self.store.results.evaluations(run_id)
        return scores[-1].latency_seconds if scores else None

    def _prune(self, trial: FrozenTrial, row: RunRow) -> None:
        from optuna.trial import TrialState

        change_tags(self.workspace, self.store, row.id, add=[PRUNED])
        self.study.tell(trial.number, state=TrialState.PRUNED)
        self._news(trial, "pruned", epoch=row.epoch)

    def _give_up(self, trial: FrozenTrial, why: str) -> None:
        from optuna.trial import TrialState

        self.study.tell(trial.number, state=TrialState.FAIL)
        self._news(trial, "failed", why=why)

    def _news(
        self,
        trial: FrozenTrial,
        state: str,
        run: str = "",
        epoch: int = 0,
        scores: tuple[float, ...] = (),
        why: str = "",
    ) -> None:
        values = {
            axis.key: axis.typed(trial.params[axis.key])
            for axis in self.search.axes
            if axis.key in trial.params
        }
        run = run or trial.user_attrs.get(RUN, "")
        self.tell(News(trial.number, run, state, values, epoch, scores, why))

    def _waits(self, trial: FrozenTrial) -> bool:
        """Whether the run of a trial, or the evaluation after it, is in the queue."""
        ids = [trial.user_attrs[name] for name in (RUN, EVALUATION) if name in trial.user_attrs]
        return any(self._exists(run_id) and self.store.run(run_id).status == "queued" for run_id in ids)

    def _row(self, trial: FrozenTrial) -> RunRow:
        return self._run(self._frozen(trial.number).user_attrs.get(RUN, ""))

    def _run(self, run_id: str) -> RunRow:
        """A run of the search; one of which a crash has left the folder alone is taken in. Raises
        NoSuchRun."""
        with suppress(NoSuchRun):
            return self.store.run(run_id)
        run = self.workspace.run_dir(run_id)
        if run_id and run.path.exists():
            self.store.journals.import_run(run)
        return self.store.run(run_id)

    def _exists(self, run_id: str) -> bool:
        try:
            self._run(run_id)
        except NoSuchRun:
            return False
        return True

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def _keep(self, trial: FrozenTrial, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._id(trial), name, value)

    def _id(self, trial: FrozenTrial) -> int:
        """What Optuna's storage calls a trial."""
        study = self._storage.get_study_id_from_name(self.search.name)
        return self._storage.get_trial_id_from_study_id_trial_number(study, trial.number)


@contextmanager
def searching(
    workspace: Workspace, store: Store, search: Search, tell: Callable[[News], None]
) -> Iterator[Searching]:
    """The search, for one process at a time. Raises Refused where another one is at it."""
    file = study_file(workspace, search.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.with_suffix(".lock"))
    if not lock.acquire():
        raise Refused([f"--experiment {search.name}: another `seg-engine tune` is at work on it"])
    try:
        _mend(file)
        yield Searching(workspace, store, search, tell)
    finally:
        lock.release()


def _mend(file: Path) -> None:
    """Remove what a search has left that was killed, or for which the disk was full: Optuna's own lock, and
    the half of a last line, behind which the next one could not be read. The lock of the search must be
    held."""
    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
    with suppress(FileNotFoundError), open(file, "r+b") as study:
        whole, _, torn = study.read().rpartition(b"\n")
        if torn:
            study.truncate(len(whole) + 1 if whole else 0)


def study_file(workspace: Workspace, name: str) -> Path:
    """Where Optuna keeps a study. The name of an experiment may hold what that of a file cannot."""
    return workspace.root / "tune" / f"{fitting_name(quote(name, safe=' '), LONGEST_STUDY)}.study"
