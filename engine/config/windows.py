"""Whether a network sees an image as a whole or in sliding windows: keys that several sections have."""

from __future__ import annotations

from typing import Annotated, Any

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
        height, width = self.window_size
        return round(2 * height / 3), round(2 * width / 3)

    @property
    def stride_problem(self) -> str:
        """Why windows cannot lie that far apart; "" where they can."""
        size, stride = self.window_size, self.window_stride
        if size is None or stride is None:
            return "" if self.stride == AUTO else f"{self.stride} has no effect without a window"
        if stride[0] <= size[0] and stride[1] <= size[1]:
            return ""
        return f"{self.stride} leaves gaps between windows of {self.window}; it must be at most that"

    @property
    def window_fields(self) -> dict[str, Any]:
        """What events and rows say of it: both sizes, or "" for whole images."""
        stride = self.window_stride
        if stride is None:
            return {"window_size": "", "window_stride": ""}
        return {"window_size": self.window, "window_stride": "{}x{}".format(*stride)}
