"""The gallery of a run as one picture: image | ground truth | prediction | error, a row for each sample.

A class map is only ever enlarged or thinned by a whole factor with the nearest pixel, so that every
colour in it is the colour of a class. Wrong pixels are vermilion, a colour of the palette that Okabe
and Ito ("Color Universal Design", 2008) chose to be told apart with any kind of colour vision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.classes import VOID
from engine.metrics.boundary import boundary_distance, near_outline
from engine.metrics.scores import Scores
from engine.report.fonts import Font, escaped, font_for
from engine.report.gallery import (
    PictureError,
    Sample,
    gallery_epochs,
    image_scores,
    read_sample,
)
from engine.run.directory import RunDir
from engine.run.freed import when_freed

PANEL_WIDTH = 288
"""The width in pixels that a panel comes as near to as a whole factor allows."""

MARGIN = 24
GAP = 8

WRONG = (213, 94, 0)
VOID_COLOR = (0, 0, 0)
HATCH_DARK = (38, 38, 38)
HATCH_LIGHT = (92, 92, 92)

_COLUMNS = ("Image", "Ground truth", "Prediction", "Error")
INK = (28, 28, 30)
FAINT_INK = (96, 96, 102)
_SWATCH = 16
_LEGEND_LINE = 24
_HEADER_HEIGHT = 28
_CAPTION_HEIGHT = 30
_TITLE_HEIGHT = 40

Color = tuple[int, int, int]
_Value = TypeVar("_Value", np.uint8, np.bool_)


def gallery_picture(
    gallery: Path,
    class_names: Sequence[str],
    colors: Sequence[str],
    epoch: int | None = None,
    samples: int = 6,
    title: str = "",
    boundaries: bool = False,
) -> Image.Image:
    """Draw at most `samples` of the gallery's samples, evenly spread, as they were at `epoch`.

    `gallery` is the gallery folder of a run; `colors` holds a "#rrggbb" for each of `class_names`.
    Without `epoch` it is the last one that has predictions. Below a row stand the sample's name, the
    mean Dice of that image and its pixel accuracy; below all rows, the classes that occur in them. With
    `boundaries`, only errors near true boundaries are drawn, and their share of the errors stands below.

    Raises PictureError when there is no gallery or no such epoch, when a PNG is missing or damaged,
    when the PNGs of a sample differ in size, or when one holds a train id that is not of `class_names`.
    """
    class_colors = parse_colors(class_names, colors)
    epoch, rows = gallery_samples(gallery, len(class_names), epoch, samples)
    return _compose(rows, class_names, class_colors, title, f"epoch {epoch}", boundaries)


def gallery_samples(
    gallery: Path, classes: int, epoch: int | None = None, samples: int = 6
) -> tuple[int, list[Sample]]:
    """The epoch shown, and at most `samples` of the gallery's samples, evenly spread; raises as above."""
    if samples < 1:
        raise PictureError(f"a gallery picture shows at least 1 sample, {samples} asked for")
    epoch, predictions = _predictions_of(gallery, epoch)
    chosen = np.linspace(0, len(predictions) - 1, min(samples, len(predictions))).round().astype(int)
    return epoch, [read_sample(gallery, predictions[position], classes) for position in chosen]


def panel_factor(width: int) -> tuple[int, int]:
    """(enlarge by, keep every n-th pixel): one of them is 1; the panel comes nearest to PANEL_WIDTH."""
    up = max(1, PANEL_WIDTH // width)
    down = max(1, width // PANEL_WIDTH)
    candidates = [(up, 1), (up + 1, 1)] if width <= PANEL_WIDTH else [(1, down), (1, down + 1)]
    return min(candidates, key=lambda factor: abs(math.log(width * factor[0] / factor[1] / PANEL_WIDTH)))


def image_panel(image: NDArray[np.uint8], factor: tuple[int, int]) -> NDArray[np.uint8]:
    """The image [H, W, 3], resampled smoothly to the size that `class_map_panel` has."""
    up, down = factor
    height, width = image.shape[0] // down, image.shape[1] // down
    covered = (0, 0, width * down, height * down)
    resized = Image.fromarray(image).resize((width * up, height * up), Image.Resampling.LANCZOS, box=covered)
    return np.asarray(resized)


def class_map_panel(
    train_ids: NDArray[np.uint8], colors: Sequence[Color], factor: tuple[int, int]
) -> NDArray[np.uint8]:
    """Train ids [H, W] in the colours of their classes, uint8 [h, w, 3]; void is black."""
    palette = np.full((256, 3), VOID_COLOR, dtype=np.uint8)
    palette[: len(colors)] = colors
    return palette[_scale_nearest(train_ids, factor)]


def error_panel(
    sample: Sample, factor: tuple[int, int], band: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Where the prediction is wrong, uint8 [h, w, 3]; with a `band`, bool [H, W], only within that.

    Wrong pixels are WRONG, correct ones the image in pale grey; pixels whose ground truth is void are
    hatched, whatever was predicted there, for they are not scored.
    """
    target = _scale_nearest(sample.target, factor)
    wrong = target != _scale_nearest(sample.prediction, factor)
    grey = np.asarray(Image.fromarray(image_panel(sample.image, factor)).convert("L"), dtype=np.float64)
    if band is not None:
        wrong &= _scale_nearest(band, factor)
    panel = np.repeat((96 + 0.55 * grey).astype(np.uint8)[..., None], 3, axis=2)
    panel[wrong] = WRONG
    void = target == VOID
    panel[void] = _hatch(*target.shape)[void]
    return panel


def boundary_band(sample: Sample) -> NDArray[np.bool_]:
    """What is near a true boundary, bool [H, W]: within the `d` of boundary IoU."""
    return near_outline(sample.target, boundary_distance(sample.target.shape))


def boundary_share(rows: Sequence[Sample]) -> str:
    """The share of the errors that are near true boundaries, in words."""
    wrong = [(row.target != row.prediction) & (row.target != VOID) for row in rows]
    near = sum(int((errors & boundary_band(row)).sum()) for errors, row in zip(wrong, rows, strict=True))
    return f"{100 * near / max(1, sum(int(errors.sum()) for errors in wrong)):.0f} %"


def boundary_legend(rows: Sequence[Sample]) -> str:
    distances = sorted({boundary_distance(row.target.shape) for row in rows})
    told = "-".join(str(distance) for distance in dict.fromkeys((distances[0], distances[-1])))
    return f"wrong within {told} px of a boundary, {boundary_share(rows)} of the errors"


def classes_present(rows: Sequence[Sample]) -> list[int]:
    """The train ids that occur in a ground truth or a prediction, ascending, void left out."""
    maps = [train_ids for row in rows for train_ids in (row.target, row.prediction)]
    present = set().union(*(np.unique(train_ids).tolist() for train_ids in maps))
    return sorted(present - {VOID})


def _compose(
    rows: Sequence[Sample],
    class_names: Sequence[str],
    colors: Sequence[Color],
    title: str,
    epoch_label: str,
    boundaries: bool = False,
) -> Image.Image:
    # Images of an evaluation may differ in size: a row is as high as its own, columns as wide as the widest.
    factors = [panel_factor(row.target.shape[1]) for row in rows]
    shapes = [_scale_nearest(row.target, factor).shape for row, factor in zip(rows, factors, strict=True)]
    panel_width = max(width for _, width in shapes)
    content = len(_COLUMNS) * panel_width + (len(_COLUMNS) - 1) * GAP
    lefts = [MARGIN + column * (panel_width + GAP) for column in range(len(_COLUMNS))]
    large: Font
    small, medium, large = (ImageFont.load_default(size=size) for size in (14, 16, 22))

    in_names, lacking = font_for([class_names[train_id] for train_id in classes_present(rows)], small, 14)
    class_entries = [
        (
            shorten_end(escaped(class_names[train_id], lacking), in_names, content // 2 - 60),
            _plain_swatch(colors[train_id]),
        )
        for train_id in classes_present(rows)
    ]
    bands = [boundary_band(row) if boundaries else None for row in rows]
    error_entries = [("wrong" if not boundaries else boundary_legend(rows), _plain_swatch(WRONG))]
    if any((row.target == VOID).any() for row in rows):
        error_entries.append(("void, not scored", _void_swatch()))
    cell = max(int(in_names.getlength(name)) for name, _ in class_entries + error_entries) + _SWATCH + 30
    most_per_line = max(2, (content + 22) // cell)
    class_lines = math.ceil(len(class_entries) / most_per_line)
    # The lines are made even, so that no class is left alone on the last one.
    per_line = max(len(error_entries), math.ceil(len(class_entries) / max(1, class_lines)))
    legend_lines = class_lines + 1

    rows_top = MARGIN + (_TITLE_HEIGHT if title else 0) + _HEADER_HEIGHT
    tops = list(accumulate((height + _CAPTION_HEIGHT for height, _ in shapes), initial=rows_top))
    legend_top = tops[-1] + 14
    height = legend_top + legend_lines * _LEGEND_LINE + MARGIN - 6
    picture = Image.new("RGB", (content + 2 * MARGIN, height), "white")
    draw = ImageDraw.Draw(picture)

    right = MARGIN + content
    if title:
        room = content - int(medium.getlength(epoch_label)) - 24
        large, lacking = font_for([title], large, 22)
        shown = shorten_end(escaped(title, lacking), large, room)
        draw.text((MARGIN, MARGIN + 22), shown, font=large, fill=INK, anchor="ls")
    for left, name in zip(lefts, _COLUMNS, strict=True):
        draw.text((left, rows_top - 9), name, font=medium, fill=INK, anchor="ls")
    epoch_baseline = MARGIN + 22 if title else rows_top - 9
    draw.text((right, epoch_baseline), epoch_label, font=medium, fill=FAINT_INK, anchor="rs")

    for row, factor, (panel_height, _), band, top in zip(
        rows, factors, shapes, bands, tops[:-1], strict=True
    ):
        panels = (
            image_panel(row.image, factor),
            class_map_panel(row.target, colors, factor),
            class_map_panel(row.prediction, colors, factor),
            error_panel(row, factor, band),
        )
        scores = image_scores(row, len(class_names))
        told = _accuracy(scores) if not boundaries else f"{boundary_share([row])} of the errors"
        captions = (row.name, "", f"Dice {_number(scores.dice)}", told)
        for left, panel, caption in zip(lefts, panels, captions, strict=True):
            picture.paste(Image.fromarray(panel), (left, top))
            font, lacking = font_for([caption], small, 14)
            caption = shorten_front(escaped(caption, lacking), font, panel_width)
            draw.text((left, top + panel_height + 16), caption, font=font, fill=FAINT_INK, anchor="ls")

    draw.line((MARGIN, legend_top - 8, right - 1, legend_top - 8), fill=(222, 222, 226))
    error_line = class_lines * per_line
    places = [*range(len(class_entries)), *range(error_line, error_line + len(error_entries))]
    for place, (name, swatch) in zip(places, class_entries + error_entries, strict=True):
        line, column = divmod(place, per_line)
        left, top = MARGIN + column * cell, legend_top + 4 + line * _LEGEND_LINE
        picture.paste(Image.fromarray(swatch), (left, top))
        draw.text((left + _SWATCH + 8, top + 13), name, font=in_names, fill=INK, anchor="ls")
    return picture


def _accuracy(scores: Scores) -> str:
    if scores.pixel_accuracy is None:
        return "all void, not scored"
    return f"pixel accuracy {100 * scores.pixel_accuracy:.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def shorten_front(text: str, font: Font, room: int) -> str:
    """Cut at the front: it is the end of a file's name that tells samples apart."""
    cuts = (text, *("…" + text[kept:] for kept in range(1, len(text) + 1)))
    return next((cut for cut in cuts if font.getlength(cut) <= room), "")


def shorten_end(text: str, font: Font, room: int) -> str:
    cuts = (text, *(text[:kept].rstrip() + "…" for kept in range(len(text) - 1, -1, -1)))
    return next((cut for cut in cuts if font.getlength(cut) <= room), "")


def _plain_swatch(color: Color) -> NDArray[np.uint8]:
    return np.full((_SWATCH, _SWATCH, 3), color, dtype=np.uint8)


def _void_swatch() -> NDArray[np.uint8]:
    """Void as the ground truth shows it on the left, as the error panel shows it on the right."""
    swatch = _hatch(_SWATCH, _SWATCH)
    swatch[:, : _SWATCH // 2] = VOID_COLOR
    return swatch


def _hatch(height: int, width: int) -> NDArray[np.uint8]:
    diagonal = np.add.outer(np.arange(height), np.arange(width)) % 7
    return np.where(diagonal[..., None] < 2, HATCH_LIGHT, HATCH_DARK).astype(np.uint8)


def _scale_nearest(train_ids: NDArray[_Value], factor: tuple[int, int]) -> NDArray[_Value]:
    up, down = factor
    height, width = train_ids.shape[0] // down, train_ids.shape[1] // down
    thinned = train_ids[down // 2 :: down, down // 2 :: down][:height, :width]
    return thinned.repeat(up, axis=0).repeat(up, axis=1)


def parse_colors(class_names: Sequence[str], colors: Sequence[str]) -> list[Color]:
    if len(class_names) != len(colors):
        raise PictureError(f"{len(class_names)} class names and {len(colors)} colours: one colour a class")
    parsed: list[Color] = []
    for name, color in zip(class_names, colors, strict=True):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
            raise PictureError(f"the colour of class {name!r} is {color!r}, wanted #rrggbb")
        red, green, blue = bytes.fromhex(color[1:])
        parsed.append((red, green, blue))
    return parsed


def _predictions_of(gallery: Path, epoch: int | None) -> tuple[int, list[Path]]:
    """The epoch to draw and its PNGs."""
    found = gallery_epochs(gallery)
    if not found:
        if freed := when_freed(RunDir(gallery.parent), gallery.name):
            raise PictureError(f"no gallery: `seg-engine clean` removed what was in {gallery} on {freed}")
        raise PictureError(f"no gallery yet: {gallery} holds no predictions of any epoch")
    wanted = max(found) if epoch is None else epoch
    if wanted not in found:
        there = ", ".join(map(str, found))
        raise PictureError(f"the gallery has no epoch {wanted}; it has {there}")
    return wanted, found[wanted]
