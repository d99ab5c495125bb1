"""A Comparison as blocks of a page: for Markdown, and for the report of an experiment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.report.compare import Comparison
from engine.report.compare_crf import (
    CRF_IOU,
    CRF_TITLE,
    CrfLine,
    Refined,
    by_images,
    classes_of,
    without,
)
from engine.report.compare_formats import (
    CLASS_DICE,
    LITERATURE_TITLE,
    PUBLISHED_SCORES,
    PUBLISHED_TITLE,
    difference,
    number,
    or_dash,
    published_score,
)
from engine.report.compare_ood import OOD_TITLE, ood_block
from engine.report.environments import DICE
from engine.report.environments import TITLE as ENVIRONMENTS
from engine.report.measures import Metric, Value
from engine.report.page import Block, Bullets, Cell, Marked, Table, table, text, to_markdown
from engine.report.published import LiteratureResult, PublishedResult
from engine.report.speed import speed_blocks
from engine.report.tables import duration

MOST_COLUMNS = 4


def environments_block(comparison: Comparison) -> Table:
    """The entries in each environment; in brackets what their scores differ by from the own images."""
    rows: list[list[Cell]] = [
        [
            line.environment,
            line.letter,
            str(line.images),
            *(
                number(DICE, value) + (f" ({difference(DICE, value)})" if difference(DICE, value) else "")
                for value in (line.dice, line.miou)
            ),
        ]
        for line in comparison.environments
    ]
    return table(["environment", "run", "images", "Dice", "mIoU"], rows, numbers_from=2)


def comparison_markdown(comparison: Comparison) -> str:
    """Tables for a README, an issue or a page, with their notes."""
    return to_markdown(comparison_blocks(comparison))


def comparison_blocks(comparison: Comparison) -> list[Block]:
    base = comparison.entries[comparison.baseline].letter
    blocks: list[Block] = [numbers_block(comparison)]
    if comparison.classes:
        order = f" The largest drop from {base} comes first." if len(comparison.entries) > 1 else ""
        blocks += [text(f"Dice by class.{order}"), classes_block(comparison)]
    if comparison.config:
        blocks += [text("Config keys that differ."), keys_block(comparison)]
    if comparison.ood:
        blocks += [text(f"{OOD_TITLE[0].upper()}{OOD_TITLE[1:]}."), ood_block(comparison.ood)]
    if comparison.environments:
        blocks += [text(f"{ENVIRONMENTS[0].upper()}{ENVIRONMENTS[1:]}."), environments_block(comparison)]
    if comparison.crf:
        blocks += [text(f"{CRF_TITLE[0].upper()}{CRF_TITLE[1:]}."), *crf_blocks(comparison.crf)]
    if comparison.speed is not None:
        blocks += speed_blocks(comparison.speed)
    if comparison.published:
        blocks += [text(f"{PUBLISHED_TITLE[0].upper()}{PUBLISHED_TITLE[1:]}.")]
        blocks += [published_block(comparison.published)]
    if comparison.literature:
        blocks += [text(f"{LITERATURE_TITLE[0].upper()}{LITERATURE_TITLE[1:]}.")]
        blocks += [literature_block(comparison.literature)]
    if comparison.notes:
        blocks.append(Bullets(tuple(f"Note: {note}" for note in comparison.notes)))
    return blocks


def numbers_block(comparison: Comparison) -> Table:
    """Entries against metrics; few entries are columns, so that all of it fits a page, many are rows."""
    entries = comparison.entries
    names = [
        f"{entry.title} (baseline)" if len(entries) > 1 and i == comparison.baseline else entry.title
        for i, entry in enumerate(entries)
    ]
    cells = [[value_cell(m, entry.values.get(m.name)) for entry in entries] for m in comparison.metrics]
    if len(entries) <= MOST_COLUMNS:
        header = ["", *(f"{entry.letter}: {name}" for entry, name in zip(entries, names, strict=True))]
        titles = [metric.title for metric in comparison.metrics]
        return table(header, ([title, *row] for title, row in zip(titles, cells, strict=True)))
    rows: list[list[Cell]] = [
        [entry.letter, name, *(row[i] for row in cells)]
        for i, (entry, name) in enumerate(zip(entries, names, strict=True))
    ]
    return table(["", "run", *(metric.title for metric in comparison.metrics)], rows, numbers_from=2)


def classes_block(comparison: Comparison) -> Table:
    """A row for each class, a column for each entry."""
    rows = [[row.name, *(value_cell(CLASS_DICE, value) for value in row.dice)] for row in comparison.classes]
    return table(["class", *(entry.letter for entry in comparison.entries)], rows)


def keys_block(comparison: Comparison) -> Table:
    """A row for each config key that differs, a column for each entry."""
    rows: list[list[Cell]] = [
        [Marked(row.key, "code"), *map(or_dash, row.values)] for row in comparison.config
    ]
    return table(["key", *(entry.letter for entry in comparison.entries)], rows)


def crf_blocks(lines: Sequence[CrfLine]) -> Iterator[Block]:
    """Scores without and with a CRF, then IoU by class for each kind of images."""
    rows: list[list[Cell]] = [
        [
            line.scored_on,
            line.letter,
            *(cell for value in (line.dice, line.miou) for cell in _without_and_with(value)),
            duration(line.seconds),
            line.parameters,
        ]
        for line in lines
    ]
    header = ["scored on", "run", "Dice without", "with", "mIoU without", "with", "an image", "parameters"]
    yield table(header, rows, numbers_from=2)
    for same in by_images(lines):
        yield text(f"IoU by class, {same[0].scored_on}. The largest drop by the CRF comes first.")
        by_class: list[list[Cell]] = [
            [name, *(cell for line in same for cell in _without_and_with(line.class_iou.get(name)))]
            for name in classes_of(same)
        ]
        yield table(["class", *(t for line in same for t in (f"{line.letter} without", "with"))], by_class)


def _without_and_with(value: Refined | None) -> tuple[Cell, Cell]:
    return number(CRF_IOU, without(value)), value_cell(CRF_IOU, value)


def published_block(results: Sequence[PublishedResult]) -> Table:
    """The study's rows, each cell marked as published."""
    rows = [
        [
            Marked(cell, "published")
            for cell in (
                f"{result.table}: {result.system}",
                f"{result.size[0]}x{result.size[1]}",
                or_dash(result.epochs),
                *(published_score(getattr(result, name)) for name in PUBLISHED_SCORES.values()),
            )
        ]
        for result in results
    ]
    return table(["table and system", "size", "epochs", *PUBLISHED_SCORES], rows, numbers_from=2)


def literature_block(results: Sequence[LiteratureResult]) -> Table:
    """Rows of the literature, each cell marked as published."""
    rows = [
        [
            Marked(cell, "published")
            for cell in (
                result.system,
                f"{result.images}, {result.size[0]}x{result.size[1]}",
                f"{result.miou:.4f}",
                result.training,
                result.source,
            )
        ]
        for result in results
    ]
    return table(["system", "images", "mIoU", "training", "source"], rows)


def value_cell(metric: Metric, value: Value | None) -> Cell:
    """A value and, told apart by what it means, its difference to the baseline."""
    told = difference(metric, value) if metric.better != "neither" else ""
    if not told or value is None:
        return number(metric, value)
    verdict = metric.verdict(value.difference)
    return number(metric, value), Marked(f" ({told})", verdict) if verdict else f" ({told})"
