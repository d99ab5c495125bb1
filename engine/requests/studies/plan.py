"""What every study is: runs that are planned, checked, and queued together, all of them or none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.data.catalog import scan
from engine.requests.derive import checkpoint_of, derived_config, where_it_trains
from engine.requests.initial_weights import pretraining_card, pretraining_of, starting_from
from engine.requests.queueing import Place, all_or_none, enqueue
from engine.run.directory import RunCard, new_run_id
from engine.store import Store
from engine.store.cards import card_of
from engine.workspace import Workspace

AT = "original"
"""The size that evaluations of a study score at: that of the labels, whatever the network sees."""

EVALUATE = "evaluate"

TAG = "study"
"""The tag of every run of a study."""


@dataclass(frozen=True)
class PlannedEvaluation:
    """An evaluation that follows a training: the split, the split's data, and what its name ends in. One of
    another `task` has the keys of its section in `about`."""

    split: str
    assignments: tuple[str, ...]
    name: str
    task: str = EVALUATE
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """What its name ends in, with the size that it scores at where there is a choice."""
        return f"{self.name}-{AT}" if self.task == EVALUATE else self.name


@dataclass(frozen=True)
class PlannedRun:
    """A training, with the evaluations of its best checkpoint. It is queued once for each of `seeds`; without
    any, once with the seed of its config. It starts from the best weights of `first`, a run of the same seed,
    if there is one; trainings whose `first` are equal share it.

    Of a study that is queued in part already, `after` is the id of the run whose best weights the config
    names, and `made` that of the training itself, of which only the evaluations are still to be queued."""

    name: str
    config: RunConfig
    seeds: tuple[int, ...] = ()
    evaluations: tuple[PlannedEvaluation, ...] = ()
    first: RunConfig | None = None
    after: str = ""
    made: str = ""

    def runs(self) -> list[tuple[str, RunConfig]]:
        """Name and config of each run that there will be."""
        if not self.seeds:
            return [(self.name, self.config)]
        return [(f"{self.name} seed={s}", with_values(self.config, {"seed": s})) for s in self.seeds]

    def first_of(self, config: RunConfig) -> RunConfig | None:
        """The run that one of `runs` starts from."""
        return None if self.first is None else with_values(self.first, {"seed": config.seed})


Plan = Sequence[PlannedRun]


def in_order(plan: Plan) -> Iterator[tuple[PlannedRun, str, RunConfig]]:
    """Each training with its name and config, in the order in which they are to start: the first seed of all,
    then the second, so that a study that is ended early has whole seeds."""
    for of_one_seed in zip_longest(*(planned.runs() for planned in plan)):
        for planned, run in zip(plan, of_one_seed, strict=True):
            if run is not None:
                yield planned, *run


def run_count(plan: Plan) -> int:
    """How many runs a plan becomes; those that start from the same pre-training share its run."""
    configs = _trainings(plan)
    pretrainings = {pretraining_of(config) for config in configs} | _firsts(plan)
    pretrainings -= {None}
    evaluations = sum(len(planned.evaluations) * len(planned.runs()) for planned in plan)
    return len(configs) + len(pretrainings) + evaluations


def hours_of(plan: Plan) -> float:
    """What the budgets of a plan allow in hours; runs without one are not counted."""
    configs = (*_trainings(plan), *_firsts(plan))
    return sum(config.budget.hours for config in configs if config is not None)


def _trainings(plan: Plan) -> list[RunConfig]:
    """Those that are still to be queued."""
    return [config for planned in plan for _, config in planned.runs() if not planned.made]


def _firsts(plan: Plan) -> set[RunConfig | None]:
    """The runs that trainings start from, each once."""
    return {planned.first_of(config) for planned in plan for _, config in planned.runs()} - {None}


def queue_plan(
    workspace: Workspace, store: Store, plan: Plan, experiment: str, priority: int
) -> list[RunCard]:
    """Queue all runs of a plan or none. Returns their cards in the order in which they will start."""
    pretrained: dict[RunConfig, str] = {}
    with all_or_none(workspace, store) as cards:
        for planned, name, config in in_order(plan):
            if planned.made:
                card = card_of(store.run(planned.made))
            else:
                card = RunCard(new_run_id(), name, experiment, time.time(), (TAG,))
                place = Place(priority, planned.after)
                if (first := planned.first_of(config)) is not None:
                    if first not in pretrained:
                        before = pretraining_card(card)
                        cards += enqueue(workspace, store, before, first, place)
                        pretrained[first] = before.id
                    place = Place(priority, after=pretrained[first])
                    config = starting_from(config, pretrained[first])
                cards += enqueue(workspace, store, card, config, place, pretrained)
            for evaluation in planned.evaluations:
                cards.append(_evaluate(workspace, store, card, evaluation, priority))
    return cards


def _evaluate(
    workspace: Workspace, store: Store, trained: RunCard, planned: PlannedEvaluation, priority: int
) -> RunCard:
    """Queue an evaluation of the best checkpoint that a queued training will have."""
    row = store.run(trained.id)
    about: dict[str, Any] = {**planned.about, "split": planned.split, "source": row.id}
    about |= {"at": AT} if planned.task == EVALUATE else {}
    about["checkpoint"] = checkpoint_of(workspace, row, "best", waits=True)
    changes = [*planned.assignments, *where_it_trains(row)]
    config = derived_config(workspace, row, about, changes, None, planned.task)
    name = f"{trained.name}-{planned.suffix}"
    card = RunCard(new_run_id(), name, trained.experiment, time.time(), trained.tags)
    enqueue(workspace, store, card, config, Place(priority, trained.id))
    return card


def evaluations_after(config: RunConfig) -> tuple[PlannedEvaluation, ...]:
    """What is evaluated after a training: the images that it held out and, where the data set has a folder
    that took no part in it, the images there. Raises DataError."""
    held_out = PlannedEvaluation("val", (), "val")
    folders = scan(Path(config.data.root), config.data.layout, config.data.known_classes).splits
    if config.data.divides_training and folders.get("val"):
        return held_out, PlannedEvaluation("val", ("data.split=official",), "external")
    return (held_out,)


def sized(config: RunConfig, breadth: int, size: str) -> dict[str, Any]:
    """The values that bring a config to a breadth, the channels of the network's first level (0: its own),
    and an input size, HEIGHTxWIDTH ("": its own)."""
    values: dict[str, Any] = {}
    if breadth and config.model.breadth_key:
        values[f"model.{config.model.breadth_key}"] = breadth
    if size:
        values["data.size"] = size
    return values


def refuse_begun(recipe: RunConfig) -> None:
    """Raises ConfigError for a recipe with initial weights, where a study holds weights against none: all of
    its runs would begin with these."""
    if recipe.init.weights:
        why = "all runs of the study would begin with them"
        raise ConfigError([f"init.weights: is {recipe.init.weights}; {why}; it must be empty"])


@contextlib.contextmanager
def problems_of(name: str) -> Iterator[None]:
    """A ConfigError of the block says of which of the study's systems it is."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError([f"{name}: {problem}" for problem in error.problems], error.more) from error
