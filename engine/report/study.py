"""The study's tables with our runs beside them: the same system, at the same point of its schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from engine.classes import CITYSCAPES
from engine.config.recipes import RECIPES, get_recipe
from engine.models.builtin import MODELS
from engine.report.budgets import budget_of
from engine.report.compare import group_name, same_but_for_the_seed
from engine.report.compare_config import PARTS, keeps_result, pretraining_epochs
from engine.report.compare_formats import number, or_dash, published_score
from engine.report.measures import ComparedRun, Evaluation, Metric, Value, over_seeds
from engine.report.page import Block, Bullets, Cell, Heading, Marked, table, text
from engine.report.published import PUBLISHED_RESULTS, TABLES, PublishedResult
from engine.report.published import Table as TableName
from engine.report.run_config import changed_keys
from engine.store import EvaluationRow, RunRow
from engine.tasks import learns_classes

STUDY_RECIPES = tuple(dict.fromkeys(result.recipe for result in PUBLISHED_RESULTS))

_STUDY_IMAGES = 2380
"""Training images of the study: 80 % of Cityscapes' 2975."""

_DICE = Metric("dice", "Dice", "higher", "score")


@dataclass(frozen=True, slots=True)
class OwnResult:
    """Our numbers for one row of the study: of a run, or of several equal but for the seed.

    `epoch` is ours at the same share of the schedule as the study's; `pretraining` epochs come on top.
    `scored_on` says which images a test score is of.
    """

    label: str
    epoch: int
    pretraining: int
    train_dice: Value | None = None
    val_dice: Value | None = None
    test_dice: Value | None = None
    scored_on: str = ""


def study_blocks(runs: Sequence[ComparedRun]) -> list[Block]:
    """Tables I to III, ours beside the published numbers, and in what ours are otherwise; nothing when no
    run is of a recipe of the study and follows its schedule."""
    groups = [
        group
        for group in same_but_for_the_seed(runs)
        if group[0].row.recipe in STUDY_RECIPES and learns_classes(group[0].row.task, group[0].row.classes)
    ]
    on_schedule = [group for group in groups if budget_of(group[0].row) is None]
    if not on_schedule:
        return []
    blocks: list[Block] = [
        Heading("The study's tables beside ours"),
        text(
            Marked("Published", "published"),
            " numbers are the study's own, mean Dice over the 19 classes of Cityscapes; they were not "
            "measured here. Ours are of the same system at the same share of its schedule.",
        ),
    ]
    for name, about in TABLES.items():
        blocks.append(Heading(f"Table {name}: {about}", 3))
        blocks.append(_table(name, on_schedule))
    notes = (*_departures(on_schedule), *_left_out(groups))
    return [*blocks, Bullets(notes)] if notes else blocks


def own_results(published: PublishedResult, groups: Sequence[Sequence[ComparedRun]]) -> list[OwnResult]:
    """What our runs of the same recipe have where the study has `published`; runs not that far have none."""
    same = [group for group in groups if group[0].row.recipe == published.recipe]
    if published.table == "III":
        found = [_on_test(group) for group in same]
    else:
        found = [_at_epoch(group, published.epochs) for group in same]
    return [own for own in found if own is not None]


def _at_epoch(group: Sequence[ComparedRun], published_epoch: int | None) -> OwnResult | None:
    row = group[0].row
    epoch = own_epoch(published_epoch, row.recipe, row.epochs or row.epoch)
    train, val = (over_seeds(group, partial(_dice_at, epoch, split)) for split in ("train", "val"))
    if train is None and val is None:
        return None
    return OwnResult(_label(group), epoch, pretraining_epochs(row), train, val)


def _dice_at(epoch: int, split: str, run: ComparedRun) -> float | None:
    return next((e.dice for e in run.epochs if (e.epoch, e.split) == (epoch, split)), None)


def _on_test(group: Sequence[ComparedRun]) -> OwnResult | None:
    """The latest evaluation of each run on images that it had nothing to do with: all on the same images, of
    several kinds those that most of the runs were scored on, of equally many the newest."""
    latest = {run.row.id: {each.kind: each for each in run.evaluations if each.external} for run in group}
    by_kind: dict[str, list[EvaluationRow]] = {}
    for of_run in latest.values():
        for kind, each in of_run.items():
            by_kind.setdefault(kind, []).append(each.scores)
    if not by_kind:
        return None
    kind, scored = max(by_kind.items(), key=lambda item: (len(item[1]), max(row.t for row in item[1])))
    return OwnResult(
        _label(group),
        scored[0].epoch,
        pretraining_epochs(group[0].row),
        test_dice=over_seeds(group, lambda run: _score_of(latest[run.row.id].get(kind))),
        scored_on=kind.removeprefix("external "),
    )


def _score_of(evaluation: Evaluation | None) -> float | None:
    return None if evaluation is None else evaluation.scores.dice


def _label(group: Sequence[ComparedRun]) -> str:
    name, seeds = group_name(group), len({run.row.seed for run in group})
    return name if seeds == 1 else f"{name}, {seeds} seeds"


def own_epoch(published: int | None, recipe: str, epochs: int) -> int:
    """Our epoch at the same share of the schedule: 30 of 60 epochs are as far as 3 of 6."""
    whole = get_recipe(recipe).epochs if recipe in RECIPES else epochs
    return epochs if published is None else max(1, min(epochs, round(published * epochs / whole)))


def _table(name: TableName, groups: Sequence[Sequence[ComparedRun]]) -> Block:
    rows: list[list[Cell]] = []
    for published in (result for result in PUBLISHED_RESULTS if result.table == name):
        theirs = _their_cells(published)
        ours = [_own_cells(own, published) for own in own_results(published, groups)]
        for cells in ours or [["-"] * 5]:
            rows.append([*theirs, *cells])
            # The published numbers stand once, beside the first of ours.
            theirs = [""] * len(theirs)
    if name == "III":
        header = ["system", "epochs", "test Dice", "ours", "epochs", "Dice", "of", "difference"]
    else:
        header = ["system", "epochs", "train Dice", "val Dice", "ours", "epochs", "train Dice", "val Dice"]
        header.append("difference")
    return table(header, rows)


def _their_cells(published: PublishedResult) -> list[Cell]:
    scores = (
        (published.test_dice,) if published.table == "III" else (published.train_dice, published.val_dice)
    )
    cells = [published.system, or_dash(published.epochs), *map(published_score, scores)]
    return [Marked(cell, "published") for cell in cells]


def _own_cells(own: OwnResult, published: PublishedResult) -> list[Cell]:
    of_test = published.table == "III"
    epochs = f"{own.epoch}" if not own.pretraining else f"{own.epoch} + {own.pretraining} pre-training"
    value, theirs = (own.test_dice, published.test_dice) if of_test else (own.val_dice, published.val_dice)
    difference: Cell = "-"
    if value is not None and theirs is not None:
        apart = value.mean - theirs
        difference = Marked(f"{apart:+.4f}", _DICE.verdict(apart) or "strong")
    if of_test:
        return [own.label, epochs, number(_DICE, value), own.scored_on, difference]
    return [own.label, epochs, number(_DICE, own.train_dice), number(_DICE, value), difference]


def _left_out(groups: Sequence[Sequence[ComparedRun]]) -> Iterator[str]:
    """The entries whose schedule is that of a budget, of which no epoch is one of the study's."""
    for group in groups:
        budget = budget_of(group[0].row)
        if budget is not None:
            name = group_name(group)
            yield f"{name} is left out: it trains for {budget.told}, not by the study's schedule."


def _counts(row: RunRow, key: str) -> bool:
    """Whether a key with another value makes another experiment. A divided batch does where there is batch
    norm, whose statistics are then those of a part of the batch."""
    if key in PARTS:
        section = MODELS.sections().get(row.config.get("model", {}).get("name", MODELS.default))
        return section is None or section.has_batch_norm is not False
    return not keeps_result(key)


def _departures(groups: Sequence[Sequence[ComparedRun]]) -> Iterator[str]:
    """In what each of our entries is not the study's experiment."""
    for group in groups:
        row = group[0].row
        changed = [
            f"{key} {own} instead of {usual}"
            for key, (own, usual) in changed_keys(row).items()
            if _counts(row, key) and not (key == "init.weights" and pretraining_epochs(row))
        ]
        if row.train_images not in (None, _STUDY_IMAGES):
            root = PurePath(str(row.config.get("data", {}).get("root", ""))).name
            changed.insert(0, f"{row.train_images} training images of {root} instead of {_STUDY_IMAGES}")
        if row.classes and row.classes != CITYSCAPES.names:
            changed.insert(0, f"{len(row.classes)} classes of its own")
        if changed:
            yield f"{group_name(group)} is not the study's setting: {', '.join(changed)}."
