"""At which size, and in which windows, a trained network is to see images outside a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.config.keys import ConfigError
from engine.config.windows import WindowGrid, two_thirds


@dataclass(frozen=True)
class Seen:
    """What a network is to see of an image and at which size, in pixels; None: the usual."""

    size: tuple[int, int] | None = None
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    def settled(
        self, usual: tuple[int, int], size_problem: Callable[[int, int], str] = lambda height, width: ""
    ) -> tuple[tuple[int, int], WindowGrid]:
        """The size of images, and the windows in them. `size_problem` says why a network cannot see a
        (height, width) at once, "" where it can. Raises ConfigError."""
        for name in ("size", "window", "stride"):
            given = getattr(self, name)
            if given is not None and not _is_size(given):
                raise ConfigError([f"{name}: {given!r} is not a (height, width) in pixels"])
        size, window = self.size or usual, self.window
        if window is None:
            if self.stride is not None:
                raise ConfigError([f"stride: {self.stride} has no effect without a window"])
            problem, key = size_problem(*size), "size"
            grid = WindowGrid()
        else:
            grid = WindowGrid(window, self.stride or two_thirds(window))
            problem, key = size_problem(*window), "window"
            if window[0] > size[0] or window[1] > size[1]:
                told, images = ("{}x{}".format(*each) for each in (window, size))
                problem = f"{told} is larger than the images, {images}; it must be at most size"
            elif grid.gap_problem:
                problem, key = grid.gap_problem, "stride"
        if problem:
            raise ConfigError([f"{key}: {problem}"])
        return size, grid


USUAL = Seen()


def _is_size(given: object) -> bool:
    return (
        isinstance(given, tuple | list)
        and len(given) == 2
        and all(isinstance(side, int) and side >= 1 for side in given)
    )
