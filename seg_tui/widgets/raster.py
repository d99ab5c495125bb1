"""Lines as dots of braille: two columns and four rows of dots in each cell of the terminal."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

ACROSS, DOWN = 2, 4
"""Dots of a cell."""

_FAR = 20.0
"""How far beyond the raster a line is followed, in its heights."""

_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""What each dot of a cell adds to U+2800 (The Unicode Standard, "Braille Patterns")."""


SHARED = -2
"""The mark of a cell that several lines go through."""


class Raster:
    """Dots of `width` x `height` cells. Where lines meet, a cell has the dots of all of them, and as it can
    have but one colour, the mark SHARED."""

    def __init__(self, width: int, height: int) -> None:
        self.cells: dict[int, npt.NDArray[np.bool_]] = {}
        """The cells that the line of a mark goes through."""
        self.dots = np.zeros((DOWN * height, ACROSS * width), dtype=bool)
        self.marks = np.full((height, width), -1, dtype=np.int64)

    def line(self, x: Floats, y: Floats, mark: int) -> None:
        """Draw through points in units of the raster: x in [0, 1] from left to right, y in [0, 1] from bottom
        to top. Both have shape [N] with x rising; NaN in y is a gap, a point alone a dot."""
        rows, columns = self.dots.shape
        # The way to a point far beyond is not drawn dot by dot.
        y = np.clip(y, -_FAR, 1 + _FAR)
        x, y, part = _inside(x * (columns - 1), (1 - y) * (rows - 1), columns - 1)
        if len(x) > 4 * columns:
            x, y, part = _decimated(x, y, part)
        if not len(x):
            return
        steps = np.ceil(np.maximum(np.abs(np.diff(x)), np.abs(np.diff(y)))).astype(np.int64)
        steps[part[1:] != part[:-1]] = 0
        # Each point is followed by the dots on the way to the next one.
        counts = np.append(np.maximum(steps, 1), 1)
        begins = np.repeat(np.cumsum(counts) - counts, counts)
        share = (np.arange(len(begins)) - begins) / np.repeat(counts, counts)
        to_x, to_y = np.append(np.diff(x), 0.0), np.append(np.diff(y), 0.0)
        column = np.rint(np.repeat(x, counts) + share * np.repeat(to_x, counts)).astype(np.int64)
        row = np.rint(np.repeat(y, counts) + share * np.repeat(to_y, counts)).astype(np.int64)
        seen = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        row, column = row[seen], column[seen]
        fresh = np.zeros_like(self.marks, dtype=bool)
        fresh[row // DOWN, column // ACROSS] = True
        self.dots[row, column] = True
        self.marks[fresh] = np.where(self.marks[fresh] == -1, mark, SHARED)
        self.cells[mark] = fresh

    @property
    def is_shared(self) -> bool:
        """Whether any cell is."""
        return bool((self.marks == SHARED).any())

    def inks(self) -> npt.NDArray[np.int64]:
        """The marks as they are drawn: where lines run together for several columns, the first of these is
        SHARED and the others have the marks of the lines in turn; -1 is no line."""
        inks = self.marks.copy()
        row, column = np.nonzero(self.marks == SHARED)
        if not len(row):
            return inks
        together = (self.marks == SHARED).any(axis=0)
        apart = np.maximum.accumulate(np.where(together, -1, np.arange(len(together))))
        turn = column - apart[column] - 2
        through = np.stack([cells[row, column] for cells in self.cells.values()])
        wanted = turn % through.sum(axis=0) + 1
        line = np.argmax(through & (np.cumsum(through, axis=0) == wanted), axis=0)
        inks[row, column] = np.where(turn < 0, SHARED, np.array(list(self.cells))[line])
        return inks

    def spots(self, mark: int, every: int, shift: int) -> list[tuple[int, int]]:
        """Row and column of cells of a line, one in each `every` columns; the last one of a shorter line.
        Cells that it shares are taken only where it has none of its own."""
        cells = self.cells[mark]
        own = cells & (self.marks == mark)
        through, alone = np.flatnonzero(cells.any(axis=0)), np.flatnonzero(own.any(axis=0))
        slots = through[(through - shift) % every == 0]
        found = []
        for slot in slots if len(slots) else through[-1:]:
            near = alone[(alone >= slot) & (alone < slot + every)]
            column, chosen = (near[0], own) if len(near) else (slot, cells)
            found.append((int(np.argmax(chosen[:, column])), int(column)))
        return found

    def codes(self) -> npt.NDArray[np.int64]:
        """The code points of the cells [height, width]; a blank's where there is no dot."""
        height, width = self.marks.shape
        cells = self.dots.reshape(height, DOWN, width, ACROSS)
        bits = np.einsum("rdca,da->rc", cells, _BITS)
        return np.where(bits == 0, ord(" "), 0x2800 + bits)

    def characters(self) -> list[list[str]]:
        """The cells as characters, row by row."""
        return [[chr(code) for code in row] for row in self.codes().tolist()]


def _inside(x: Floats, y: Floats, right: float) -> tuple[Floats, Floats, Floats]:
    """The points that are not NaN from x 0 to `right`, cut off where the line crosses those; and for each
    the number of the unbroken part that it belongs to."""
    part = np.cumsum(np.isnan(y))
    known = ~np.isnan(y)
    x, y, part = x[known], y[known], part[known]
    first, last = np.searchsorted(x, 0.0, "left"), np.searchsorted(x, right, "right")
    pieces_x, pieces_y, pieces_part = [x[first:last]], [y[first:last]], [part[first:last]]
    for inner, outer, edge, place in ((first, first - 1, 0.0, 0), (last - 1, last, right, -1)):
        if (
            0 <= inner < len(x)
            and 0 <= outer < len(x)
            and part[inner] == part[outer]
            and x[inner] != x[outer]
        ):
            share = (edge - x[outer]) / (x[inner] - x[outer])
            crossing = y[outer] + share * (y[inner] - y[outer])
            at = 0 if place == 0 else len(pieces_x)
            pieces_x.insert(at, np.array([edge]))
            pieces_y.insert(at, np.array([crossing]))
            pieces_part.insert(at, part[[inner]])
    return np.concatenate(pieces_x), np.concatenate(pieces_y), np.concatenate(pieces_part).astype(np.float64)


def _decimated(x: Floats, y: Floats, part: Floats) -> tuple[Floats, Floats, Floats]:
    """Of the points in each column of dots the first, the lowest, the highest and the last."""
    column = np.floor(x)
    fresh = (np.diff(column) != 0) | (np.diff(part) != 0)
    begins = np.concatenate([[0], np.flatnonzero(fresh) + 1])
    ends = np.append(begins[1:], len(x)) - 1
    lowest, highest = np.minimum.reduceat(y, begins), np.maximum.reduceat(y, begins)
    points = np.stack([y[begins], lowest, highest, y[ends]], axis=1)
    return np.repeat(column[begins], 4), points.ravel(), np.repeat(part[begins], 4)
