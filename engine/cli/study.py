"""`seg-engine study`: queue all runs of a study, pre-training and evaluations included."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from engine.cli.console import notices, progress_bar
from engine.cli.queue import tell_queued
from engine.cli.reading import has_database, open_existing
from engine.cli.run import check_data
from engine.config.keys import ConfigError
from engine.config.run_config import RunConfig
from engine.data.checks import Known, Log
from engine.report.tables import Column, text_table
from engine.requests.checking import what_the_check_depends_on
from engine.requests.configs import check_runnable
from engine.requests.derive import classes_of
from engine.requests.generalise import Unseen
from engine.requests.initial_weights import pretraining_of
from engine.requests.studies.beyond import RATES, Contest, beyond_plan, subject
from engine.requests.studies.generalisation import (
    NETWORKS,
    Journey,
    generalisation_config,
    generalisation_plan,
    left_out,
)
from engine.requests.studies.missing import RunsThere, missing_of
from engine.requests.studies.paper import Scale, paper_plan
from engine.requests.studies.plan import AT, Plan, hours_of, problems_of, queue_plan, run_count
from engine.requests.studies.pretraining import (
    LABELS,
    NOISES,
    RATE_FACTORS,
    Question,
    pretraining_plan,
    questioned,
)
from engine.run.files import absolute
from engine.tasks import TASKS
from engine.typed import typed
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.studying import BeyondStudy, GeneralisationStudy, OfStudy, PaperStudy, PretrainingStudy


def queue_paper(workspace: Workspace, wanted: PaperStudy) -> None:
    """Queue the study's systems. Raises ConfigError, DataError."""
    common = wanted.of_study.settled(workspace)
    scale = Scale(wanted.fraction, wanted.epochs_scale, common.hidden, common.size)
    queue_study(workspace, paper_plan(common.root, scale, common.changes), wanted.experiment, common)


def queue_beyond(workspace: Workspace, wanted: BeyondStudy) -> None:
    """Queue a recipe, its opponents and its ablation. Raises ConfigError, UnknownRecipe, DataError."""
    common = wanted.of_study.settled(workspace)
    contest = Contest(
        recipe=wanted.recipe,
        hours=wanted.budget,
        images=wanted.images or 0,
        seeds=wanted.seeds,
        ablate=wanted.ablate or ("time" if wanted.budget else "images"),
        rates=tuple(dict.fromkeys(wanted.lr)) or RATES if wanted.tuned_unet else (),
        breadth=common.hidden,
        size=common.size,
    )
    if wanted.images is None:
        recipe = subject(common.root, contest, common.changes)
        contest = replace(contest, images=recipe.epochs * _training_images(workspace, recipe))
    queue_study(workspace, beyond_plan(common.root, contest, common.changes), wanted.experiment, common)


def queue_pretraining(workspace: Workspace, wanted: PretrainingStudy) -> None:
    """Queue trainings from scratch and from pre-trained weights. Raises ConfigError, UnknownRecipe,
    DataError."""
    common = wanted.of_study.settled(workspace)
    question = Question(
        recipe=wanted.recipe,
        hours=wanted.budget,
        images=wanted.images or 0,
        share=wanted.share,
        labels=tuple(wanted.labels) or LABELS,
        noises=tuple(wanted.noise) or NOISES,
        rates=tuple(wanted.rate) or RATE_FACTORS,
        seeds=wanted.seeds,
        breadth=common.hidden,
        size=common.size,
    )
    if wanted.images is None:
        recipe = questioned(common.root, question, common.changes)
        question = replace(question, images=recipe.epochs * _training_images(workspace, recipe))
    plan = pretraining_plan(common.root, question, common.changes)
    queue_study(workspace, plan, wanted.experiment, common)


def queue_generalisation(workspace: Workspace, wanted: GeneralisationStudy) -> None:
    """Queue trainings with and without remedies, and their scores elsewhere. Raises ConfigError,
    UnknownRecipe, DataError."""
    common = wanted.of_study.settled(workspace)
    weights: dict[str, Path] = {}
    for given in wanted.weights:
        network, _, file = given.partition("=")
        if not file:
            raise ConfigError([f"--weights {given}: must be NETWORK=FILE"])
        weights[network] = absolute(file)
    journey = Journey(
        unseen=Unseen(
            data=wanted.test, class_map=wanted.class_map, corruptions=wanted.corruptions, strengths=(3,)
        ),
        networks=tuple(dict.fromkeys(wanted.network)) or NETWORKS,
        remedies=tuple(dict.fromkeys(wanted.option)),
        weights=weights,
        hours=wanted.budget,
        images=wanted.images,
        seeds=wanted.seeds,
        breadth=common.hidden,
        size=common.size,
    )
    plan = generalisation_plan(common.root, journey, common.changes)
    config = generalisation_config(plan[0])
    with progress_bar("reading labels") as report:
        known = Known(workspace.cache, None, classes_of(config).names)
        checked = TASKS[config.task].check_data(config, known, Log(report, notices.print))
    for note in (*checked.notes, *left_out(journey)):
        notices.say(f"note: {note}")
    queue_study(workspace, plan, wanted.experiment, common)


def _training_images(workspace: Workspace, config: RunConfig) -> int:
    task = TASKS[config.task]
    with progress_bar(f"reading {task.reads}") as report:
        checked = task.check_data(config, Known(workspace.cache), Log(report, notices.print))
    return checked.train_images or 0


def queue_study(workspace: Workspace, plan: Plan, experiment: str, common: OfStudy) -> None:
    """Check everything, show what there will be and ask, queue what is not there yet. Raises ConfigError,
    DataError."""
    whole = run_count(plan)
    plan = missing_here(workspace, plan, experiment)
    if not plan:
        return
    configs: list[RunConfig] = []
    for planned in plan:
        own = [
            config for config in (planned.first, planned.config) if config is not None and not planned.made
        ]
        with problems_of(planned.name):
            for config in own:
                check_runnable(config)
        configs += own
    for config in {what_the_check_depends_on(config): config for config in configs}.values():
        check_data(config, workspace)
    lacking = run_count(plan)
    count = f"{lacking} runs" if lacking == whole else f"the {lacking} missing runs"
    if hours := hours_of(plan):
        told = f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
        count += f", {told} hours of them by budget.hours"
    if not common.yes:
        notices.say(plan_table(plan))
        if not sys.stdin.isatty():
            raise ConfigError([f"this would queue {count}; add --yes to confirm"])
        typer.confirm(f"queue {count}?", abort=True, err=True)
    with workspace.open_store() as store:
        cards = queue_plan(workspace, store, plan, experiment, common.priority)
    tell_queued(workspace, cards, common.as_json)
    notices.say(f"{count} queued; when they have finished: {typed('report', experiment)}")


def missing_here(workspace: Workspace, plan: Plan, experiment: str) -> Plan:
    """What an experiment lacks of a plan; tells of the runs that it has already and that did not fail."""
    if not has_database(workspace):
        return plan
    with open_existing(workspace) as store:
        there = RunsThere(workspace, store, experiment)
        missing = missing_of(workspace, store, plan, there)
    apart = "--experiment NAME keeps a study apart, seed=N begins with another seed"
    lacking, whole = run_count(missing), run_count(plan)
    if lacking < whole:
        which = "nothing is queued" if lacking == 0 else "only those that are missing are queued"
        notices.note(f"{experiment} has {whole - lacking} of these {whole} runs already: {which}; {apart}")
    if other := [planned.name for planned in missing if planned.name in there and not planned.made]:
        notices.note(
            f"{experiment} has runs of these names with other values, {other[0]} for one: these are made "
            f"beside them; {apart}"
        )
    return missing if lacking < whole else plan


def plan_table(plan: Plan) -> Text:
    """A line for each run that there will be, one for several that are equal but for the seed."""
    lines: list[tuple[str, str, str, str, str, str]] = []
    shared: dict[RunConfig, str] = {}
    for planned in plan:
        config, name = planned.config, planned.name
        size = f"{config.data.size[0]}x{config.data.size[1]}"
        seeds = _seeds(planned.seeds)
        if planned.first is not None and planned.first in shared:
            lines.append((name, seeds, config.told_length, size, _network(config), shared[planned.first]))
            continue
        pretraining = planned.first or pretraining_of(config)
        after = "" if pretraining is None else f"{name} pretrain"
        if pretraining is not None:
            lines.append((after, seeds, pretraining.told_length, size, _network(config), ""))
        if planned.first is not None:
            shared[planned.first] = after
        if not planned.made:
            own_after = after or planned.after
            lines.append((name, seeds, config.told_length, size, _network(config), own_after))
        lines += [(f"{name}-{each.suffix}", seeds, "", AT, "", name) for each in planned.evaluations]
    names, all_seeds, lengths, sizes, networks, after_whom = zip(*lines, strict=True)
    columns = [
        Column("run", names),
        *([Column("seeds", all_seeds)] if any(all_seeds) else []),
        Column("length", lengths, right=True),
        Column("size", sizes, rank=2),
        Column("network", networks, rank=1),
        *([Column("after", after_whom)] if any(after_whom) else []),
    ]
    return text_table(columns, notices.table_width)


def _network(config: RunConfig) -> str:
    key = config.model.breadth_key
    return f"{config.model.name}, {key} {getattr(config.model, key)}" if key else config.model.name


def _seeds(seeds: Sequence[int]) -> str:
    is_range = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]}..{seeds[-1]}" if is_range else " ".join(map(str, seeds))
