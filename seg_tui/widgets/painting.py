"""Cells as arrays, a code point and an ink each, and the segments that they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from rich.style import Style

from seg_tui.widgets.raster import SHARED, Raster

Codes: TypeAlias = npt.NDArray[np.int64]


class Canvas:
    """Cells [`rows`, `columns`] on a `ground`. What is put later lies on top."""

    def __init__(self, columns: int, rows: int, ground: Style) -> None:
        self.codes: Codes = np.full((rows, columns), ord(" "), dtype=np.int64)
        self._inks: Codes = np.zeros_like(self.codes)
        self._ground = ground
        self._styles = [ground]

    def row(self, row: int, character: str, style: Style) -> None:
        self.codes[row], self._inks[row] = ord(character), self._ink(style)

    def column(self, column: int, character: str, style: Style) -> None:
        self.codes[:, column], self._inks[:, column] = ord(character), self._ink(style)

    def cell(self, row: int, column: int, character: str, style: Style) -> None:
        self.codes[row, column], self._inks[row, column] = ord(character), self._ink(style)

    def dots(self, raster: Raster, styles: Sequence[Style], shared: Style) -> None:
        """The dots of a raster, each line in the style of its mark; `shared` is that of cells of several."""
        codes, marks = raster.codes(), raster.inks()
        there = marks != -1
        inks = np.array([self._ink(style) for style in styles], dtype=np.int64)
        own = np.where(marks == SHARED, self._ink(shared), inks[np.maximum(marks, 0)])
        self.codes[there], self._inks[there] = codes[there], own[there]

    def segments(self) -> list[list[Segment]]:
        """The rows, each as few segments as it has changes of ink."""
        rows = []
        for codes, inks in zip(self.codes, self._inks, strict=True):
            text = codes.astype("<u4").tobytes().decode("utf-32-le")
            ends = [*(np.flatnonzero(np.diff(inks)) + 1).tolist(), len(text)]
            begins = [0, *ends[:-1]]
            rows.append(
                [
                    Segment(text[begin:end], self._styles[inks[begin]])
                    for begin, end in zip(begins, ends, strict=True)
                ]
            )
        return rows

    def _ink(self, style: Style) -> int:
        style = self._ground + style
        if style not in self._styles:
            self._styles.append(style)
        return self._styles.index(style)
