"""Training images and their labels before and after augmentation, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.report.fonts import escaped, font_for
from engine.report.triptych import (
    FAINT_INK,
    GAP,
    INK,
    MARGIN,
    class_map_panel,
    image_panel,
    panel_factor,
    parse_colors,
    shorten_end,
    shorten_front,
)

Pixels = NDArray[np.uint8]

TITLE_HEIGHT, HEADER_HEIGHT, CAPTION_HEIGHT = 40, 28, 26


@dataclass(frozen=True, eq=False)
class Augmented:
    """One row: image uint8 [H, W, 3] and train ids uint8 [H, W] before, and [h, w] after augmentation."""

    name: str
    image: Pixels
    labels: Pixels
    augmented: Pixels
    augmented_labels: Pixels


def augmented_picture(
    rows: Sequence[Augmented], classes: Sequence[str], colors: Sequence[str], title: str
) -> Image.Image:
    """A row for each sample: image, labels, augmented image, augmented labels. Without `classes` there are no
    labels to show."""
    class_colors = parse_colors(classes, colors)
    pictures = [_panels(row, class_colors) for row in rows]
    headers = ["Image", "Labels", "Augmented", "Labels"] if classes else ["Image", "Augmented"]
    widths = [panel.width for panel in pictures[0]]
    lefts = [MARGIN + sum(widths[:column]) + column * GAP for column in range(len(widths))]
    row_height = max(panel.height for panel in pictures[0]) + CAPTION_HEIGHT
    rows_top = MARGIN + TITLE_HEIGHT + HEADER_HEIGHT
    width = lefts[-1] + widths[-1] + MARGIN
    picture = Image.new("RGB", (width, rows_top + len(rows) * row_height + MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    small, medium, large = (ImageFont.load_default(size=size) for size in (14, 16, 22))
    font, lacking = font_for([title], large, 22)
    shown = shorten_end(escaped(title, lacking), font, width - 2 * MARGIN)
    draw.text((MARGIN, MARGIN + 22), shown, font=font, fill=INK, anchor="ls")
    for left, header in zip(lefts, headers, strict=True):
        draw.text((left, rows_top - 9), header, font=medium, fill=INK, anchor="ls")
    for position, (row, panels) in enumerate(zip(rows, pictures, strict=True)):
        top = rows_top + position * row_height
        for left, panel in zip(lefts, panels, strict=True):
            picture.paste(panel, (left, top))
        font, lacking = font_for([row.name], small, 14)
        caption = shorten_front(escaped(row.name, lacking), font, width - 2 * MARGIN)
        draw.text((MARGIN, top + row_height - 9), caption, font=font, fill=FAINT_INK, anchor="ls")
    return picture


def _panels(row: Augmented, colors: Sequence[tuple[int, int, int]]) -> list[Image.Image]:
    panels = []
    for image, labels in ((row.image, row.labels), (row.augmented, row.augmented_labels)):
        factor = panel_factor(image.shape[1])
        panels.append(image_panel(image, factor))
        if colors:
            panels.append(class_map_panel(labels, colors, factor))
    return [Image.fromarray(panel) for panel in panels]
