"""`seg-engine study paper`: queue all of the study's systems, pre-training and evaluations included."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from engine.cli.console import notices
from engine.cli.queue import tell_queued
from engine.cli.run import check_data
from engine.config.keys import ConfigError
from engine.config.run_config import RunConfig
from engine.report.tables import Column, text_table
from engine.requests.configs import check_runnable, default_name
from engine.requests.derive import checkpoint_of, derived_config
from engine.requests.initial_weights import pretraining_of
from engine.requests.queueing import Place, all_or_none, enqueue
from engine.requests.study import PlannedEvaluation, Scale, planned_evaluations, study_configs
from engine.run.directory import RunCard, new_run_id
from engine.store import Store
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.running import Study

AT = "original"
"""The size that the study's systems are evaluated at: that of the labels, whatever the network sees."""


def queue_study(workspace: Workspace, root: Path, wanted: Study) -> None:
    """Check everything, show what there will be and ask, queue it all. Raises ConfigError, DataError."""
    scale = Scale(wanted.fraction, wanted.epochs_scale, wanted.hidden, wanted.size)
    configs = study_configs(root, scale, wanted.changes)
    for config in configs:
        check_runnable(config)
        check_data(config, workspace)
    plan = [(config, planned_evaluations(config)) for config in configs]
    count = f"{sum(1 + (pretraining_of(c) is not None) + len(e) for c, e in plan)} runs"
    if not wanted.yes:
        notices.say(plan_table(plan))
        if not sys.stdin.isatty():
            raise ConfigError([f"this would queue {count}; add --yes to confirm"])
        typer.confirm(f"queue {count}?", abort=True, err=True)
    with workspace.open_store() as store, all_or_none(workspace, store) as cards:  # half a study is none
        for config, evaluations in plan:
            card = RunCard(new_run_id(), default_name(config), wanted.experiment, time.time(), ("study",))
            cards += enqueue(workspace, store, card, config, Place(wanted.priority))
            for planned in evaluations:
                cards.append(_evaluate(workspace, store, card, planned, wanted.priority))
    tell_queued(workspace, cards, wanted.as_json)
    notices.say(f"{count} queued; when they have finished: seg-engine report {wanted.experiment}")


def _evaluate(
    workspace: Workspace, store: Store, trained: RunCard, planned: PlannedEvaluation, priority: int
) -> RunCard:
    """Queue an evaluation of the best checkpoint that a queued training will have."""
    row = store.run(trained.id)
    about: dict[str, Any] = {"split": planned.split, "at": AT, "source": row.id}
    about["checkpoint"] = checkpoint_of(workspace, row, "best", waits=True)
    config = derived_config(workspace, row, about, planned.assignments)
    name = f"{trained.name}-{planned.name}-{AT}"
    card = RunCard(new_run_id(), name, trained.experiment, time.time(), trained.tags)
    enqueue(workspace, store, card, config, Place(priority, trained.id))
    return card


def plan_table(plan: Sequence[tuple[RunConfig, Sequence[PlannedEvaluation]]]) -> Text:
    """A line for each run that there will be, in the order in which they start."""
    lines: list[tuple[str, str, str, str, str]] = []
    for config, evaluations in plan:
        name = default_name(config)
        size = f"{config.data.size[0]}x{config.data.size[1]}"
        key = config.model.breadth_key
        breadth = f"{config.model.name}, {key} {getattr(config.model, key)}" if key else config.model.name
        pretraining = pretraining_of(config)
        if pretraining is not None:
            lines.append((f"{name} pretrain", str(pretraining.epochs), size, breadth, ""))
        after = f"{name} pretrain" if pretraining is not None else ""
        lines.append((name, str(config.epochs), size, breadth, after))
        lines += [(f"{name}-{planned.name}-{AT}", "", AT, "", name) for planned in evaluations]
    names, epochs, sizes, networks, after_whom = zip(*lines, strict=True)
    columns = [
        Column("run", names),
        Column("epochs", epochs, right=True),
        Column("size", sizes, rank=2),
        Column("network", networks, rank=1),
        Column("after", after_whom),
    ]
    return text_table(columns, notices.table_width)
