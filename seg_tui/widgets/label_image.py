"""A picture in half-block cells, or in the pixels of a terminal that has them, true to the labels.

A class map is brought to the size of the screen by choosing, for each cell, one of the classes that are
there; it never passes through a filter that mixes colours, which would invent classes. Photographs are
averaged.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from engine.classes import VOID
from seg_tui.widgets.column_widths import shorten

if TYPE_CHECKING:
    from seg_tui.graphics import Graphics

Pixels = NDArray[np.uint8]

Rule = Literal["rare", "majority", "nearest"]
"""Which class a cell shows of those it covers. rare: the one whose share of the cell is highest against its
share of the picture, so that a pole one pixel wide is still there; majority: the one with most pixels;
nearest: that of the pixel in its middle."""

RULES: tuple[Rule, ...] = ("rare", "majority", "nearest")

Dots = tuple[int, int]
"""The pixels of a cell, down and to the right."""

HALF_BLOCKS: Dots = (2, 1)
LETTERS: Dots = (1, 1)

_UPPER_HALF = "▀"
_CROSS = Segment("┼", Style(color="#ffffff", bgcolor="#000000", bold=True))


def class_map_at(labels: Pixels, rows: int, cols: int, rule: Rule = "rare") -> Pixels:
    """A class map [H, W] of train ids at another size, uint8 [rows, cols]; each value occurs in `labels`.

    When two classes have an equal claim on a cell, the one that is rarer in the picture gets it. Void shows
    only where it is more than half of a cell.
    """
    height, width = labels.shape
    if rule == "nearest":
        return labels[_centres(height, rows)][:, _centres(width, cols)]
    tall, wide = max(height, rows), max(width, cols)  # a cell that is smaller than a pixel shows that pixel
    fine = labels[np.ix_(_centres(height, tall), _centres(width, wide))]
    totals = np.bincount(fine.ravel(), minlength=256)
    present = np.flatnonzero(totals)
    present = present[
        np.argsort(totals[present], kind="stable")
    ]  # rarest first: of equal claims the first wins
    code = np.zeros(256, dtype=np.int64)
    code[present] = np.arange(len(present))
    cells = (np.arange(tall) * rows // tall)[:, None] * cols + np.arange(wide) * cols // wide
    index = cells * len(present) + code[fine]
    counts = np.bincount(index.ravel(), minlength=rows * cols * len(present)).reshape(-1, len(present))

    claim = counts / totals[present] if rule == "rare" else counts.astype(np.float64)
    claim = np.where(counts > 0, claim, -1.0)
    if VOID in present and len(present) > 1:
        void = int(code[VOID])
        claim[:, void] = np.where(2 * counts[:, void] > counts.sum(axis=1), np.inf, -0.5)
    chosen: Pixels = present[claim.argmax(axis=1)].astype(np.uint8).reshape(rows, cols)
    return chosen


def photo_at(image: Pixels, rows: int, cols: int) -> Pixels:
    """A photograph [H, W, 3] at another size: each pixel the mean of the area it covers."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((cols, rows), Image.Resampling.BOX))


def share_at(mask: NDArray[np.bool_], rows: int, cols: int) -> NDArray[np.float32]:
    """The share of true pixels [H, W] under each pixel of another size, float32 [rows, cols] in 0..1."""
    values = Image.fromarray(np.ascontiguousarray(mask, dtype=np.float32))
    return np.asarray(values.resize((cols, rows), Image.Resampling.BOX))


def _centres(size: int, count: int) -> NDArray[np.int64]:
    """The pixels in the middle of `count` equal parts of `size` pixels."""
    return (2 * np.arange(count) + 1) * size // (2 * count)


# ---------------------------------------------------------------------- cells


def halfblock_strips(rgb: Pixels) -> list[Strip]:
    """Lines of cells for a picture uint8 [2 * rows, cols, 3]: the upper pixel of a cell is the foreground of
    "▀", the lower one its background."""
    packed = rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return [
        _strip(top.tolist(), bottom.tolist()) for top, bottom in zip(packed[::2], packed[1::2], strict=True)
    ]


def letter_strips(labels: Pixels, letters: Sequence[str]) -> list[Strip]:
    """Lines of letters for a class map [rows, cols]; void is a blank."""
    table = [*letters, *(" " for _ in range(256 - len(letters)))]
    return [
        Strip([Segment("".join(table[label] for label in row), Style.null())], len(row))
        for row in labels.tolist()
    ]


def _strip(top: list[int], bottom: list[int]) -> Strip:
    segments = []
    begin = 0
    for position in range(1, len(top) + 1):
        if position == len(top) or top[position] != top[begin] or bottom[position] != bottom[begin]:
            segments.append(_cells(position - begin, top[begin], bottom[begin]))
            begin = position
    return Strip(segments, len(top))


def _cells(count: int, top: int, bottom: int) -> Segment:
    # One colour in both halves needs no glyph, and fewer bytes on a slow line.
    return Segment((" " if top == bottom else _UPPER_HALF) * count, _style(top, bottom))


@lru_cache(maxsize=1 << 15)
def _style(top: int, bottom: int) -> Style:
    if top == bottom:
        return Style(bgcolor=f"#{bottom:06x}")
    return Style(color=f"#{top:06x}", bgcolor=f"#{bottom:06x}")


@dataclass(frozen=True, eq=False)
class Picture:
    """What a `LabelImage` shows in `rows` x `cols` cells: `strips` of cells with `dots` pixels each, or an
    `image` for a terminal that shows pixels."""

    strips: tuple[Strip, ...]
    cols: int
    rows: int
    dots: Dots = HALF_BLOCKS
    image: Image.Image | None = None


class LabelImage(Widget, can_focus=True):
    """A picture below its caption; a cross marks a place in it.

    `pixels` makes a widget that shows an image by the terminal's own means; without one there are cells only.
    """

    DEFAULT_CSS = """
    LabelImage {
        height: 1fr;
        width: 1fr;
        color: $text-muted;
        & > .label-image--title { color: $foreground; }
        & > .label-image--current { color: $text-primary; text-style: bold; }
        & > .pixels { display: none; }
    }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label-image--title", "label-image--current"}

    cross: reactive[tuple[float, float] | None] = reactive(None, layout=False)
    """Where the cross is, as (down, right) shares of the picture in 0..1; None: nowhere."""

    class Pointed(Message):
        """Somebody points at a place in the picture, as (down, right) shares of it."""

        def __init__(self, image: LabelImage, place: tuple[float, float]) -> None:
            super().__init__()
            self.image, self.place = image, place

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LabelImage.Pointed)

        @property
        def control(self) -> LabelImage:
            return self.image

    def __init__(self, pixels: Graphics | None = None) -> None:
        super().__init__()
        self.pixels = pixels
        self.picture: Picture | None = None
        self.title, self.value, self.problem = "", "", ""
        self._on_screen: tuple[Image.Image, tuple[float, float] | None] | None = None

    def show(self, picture: Picture | None, title: str, value: str = "", problem: str = "") -> None:
        """Show a picture, or without one the line `problem` that says why there is none."""
        if picture is self.picture and (title, value, problem) == (self.title, self.value, self.problem):
            return
        self.picture, self.title, self.value, self.problem = picture, title, value, problem
        self._show_pixels()
        self.refresh()

    def compose(self) -> ComposeResult:
        if self.pixels is not None:
            yield self.pixels.widget()

    def on_mount(self) -> None:
        self._show_pixels()

    def on_resize(self) -> None:
        self._show_pixels()

    def _show_pixels(self) -> None:
        """Lay the image over the cells that are left free for it, with the cross in its pixels: a terminal
        may put no text upon them."""
        if self.pixels is None or not self.children:
            return
        frame = self.query_one(".pixels")
        image = self.picture.image if self.picture is not None else None
        frame.display = image is not None
        if self.picture is None or image is None:
            return
        frame.styles.width, frame.styles.height = self.picture.cols, self.picture.rows
        frame.styles.margin = (1, 0, 0, self._left)
        shown = image if self.cross is None else _with_cross(image, self._cell(self.cross), self.pixels.cell)
        if self._on_screen != (image, self.cross):
            self._on_screen = (image, self.cross)
            self.pixels.put(frame, shown)

    @property
    def _left(self) -> int:
        return max(0, (self.size.width - (self.picture.cols if self.picture else self.size.width)) // 2)

    def validate_cross(self, cross: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if cross is None else (min(max(cross[0], 0.0), 0.9999), min(max(cross[1], 0.0), 0.9999))

    def watch_cross(self, before: tuple[float, float] | None, cross: tuple[float, float] | None) -> None:
        if self.picture is not None and self.picture.image is not None:
            self._show_pixels()
            return
        for place in (before, cross):
            if place is not None and self.picture is not None:
                row, column = self._cell(place)
                self.refresh(Region(self._left + column, row + 1, 1, 1))

    def _cell(self, place: tuple[float, float]) -> tuple[int, int]:
        assert self.picture is not None
        return int(place[0] * self.picture.rows), int(place[1] * self.picture.cols)

    # ------------------------------------------------------------------ lines

    def render_line(self, y: int) -> Strip:
        width, background = self.size.width, self.rich_style
        if y == 0:
            return self._caption(width)
        if self.picture is None:
            words = self._problem_lines(width)
            line = words[y - 2] if 0 <= y - 2 < len(words) else ""
            return Strip([Segment(line, background)]).adjust_cell_length(width, background)
        if not 0 <= y - 1 < len(self.picture.strips):
            return Strip.blank(width, background)
        strip = self.picture.strips[y - 1]
        if self.cross is not None:
            row, column = self._cell(self.cross)
            if row == y - 1:
                before, after = strip.crop(0, column), strip.crop(column + 1, self.picture.cols)
                strip = Strip.join([before, Strip([_CROSS], 1), after])
        margin = Strip.blank(self._left, background)
        return Strip.join([margin, strip]).adjust_cell_length(width, background)

    def _caption(self, width: int) -> Strip:
        background = self.rich_style
        name = "label-image--current" if self.has_focus else "label-image--title"
        style = background + self.get_component_rich_style(name, partial=True)
        left = self._left
        room = min(width - left, max(self.picture.cols, 12)) if self.picture else width
        value = shorten(self.value, room)
        title = shorten(self.title, max(0, room - len(value) - 1))
        gap = " " * (room - cell_len(title) - cell_len(value))
        line = [Segment(" " * left, background), Segment(title, style), Segment(gap + value, background)]
        return Strip(line).adjust_cell_length(width, background)

    def _problem_lines(self, width: int) -> list[str]:
        return textwrap.wrap(self.problem, max(10, width - 2))

    # ------------------------------------------------------------------ the mouse

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.picture is None:
            return
        inside = event.screen_offset - self.region.offset
        row, column = inside.y - 1, inside.x - self._left
        if 0 <= row < self.picture.rows and 0 <= column < self.picture.cols:
            place = ((row + 0.25) / self.picture.rows, (column + 0.5) / self.picture.cols)
            self.post_message(self.Pointed(self, place))

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()


def _with_cross(image: Image.Image, cell: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """The image with a white cross on black over one of its cells, which have `size` pixels."""
    (row, column), (tall, wide) = cell, size
    top, left = row * tall, column * wide
    marked = image.copy()  # in its own colours: an indexed one takes these two into its palette
    pen = ImageDraw.Draw(marked)
    pen.rectangle((left, top, left + wide - 1, top + tall - 1), fill=(0, 0, 0))
    pen.line((left + wide // 2, top, left + wide // 2, top + tall - 1), fill=(255, 255, 255))
    pen.line((left, top + tall // 2, left + wide - 1, top + tall // 2), fill=(255, 255, 255))
    return marked


def fit(height: int, width: int, lines: int, cols: int) -> tuple[int, int]:
    """The largest picture of `height` x `width` pixels in half-blocks within so many cells, as (lines, cols);
    at least one cell."""
    scale = min(2 * lines / height, cols / width)
    return max(1, min(lines, round(height * scale / 2))), max(1, min(cols, round(width * scale)))
