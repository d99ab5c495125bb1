"""Whether a network sees an image as a whole or in sliding windows, which lie where: keys that several
sections have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import BeforeValidator

from engine.config.fields import Section, option

WHOLE = "none"
"""What `window` is where the network sees whole images."""

AUTO = "auto"
"""What `stride` is where it follows from the window."""

_SIZE = "[1-9][0-9]{0,3}x[1-9][0-9]{0,3}"


def size_word(value: Any) -> Any:
    """A size as it is written, HEIGHTxWIDTH, also where it came as a list or with other signs."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return f"{value[0]}x{value[1]}"
    return value.replace("×", "x").replace(" ", "") if isinstance(value, str) else value


def two_thirds(window: tuple[int, int]) -> tuple[int, int]:
    """The usual way from one window to the next, (down, right)."""
    return round(2 * window[0] / 3), round(2 * window[1] / 3)


def sides(word: str) -> tuple[int, int]:
    """(height, width) of a size as it is written."""
    height, _, width = word.partition("x")
    return int(height), int(width)


SizeWord = Annotated[str, BeforeValidator(size_word)]


class SlidingWindowKeys(Section):
    """Keys of sections whose network may see images of `data.size` in sliding windows."""

    window: SizeWord = option(
        WHOLE,
        "Sliding window: the network sees parts of this size, height x width, of an image of data.size, and "
        "logits are averaged where they overlap; none: whole images",
        unit="pixels",
        form="none or HEIGHTxWIDTH such as 512x1024",
        pattern=f"^({WHOLE}|{_SIZE})$",
    )
    stride: SizeWord = option(
        AUTO,
        "Of window: from one to the next, height x width; auto: two thirds of the window",
        unit="pixels",
        form="auto or HEIGHTxWIDTH such as 341x683",
        pattern=f"^({AUTO}|{_SIZE})$",
    )

    @property
    def window_size(self) -> tuple[int, int] | None:
        """(height, width) of the windows; None: whole images."""
        return None if self.window == WHOLE else sides(self.window)

    @property
    def window_stride(self) -> tuple[int, int] | None:
        """(down, right) from one window to the next; None: whole images."""
        if self.window_size is None or self.stride != AUTO:
            return None if self.window_size is None else sides(self.stride)
        return two_thirds(self.window_size)

    @property
    def stride_problem(self) -> str:
        """Why windows cannot lie that far apart; "" where they can."""
        size, stride = self.window_size, self.window_stride
        if size is None or stride is None:
            return "" if self.stride == AUTO else f"{self.stride} has no effect without a window"
        return WindowGrid(size, stride).gap_problem

    @property
    def window_fields(self) -> dict[str, Any]:
        """What events and rows say of it: both sizes, or "" for whole images."""
        return WindowGrid.of(self).fields


@dataclass(frozen=True)
class WindowGrid:
    """Windows of `size` (height, width), `stride` (down, right) apart; `size` None: the whole image.

    The last window of a row or column is shifted back to the border, and a window is no larger than the
    image, as in mmsegmentation's sliding inference.
    """

    size: tuple[int, int] | None = None
    stride: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, keys: SlidingWindowKeys) -> Self:
        """Those of a section of the config."""
        return cls(keys.window_size, keys.window_stride or (0, 0))

    @property
    def fields(self) -> dict[str, Any]:
        """What events and rows say of it: both sizes, or "" for whole images."""
        told = ("", "") if self.size is None else ("{}x{}".format(*side) for side in (self.size, self.stride))
        return dict(zip(("window_size", "window_stride"), told, strict=True))

    @property
    def gap_problem(self) -> str:
        """Why windows cannot lie that far apart; "" where they can."""
        size, stride = self.size, self.stride
        if size is None or (stride[0] <= size[0] and stride[1] <= size[1]):
            return ""
        told, window = ("{}x{}".format(*each) for each in (stride, size))
        return f"{told} leaves gaps between windows of {window}; it must be at most that"

    def count(self, size: tuple[int, int]) -> int:
        """How many windows an image of `size` (height, width) has."""
        rows, columns = self.places(size)
        return len(rows) * len(columns)

    def places(self, size: tuple[int, int]) -> tuple[list[slice], list[slice]]:
        """The rows and the columns of an image of `size` that windows show; every combination is one."""
        down, right = zip(size, self.size or size, self.stride, strict=True)
        return _along(*down), _along(*right)

    def overlaps(self, size: tuple[int, int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """How many windows show each row and each column of an image of `size`: a pixel is shown by the
        product of the two."""
        down, right = zip(size, self.size or size, self.stride, strict=True)
        return _overlaps(*down), _overlaps(*right)


def _along(side: int, window: int, stride: int) -> list[slice]:
    """Where windows lie along a side, in its pixels."""
    window = min(window, side)
    last = side - window
    firsts = [min(number * stride, last) for number in range(-(-last // stride) + 1)] if last else [0]
    return [slice(first, first + window) for first in firsts]


@lru_cache
def _overlaps(side: int, window: int, stride: int) -> tuple[float, ...]:
    """How many windows show each pixel of a side."""
    places = _along(side, window, stride)
    return tuple(float(sum(place.start <= at < place.stop for place in places)) for at in range(side))
