"""What an experiment lacks of a study that was asked for before: a kill has left a part of it, or it has more
seeds now. The runs that are there are gone on with."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from engine.config.run_config import RunConfig
from engine.data.frozen_classes import freeze_classes
from engine.plugins import with_loaded
from engine.requests.initial_weights import (
    pretraining_card_name,
    pretraining_of,
    settle_sources,
    starting_from,
)
from engine.requests.queueing import HOPELESS
from engine.requests.studies.plan import Plan, PlannedRun, in_order
from engine.run.directory import RunDirError
from engine.store import RunRow, Store
from engine.workspace import Workspace


class RunsThere:
    """The runs of an experiment that did not fail. Two of one name may differ in their configs."""

    def __init__(self, workspace: Workspace, store: Store, experiment: str) -> None:
        self._workspace, self._store = workspace, store
        self._rows: dict[str, list[RunRow]] = {}
        for row in store.runs(experiment=experiment):
            if row.status not in HOPELESS:
                self._rows.setdefault(row.name, []).append(row)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def find(self, name: str, config: RunConfig, after: str = "") -> str:
        """The id of the run that `enqueue` would make of a config, to start after another; "" for none.
        Raises ConfigError where it would."""
        rows = self._rows.get(name, [])
        if not rows:
            return ""
        wanted = with_loaded(freeze_classes(settle_sources(self._workspace, self._store, config, after)))
        for row in rows:
            with contextlib.suppress(RunDirError):
                if self._workspace.run_dir(row.id).read_config() == wanted:
                    return row.id
        return ""

    def has_of_network(self, name: str, source: str) -> bool:
        """Whether there is a run of that name that looks at the network of the run `source`."""
        return any(row.source == source for row in self._rows.get(name, []))


def missing_of(workspace: Workspace, store: Store, plan: Plan, there: RunsThere) -> list[PlannedRun]:
    """A plan without the runs that are there, one entry a run, in the order in which they start. Raises
    ConfigError."""
    missing: list[PlannedRun] = []
    pretrained: dict[RunConfig, str] = {}
    for planned, name, config in in_order(plan):
        one = replace(planned, name=name, config=config, seeds=())
        first = planned.first_of(config) or pretraining_of(settle_sources(workspace, store, config))
        if first is not None:
            if not pretrained.get(first):
                pretrained[first] = there.find(pretraining_card_name(name), first)
            if not pretrained[first]:
                missing.append(one)
                continue
            one = replace(
                one, config=starting_from(config, pretrained[first]), first=None, after=pretrained[first]
            )
        made = there.find(name, one.config, one.after)
        if made:
            left = (e for e in one.evaluations if not there.has_of_network(f"{name}-{e.suffix}", made))
            one = replace(one, made=made, evaluations=tuple(left))
        if not made or one.evaluations:
            missing.append(one)
    return missing
