"""Pictures on a wall: as many frames as there are pictures, in a grid without gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.containers import Container
from textual.message import Message

from seg_tui.graphics import Graphics
from seg_tui.widgets.label_image import LabelImage, Picture


@dataclass(frozen=True, eq=False)
class Hung:
    """What hangs in a frame; `problem` says why there is no picture."""

    picture: Picture | None
    title: str
    value: str = ""
    problem: str = ""


class Wall(Container):
    """Frames side by side and below each other; one of them has the focus."""

    DEFAULT_CSS = """
    Wall { layout: grid; grid-gutter: 1 2; width: 1fr; height: 1fr; margin: 0 1; }
    """

    class Resized(Message):
        """There is more room for pictures, or less."""

    def on_resize(self) -> None:
        self.post_message(self.Resized())

    @property
    def frames(self) -> list[LabelImage]:
        return list(self.query(LabelImage))

    async def make_frames(
        self, count: int, columns: int, lines: int, cols: int, pixels: Graphics | None
    ) -> None:
        """So many frames in a grid of `columns`, each for a caption and `lines` x `cols` cells below it."""
        frames = self.frames
        for frame in frames[count:]:
            await frame.remove()
        if len(frames) < count:
            await self.mount_all(LabelImage(pixels) for _ in range(count - len(frames)))
        self.styles.grid_size_columns = columns
        self.styles.grid_columns = str(cols)
        self.styles.grid_rows = str(lines + 1)
        if not isinstance(self.screen.focused, LabelImage):
            self.frames[min(2, count - 1)].focus()

    def hang(self, pictures: Sequence[Hung]) -> None:
        """One in each frame. Nothing happens while the frames are being made for another number."""
        frames = self.frames
        if len(frames) == len(pictures):
            for frame, hung in zip(frames, pictures, strict=True):
                frame.show(hung.picture, hung.title, hung.value, hung.problem)

    def mark(self, cross: tuple[float, float] | None) -> None:
        """The cross at the same place of all pictures, as (down, right) shares of them."""
        for frame in self.frames:
            frame.cross = cross

    @property
    def current(self) -> int:
        """The position of the frame in focus; of the first prediction when it is none in particular."""
        frames, focused = self.frames, self.screen.focused
        if isinstance(focused, LabelImage) and focused in frames:
            return frames.index(focused)
        return min(2, len(frames) - 1)
