"""What a fully connected CRF made of predictions, and the search for its parameters, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from engine.report.tables import Cell, Column, score, text_table
from engine.store import CrfRow, CrfTrialRow

_SCORES = (
    ("Dice", "dice"),
    ("image Dice", "dice_image"),
    ("mIoU", "miou"),
    ("pixel accuracy", "pixel_accuracy"),
)


def crf_text(rows: Sequence[CrfRow], colors: Sequence[str], width: int | None = None) -> Text:
    """What one run measured: scores before and after, by class where it scored one set of images, and
    time."""
    first = rows[0]
    source = "searched" if first.searched else "not searched"
    took = (
        f"{first.seconds:.2f} s an image at the {first.at} size" if first.seconds is not None else "no image"
    )
    text = Text(no_wrap=True, overflow="ignore")
    text.append("CRF", "bold").append(f"  {parameters(first)} ({source}), {took}")
    if len(rows) > 1:
        return text.append("\n").append_text(_by_corruption(rows, width))
    if first.class_iou_after is None:
        return text
    text.append("\n").append_text(_overall(first, width))
    return text.append("\n\n").append_text(_by_class(first, colors, width))


def parameters(row: CrfRow | CrfTrialRow) -> str:
    """Weights and standard deviations in short."""
    bilateral = f"{row.bilateral_weight:g}, {row.bilateral_sigma_xy:g} px, {row.bilateral_sigma_rgb:g} rgb"
    return (
        f"bilateral {bilateral}; Gaussian {row.gaussian_weight:g}, {row.gaussian_sigma:g} px; "
        f"{row.iterations} iterations"
    )


def trials_table(rows: Sequence[CrfTrialRow], width: int | None = None, most: int | None = None) -> Text:
    """A line for each trial of one search, the best first and that without a CRF among them; `most` lines."""
    ordered = sorted(rows, key=lambda row: -(row.miou or 0.0))[:most]
    without = next((row for row in rows if row.iterations is None), None)
    if without is not None and without not in ordered:
        ordered[-1] = without

    def number(row: CrfTrialRow, name: str) -> str:
        value = getattr(row, name)
        return "-" if value is None else f"{value:g}"

    columns = [
        Column("trial", [str(row.trial) for row in ordered], right=True),
        Column("kind", ["no CRF" if row.iterations is None else row.kind for row in ordered]),
        Column("mIoU", [(score(row.miou), "bold") for row in ordered], right=True),
        Column("Dice", [score(row.dice) for row in ordered], right=True),
        Column("bilateral", [number(row, "bilateral_weight") for row in ordered], right=True),
        Column("px", [number(row, "bilateral_sigma_xy") for row in ordered], right=True),
        Column("rgb", [number(row, "bilateral_sigma_rgb") for row in ordered], right=True),
        Column("Gaussian", [number(row, "gaussian_weight") for row in ordered], right=True),
        Column("px", [number(row, "gaussian_sigma") for row in ordered], right=True),
        Column("s an image", [f"{row.seconds:.2f}" for row in ordered], right=True, rank=1),
    ]
    return text_table(columns, width)


def _overall(row: CrfRow, width: int | None) -> Text:
    pairs = [(getattr(row, f"{name}_before"), getattr(row, f"{name}_after")) for _, name in _SCORES]
    return _before_and_after("measure", [title for title, _ in _SCORES], pairs, width)


def _by_class(row: CrfRow, colors: Sequence[str], width: int | None) -> Text:
    before: Mapping[str, float | None] = row.class_iou_before or {}
    after: Mapping[str, float | None] = row.class_iou_after or {}
    swatches: list[Cell] = [("  ", f"on {color}") for color in colors[: len(after)]]
    swatches += [""] * (len(after) - len(swatches))
    pairs = [(before.get(name), value) for name, value in after.items()]
    return _before_and_after("class, IoU", list(after), pairs, width, [Column("", swatches)])


def _by_corruption(rows: Sequence[CrfRow], width: int | None) -> Text:
    names = [f"{row.corruption} {row.strength}" if row.strength else row.corruption for row in rows]
    return _before_and_after(
        "corruption, Dice", names, [(row.dice_before, row.dice_after) for row in rows], width
    )


def _before_and_after(
    title: str,
    names: Sequence[str],
    pairs: Sequence[tuple[float | None, float | None]],
    width: int | None,
    first: Sequence[Column] = (),
) -> Text:
    columns = [
        *first,
        Column(title, list(names), least=12),
        Column("before CRF", [score(before) for before, _ in pairs], right=True),
        Column("after", [(score(after), "bold") for _, after in pairs], right=True),
        Column("change", [_change(*pair) for pair in pairs], right=True, rank=1),
    ]
    return text_table(columns, width)


def _change(before: float | None, after: float | None) -> Cell:
    if before is None or after is None:
        return "-"
    change = after - before
    return f"{change:+.4f}", "green" if change > 0 else "red" if change < 0 else ""
