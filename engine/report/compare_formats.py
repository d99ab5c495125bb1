"""A Comparison as tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

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
from engine.report.compare_ood import OOD_TITLE, ood_lines_table
from engine.report.environments import DICE, EnvironmentLine
from engine.report.environments import TITLE as ENVIRONMENTS
from engine.report.measures import Metric, Value
from engine.report.published import LiteratureResult, PublishedResult
from engine.report.speed import SPEED_TITLE, speed_table
from engine.report.tables import (
    LEFT_OUT,
    Cell,
    Column,
    data_size,
    duration,
    large,
    score,
    text_table,
    told_counts,
)
from engine.visible import one_line

VERDICT_STYLES = {"better": "green", "worse": "red", "": "dim"}

PUBLISHED_TITLE = "published by the study, not measured here (mean Dice)"
LITERATURE_TITLE = "published by others, trained from scratch, not measured here"


def number(metric: Metric, value: Value | None) -> str:
    """A value as people read it, with its deviation over seeds and, where some of them have none, of how many
    it is: "0.6123 ± 0.0040 (n=2)"."""
    if value is None:
        return "-"
    varies = value.sd is not None and (value.sd > 0 or metric.kind in ("score", "loss", "number"))
    deviation = f" ± {_plain(metric, value.sd)}" if varies and value.sd is not None else ""
    return _plain(metric, value.mean) + deviation + told_counts([value.n], value.n + value.missing)


def difference(metric: Metric, value: Value | None) -> str:
    """The difference to the baseline: of scores and losses itself, of all else its share of the baseline."""
    if value is None or value.difference is None:
        return ""
    if metric.kind in ("score", "loss"):
        return score(value.difference, sign="+")
    if metric.kind == "number":
        return f"{value.difference:+.4g}"
    if metric.kind == "epochs":
        return f"{round(value.difference, 1):+g}"
    base = value.mean - value.difference
    return f"{100 * value.difference / base:+.0f} %" if base else ""


def _plain(metric: Metric, value: float) -> str:
    return _PLAIN[metric.kind](value) + (f" {metric.unit}" if metric.unit else "")


_PLAIN: dict[str, Callable[[float], str]] = {
    "score": score,
    "loss": score,
    "epochs": lambda value: f"{round(value, 1):g}",
    "seconds": duration,
    "images/s": lambda value: f"{value:.1f}",
    "latency": lambda value: f"{1000 * value:.1f} ms",
    "count": large,
    "FLOP": lambda value: large(value, "FLOP"),
    "bytes": data_size,
    "number": lambda value: f"{value:.5g}",
}

CLASS_DICE = Metric("class_dice", "Dice", "higher", "score")
"""The metric that the rows of a table of classes are of."""


def comparison_text(comparison: Comparison, width: int | None) -> Text:
    """All of it for `width` columns (None: no limit): numbers, classes, keys, published rows, notes."""
    base = comparison.entries[comparison.baseline].letter
    several = len(comparison.entries) > 1
    parts = [numbers_that_fit(comparison, width)]
    if comparison.classes:
        order = f", largest drop from {base} first" if several else ""
        parts.append(_titled(f"Dice by class{order}", class_table(comparison, width)))
    if comparison.config:
        parts.append(_titled("config keys that differ", key_table(comparison, width)))
    elif several:
        parts.append(Text("no config key differs"))
    if comparison.ood:
        parts.append(_titled(OOD_TITLE, ood_lines_table(comparison.ood, width)))
    if comparison.environments:
        parts.append(_titled(ENVIRONMENTS, environment_lines_table(comparison.environments, width)))
    parts += crf_tables(comparison.crf, width)
    if comparison.speed is not None:
        parts.append(_titled(SPEED_TITLE, speed_table(comparison.speed, width)))
    if comparison.published:
        parts.append(_titled(PUBLISHED_TITLE, published_table(comparison.published, width)))
    if comparison.literature:
        parts.append(_titled(LITERATURE_TITLE, literature_table(comparison.literature, width)))
    if comparison.notes:
        parts.append(Text("\n").join(Text(f"note: {one_line(note)}", "yellow") for note in comparison.notes))
    return Text("\n\n", no_wrap=True, overflow="ignore").join(parts)


def numbers_that_fit(comparison: Comparison, width: int | None) -> Text:
    """One line an entry; where that would leave numbers out and one line a metric does not, that."""
    table = numbers_table(comparison, width)
    if width is None or LEFT_OUT not in table.plain:
        return table
    by_metric = numbers_by_metric(comparison)
    if max(map(cell_len, by_metric.plain.splitlines())) > width:
        return table
    names = [
        Column("", [entry.letter for entry in comparison.entries]),
        Column("run", [entry.ids[0] for entry in comparison.entries]),
        Column("name", [entry.label for entry in comparison.entries], least=10),
    ]
    return Text("\n\n", no_wrap=True, overflow="ignore").join([text_table(names, width), by_metric])


def _titled(title: str, table: Text) -> Text:
    return Text.assemble((title, "bold"), "\n", table)


def numbers_table(
    comparison: Comparison, width: int | None, styles: Mapping[str, str] = VERDICT_STYLES
) -> Text:
    """One line an entry with its numbers and their differences. `styles` are those of the verdicts and, where
    there are any, of the entries' letters; so below."""
    entries = comparison.entries
    several = len(entries) > 1
    columns = [
        Column("", [(entry.letter, styles.get(entry.letter, "")) for entry in entries]),
        Column("run", [entry.ids[0] for entry in entries]),
        Column("name", [entry.label for entry in entries], least=10),
    ]
    if any(entry.seeds > 1 for entry in entries):
        columns.append(Column("seeds", [str(entry.seeds) for entry in entries], right=True, rank=1))
    for rank, metric in enumerate(comparison.metrics, start=2):
        values = [entry.values.get(metric.name) for entry in entries]
        columns.append(Column(metric.title, [number(metric, v) for v in values], right=True, rank=rank))
        if several and metric.better != "neither":
            cells = _differences(metric, values, styles)
            if metric is comparison.metrics[0]:
                cells[comparison.baseline] = ("baseline", "dim")
            columns.append(Column("", cells, right=True, rank=rank))
    return text_table(columns, width)


def numbers_by_metric(comparison: Comparison, styles: Mapping[str, str] = VERDICT_STYLES) -> Text:
    """The same with one line a metric, which is narrower for few entries; a letter stands for each."""
    entries, metrics = comparison.entries, comparison.metrics
    columns = [Column("", ["run", "seeds", *(metric.title for metric in metrics)])]
    for i, entry in enumerate(entries):
        values = [entry.values.get(metric.name) for metric in metrics]
        about: list[Cell] = [(entry.ids[0], styles.get(entry.letter, "")), str(entry.seeds)]
        told = [number(metric, value) for metric, value in zip(metrics, values, strict=True)]
        columns.append(Column(entry.letter, [*about, *told], right=True))
        if i == comparison.baseline:
            head: Cell = ("baseline", "dim") if len(entries) > 1 else ""
            differences: list[Cell] = [head, *[""] * len(told)]
        else:
            differences = [""]
            for metric, value in zip(metrics, values, strict=True):
                both_ways = metric.better != "neither"
                differences += _differences(metric, [value], styles) if both_ways else [""]
        columns.append(Column("", [*differences[:1], "", *differences[1:]], right=True))
    return text_table(columns)


def _differences(metric: Metric, values: Sequence[Value | None], styles: Mapping[str, str]) -> list[Cell]:
    return [
        (difference(metric, value), styles[metric.verdict(value.difference if value else None)])
        for value in values
    ]


def class_table(
    comparison: Comparison, width: int | None, styles: Mapping[str, str] = VERDICT_STYLES
) -> Text:
    """Dice of each class in each entry, the biggest loss first."""
    rows = comparison.classes
    columns = [
        Column("", [("  ", f"on {row.color}" if row.color else "") for row in rows]),
        Column("class", [row.name for row in rows], least=10),
    ]
    for i, entry in enumerate(comparison.entries):
        values = [row.dice[i] for row in rows]
        columns.append(Column(entry.letter, [number(CLASS_DICE, v) for v in values], right=True, rank=2 * i))
        if i != comparison.baseline:
            columns.append(Column("", _differences(CLASS_DICE, values, styles), right=True, rank=2 * i + 1))
    return text_table(columns, width)


def key_table(comparison: Comparison, width: int | None) -> Text:
    """The config keys that differ, with the value of each entry."""
    rows = comparison.config
    columns = [Column("key", [row.key for row in rows])]
    for i, entry in enumerate(comparison.entries):
        cells = [or_dash(row.values[i]) for row in rows]
        columns.append(Column(entry.letter, cells, rank=i, least=6))
    return text_table(columns, width)


def environment_lines_table(
    lines: Sequence[EnvironmentLine], width: int | None, styles: Mapping[str, str] = VERDICT_STYLES
) -> Text:
    """A line for each environment and entry: scores, and what they differ by from the entry's own images."""
    columns = [
        Column("environment", [line.environment for line in lines], least=10),
        Column("", [(line.letter, styles.get(line.letter, "")) for line in lines]),
        Column("images", [str(line.images) for line in lines], right=True, rank=3),
    ]
    for rank, (title, values) in enumerate(
        (("Dice", [line.dice for line in lines]), ("mIoU", [line.miou for line in lines])), start=1
    ):
        changes = _differences(DICE, values, styles)
        columns.append(Column(title, [number(DICE, value) for value in values], right=True, rank=rank))
        columns.append(Column("to own", changes, right=True, rank=rank))
    return text_table(columns, width)


def crf_tables(
    lines: Sequence[CrfLine], width: int | None, styles: Mapping[str, str] = VERDICT_STYLES
) -> list[Text]:
    """All that CRFs made of the predictions of compared runs: the scores, and those of each class for each
    kind of images; none without lines."""
    if not lines:
        return []
    return [
        _titled(CRF_TITLE, crf_lines_table(lines, width, styles)),
        *(
            _titled(f"IoU by class, {alike[0].scored_on}: {CRF_TITLE}", crf_class_table(alike, width, styles))
            for alike in by_images(lines)
        ),
    ]


def crf_lines_table(
    lines: Sequence[CrfLine], width: int | None, styles: Mapping[str, str] = VERDICT_STYLES
) -> Text:
    """A line for each entry and kind of images: scores without a CRF and with it."""
    columns = [
        Column("scored on", [line.scored_on for line in lines], least=10),
        Column("", [(line.letter, styles.get(line.letter, "")) for line in lines]),
        *_without_and_with("Dice", [line.dice for line in lines], 2, styles),
        *_without_and_with("mIoU", [line.miou for line in lines], 1, styles),
        Column("an image", [duration(line.seconds) for line in lines], right=True, rank=3),
        Column("parameters", [line.parameters for line in lines], rank=4),
    ]
    return text_table(columns, width)


def crf_class_table(
    lines: Sequence[CrfLine], width: int | None, styles: Mapping[str, str] = VERDICT_STYLES
) -> Text:
    """IoU of each class in lines that were scored on the same images, the biggest loss by the CRF first."""
    names = classes_of(lines)
    columns = [Column("class", names, least=10)]
    for place, line in enumerate(lines):
        values = [line.class_iou.get(name) for name in names]
        columns += _without_and_with(line.letter, values, place, styles)
    return text_table(columns, width)


def _without_and_with(
    title: str, values: Sequence[Refined | None], rank: int, styles: Mapping[str, str]
) -> list[Column]:
    before = [number(CRF_IOU, without(value)) for value in values]
    after = [number(CRF_IOU, value) for value in values]
    change = _differences(CRF_IOU, values, styles)
    return [
        Column(f"{title} without", before, right=True, rank=rank),
        Column("with", after, right=True, rank=rank),
        Column("change", change, right=True, rank=rank),
    ]


def published_table(results: Sequence[PublishedResult], width: int | None) -> Text:
    """What the study reports."""
    columns = [
        Column("table", [result.table for result in results], rank=1),
        Column("system", [result.system for result in results], least=10),
        Column("size", [f"{result.size[0]}x{result.size[1]}" for result in results], rank=2),
        Column("epochs", [or_dash(result.epochs) for result in results], right=True),
        *(
            Column(title, [published_score(getattr(result, name)) for result in results], right=True)
            for title, name in PUBLISHED_SCORES.items()
        ),
    ]
    return text_table(columns, width)


def literature_table(results: Sequence[LiteratureResult], width: int | None) -> Text:
    """What others report, with what differs and where it is published."""
    columns = [
        Column("system", [result.system for result in results], least=10),
        Column("images", [result.images for result in results], least=10),
        Column("size", [f"{result.size[0]}x{result.size[1]}" for result in results], rank=1),
        Column("mIoU", [f"{result.miou:.4f}" for result in results], right=True),
        Column("training", [result.training for result in results], rank=2, least=10),
        Column("source", [result.source for result in results], rank=3, least=10),
    ]
    return text_table(columns, width)


PUBLISHED_SCORES = {"train Dice": "train_dice", "val Dice": "val_dice", "test Dice": "test_dice"}
"""Title -> field of a PublishedResult."""


def published_score(value: float | None) -> str:
    """A published score with all the digits it was published with."""
    return "-" if value is None else f"{value:.5f}"


def or_dash(value: object) -> str:
    return "-" if value is None or value == "" else str(value)
