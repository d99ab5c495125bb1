"""Evaluations as text: the scores of a split, its images, and how two evaluations differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.metrics.bootstrap import Difference
from engine.report.csv_text import csv_text
from engine.report.instances import instances_table, is_of_instances, newest
from engine.report.tables import Column, class_table, large, score, text_table, windows_told
from engine.store import EvaluationRow, ImageRow, MetricRow

NAMES = {"dice": "Dice", "dice_image": "image Dice", "miou": "mIoU", "pixel_accuracy": "pixel accuracy"}


def evaluation_text(row: EvaluationRow, colors: Sequence[str]) -> Text:
    """One evaluation: its scores, its classes, and the cost of the network."""
    way = f", {row.label_resize}" if row.label_resize else ""
    way += f", test-time augmentation: {row.tta}" if row.tta not in ("", "none") else ""
    way += ", refined by a CRF" if row.crf else ""
    way += f", {windows_told(row)}" if row.window_size else ""
    title = f"{row.images} images of {row.split} at the {row.at} size{way}, checkpoint of epoch {row.epoch}\n"
    scores = "   ".join(f"{name} {_precise(getattr(row, field))}" for field, name in NAMES.items())
    text = Text(title, no_wrap=True, overflow="ignore")
    text.append(scores, "bold")
    text.append("\n\n")
    text.append_text(class_table(row.class_dice, row.class_iou, colors))
    return text.append(f"\n{speed_line(row)}") if row.latency_seconds is not None else text


def speed_line(row: EvaluationRow) -> str:
    """Parameters, arithmetic and time of one image at the input size."""
    flops = "" if row.flops_per_sample is None else f" {large(row.flops_per_sample, 'FLOP')},"
    latency = f"{1000 * (row.latency_seconds or 0):.1f} ms an image (median, batch 1)"
    return f"{row.parameters or 0:,} parameters,{flops} {latency}, {row.frames_per_second:.1f} frames/s"


def metrics_table(rows: Sequence[MetricRow], width: int | None = None) -> Text:
    """Metrics beside Dice and IoU of one evaluation: of the whole split, and the class that has the lowest
    where higher is better."""
    means = [row for row in rows if row.measured == "result" and not row.class_name]
    columns = [
        Column("metric", [(row.metric, "bold") for row in means]),
        Column("value", [with_unit(row) for row in means], right=True),
        Column("lowest class", [_lowest_class(row, rows) for row in means], rank=1),
    ]
    return text_table(columns, width)


def metrics_text(rows: Sequence[MetricRow]) -> Text:
    """All metrics of one evaluation: those of the split, and those of the instances of critical classes."""
    of_instances = newest(rows)
    others = [row for row in rows if not is_of_instances(row.metric)]
    parts = [metrics_table(others)] if others else []
    parts += [instances_table(of_instances)] if of_instances else []
    return Text("\n\n", no_wrap=True, overflow="ignore").join(parts)


def with_unit(row: MetricRow) -> str:
    """The value of a metric, "-" where it is undefined."""
    return "-" if row.value is None else f"{row.value:.5g} {row.unit}".rstrip()


def _lowest_class(of: MetricRow, rows: Sequence[MetricRow]) -> str:
    same = [row for row in rows if row.metric == of.metric and row.class_name and row.seq == of.seq]
    known = [(row.value, row.class_name) for row in same if row.value is not None]
    if of.better != "higher" or not known:
        return "-"
    value, name = min(known)
    return f"{name} {value:.5g}"


def evaluations_table(rows: Sequence[EvaluationRow], width: int | None = None) -> Text:
    """A line for each evaluation, with the run that made it."""
    columns = [
        Column("scored", [row.split for row in rows]),
        Column("size", [row.at for row in rows]),
        Column("epoch", [str(row.epoch) for row in rows], right=True),
        Column("images", [str(row.images) for row in rows], right=True),
        Column("Dice", [score(row.dice) for row in rows], right=True),
        Column("image Dice", [score(row.dice_image) for row in rows], right=True),
        Column("mIoU", [score(row.miou) for row in rows], right=True),
        Column("pixel accuracy", [score(row.pixel_accuracy) for row in rows], right=True),
    ]
    if any(row.source for row in rows):
        speeds = [f"{row.frames_per_second:.1f}" if row.frames_per_second else "-" for row in rows]
        ways = [_way(row) or "-" for row in rows]
        columns += [
            Column("frames/s", speeds, right=True),
            Column("way", ways),
            Column("by run", [row.run_id if row.source else "-" for row in rows]),
        ]
    return text_table(columns, width)


def images_table(rows: Sequence[ImageRow], class_name: str | None, width: int | None) -> Text:
    """A line for each image; with `class_name` also the Dice of that class."""
    columns = [
        Column("image", [row.image for row in rows], least=20),
        Column("Dice", [score(row.dice) for row in rows], right=True),
        Column("mIoU", [score(row.miou) for row in rows], right=True),
        Column("pixel accuracy", [score(row.pixel_accuracy) for row in rows], right=True),
        Column("labelled pixels", [str(row.valid_pixels) for row in rows], right=True, rank=1),
    ]
    if class_name is not None:
        dices = [score(row.class_dice.get(class_name)) for row in rows]
        columns.insert(1, Column(class_name, dices, right=True))
    return text_table(columns, width)


def images_csv(rows: Sequence[ImageRow]) -> str:
    """Images as CSV with a header; the Dice of every class is a column of its own, dice:NAME."""
    fields = ("image", "split", "at", "dice", "miou", "pixel_accuracy", "valid_pixels")
    names = list(rows[0].class_dice) if rows else []
    lines = (
        [*(getattr(row, field) for field in fields), *(row.class_dice.get(name) for name in names)]
        for row in rows
    )
    return csv_text([*fields, *(f"dice:{name}" for name in names)], lines)


def difference_table(found: Sequence[Difference]) -> Text:
    """How far an evaluation is from its baseline; an interval that leaves 0 out is bold."""
    sure = [(one.low or 0.0) * (one.high or 0.0) > 0 for one in found]
    differences = [(_signed(one.difference), "bold" * clear) for one, clear in zip(found, sure, strict=True)]
    columns = [
        Column("measure", [NAMES[one.measure] for one in found]),
        Column("this", [_precise(one.value) for one in found], right=True),
        Column("baseline", [_precise(one.baseline) for one in found], right=True),
        Column("difference", differences, right=True),
        Column("95 % interval", [f"{_signed(one.low)} to {_signed(one.high)}" for one in found]),
    ]
    return text_table(columns)


def _windows(row: EvaluationRow) -> str:
    return f"windows {row.window_size}/{row.window_stride}" if row.window_size else ""


def _way(row: EvaluationRow) -> str:
    """How the class maps came about, in short."""
    augmented = f"+{row.tta}" if row.tta not in ("", "none") else ""
    parts = (row.label_resize, augmented, "+CRF" * bool(row.crf), _windows(row))
    return " ".join(part for part in parts if part)


def _precise(value: float | None) -> str:
    return "-" if value is None else f"{value:.5f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.5f}"
