"""The video that a run has made, played in the terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from PIL import Image
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from engine.video.reading import VideoError
from seg_tui.preview.footage import Reel, Shot
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.label_image import HALF_BLOCKS, LabelImage, Picture, fit, halfblock_strips, photo_at

if TYPE_CHECKING:
    from seg_tui.app import SegTui

MOST_A_SECOND = 10
"""Pictures that are drawn while playing; a terminal takes no more. Steps show every frame."""

JUMP_SECONDS = 5


class Drawn(Message):
    """A frame is ready to be seen; `heard` is set once it is on the screen."""

    def __init__(self, order: Order, shot: Shot, picture: Picture) -> None:
        super().__init__()
        self.order, self.shot, self.picture = order, shot, picture


class Over(Message):
    """Nothing further comes; `problem` says why, "" at an end."""

    def __init__(self, order: Order, problem: str = "") -> None:
        super().__init__()
        self.order, self.problem = order, problem


class Order:
    """What a thread is asked for; the next one `ends` it."""

    def __init__(self) -> None:
        self.ends = threading.Event()
        self.shown = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Whether it is still wanted after so long."""
        return not self.ends.wait(max(0.0, seconds))


class Room(Container):
    """Where the video is shown."""

    class Resized(Message):
        """There is more room, or less."""

    def on_resize(self) -> None:
        self.post_message(self.Resized())


class VideoScreen(Screen[None]):
    """Plays footage: a thread decodes and draws one frame at a time, and waits until it is on the screen."""

    DEFAULT_CSS = """
    VideoScreen {
        #place { height: 1; padding: 0 1; }
        #problem { height: auto; max-height: 3; padding: 0 1; color: $text-warning; }
        Room { width: 1fr; height: 1fr; margin: 0 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.pop_screen", "back", key_display="esc"),
        Binding("q", "app.pop_screen", "back", show=False),
        Binding("space", "play", "play", tooltip="Play; again: pause"),
        Binding("P", "play", "play", show=False, tooltip="Play; again: pause"),
        Binding("comma", "back", "frame", key_display=", .", tooltip="One frame back"),
        Binding("full_stop", "step", "next frame", show=False, tooltip="One frame on"),
        Binding("left", f"jump(-{JUMP_SECONDS})", f"{JUMP_SECONDS} s", key_display="← →", tooltip="5 s back"),
        Binding("right", f"jump({JUMP_SECONDS})", "on", show=False, tooltip="5 s on"),
        Binding("home", "jump(-1_000_000)", "start", key_display="home end", tooltip="To the first frame"),
        Binding("end", "jump(1_000_000)", "end", show=False, tooltip="To the last frame"),
        Binding("question_mark", "app.help", "help", key_display="?", tooltip="All keys"),
    ]

    def __init__(self, name: str, find: Callable[[], tuple[Path, ...]]) -> None:
        """`find` tells the files that there are by now, in order."""
        super().__init__()
        self._run_name = name
        self._reel = Reel(find)
        self._order = Order()
        self._room = (0, 0)
        self.shot: Shot | None = None
        self.playing = False

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield Static(id="place", markup=False)
        with Room():
            yield LabelImage(self.tui.graphics)
        yield Static(id="problem", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(TitleBar).say("preview", self._run_name)
        self.query_one(LabelImage).focus()

    def on_unmount(self) -> None:
        self._order.ends.set()

    @on(Room.Resized)
    def fill_room(self) -> None:
        """Draw what is looked at, the first frame to begin with, for the room there is."""
        size = self.query_one(Room).size
        if self._room != (size.height - 1, size.width):
            self._room = (size.height - 1, size.width)
            shot = self.shot
            if not self.playing:
                self._ask(lambda: shot or self._reel.go_to(Fraction(0)))
        self._tell()

    # ------------------------------------------------------------------ keys

    def action_play(self) -> None:
        if self.playing:
            self._stop()
        else:
            self.playing = True
            self._play(self._new_order())
        self._tell()

    def action_step(self) -> None:
        self._ask(self._reel.next)

    def action_back(self) -> None:
        self._ask(self._reel.back)

    def action_jump(self, seconds: int) -> None:
        at = self.shot.seconds if self.shot is not None else Fraction(0)
        self._ask(lambda: self._reel.go_to(at + seconds))

    def _ask(self, give: Callable[[], Shot | None]) -> None:
        """Pause, and show what a thread gets, which is nothing before the first frame."""
        self._stop()
        self._tell()
        self._show(self._new_order(), give)

    def _stop(self) -> None:
        self._order.ends.set()
        self.playing = False

    def _new_order(self) -> Order:
        self._order.ends.set()
        self._order = Order()
        return self._order

    # ------------------------------------------------------------------ threads

    @work(thread=True)
    def _show(self, order: Order, give: Callable[[], Shot | None]) -> None:
        try:
            shot = give()
        except VideoError as error:
            self.post_message(Over(order, str(error)))
            return
        if shot is not None:
            self.post_message(Drawn(order, shot, self._picture(shot)))

    @work(thread=True)
    def _play(self, order: Order) -> None:
        """Show frames when they are due, in order; at the end from the start again.

        Those that come faster than a terminal can show them are left out. Where decoding is slower than the
        video, it takes longer.
        """
        begun, drawn = 0.0, Fraction(-1)
        try:
            shot = self._reel.next() or self._reel.go_to(Fraction(0))
            while shot is not None and not order.ends.is_set():
                late = time.monotonic() - begun - float(shot.seconds)
                if begun == 0.0 or late > 0:
                    begun = time.monotonic() - float(shot.seconds)
                elif not order.wait(-late):
                    return
                if drawn < 0 or shot.seconds - drawn >= Fraction(1, MOST_A_SECOND):
                    drawn = shot.seconds
                    order.shown.clear()
                    self.post_message(Drawn(order, shot, self._picture(shot)))
                    while not order.shown.wait(0.1):
                        if order.ends.is_set():
                            return
                shot = self._reel.next()
        except VideoError as error:
            self.post_message(Over(order, str(error)))
        else:
            self.post_message(Over(order))

    def _picture(self, shot: Shot) -> Picture:
        """A frame in as many cells as there are."""
        height, width = shot.pixels.shape[:2]
        lines, cols = fit(height, width, max(1, self._room[0]), max(1, self._room[1]))
        graphics = self.tui.graphics
        if graphics is None or not graphics.holds(lines, cols):
            rgb = photo_at(shot.pixels, HALF_BLOCKS[0] * lines, HALF_BLOCKS[1] * cols)
            return Picture(tuple(halfblock_strips(rgb)), cols, lines)
        rgb = photo_at(shot.pixels, graphics.cell[0] * lines, graphics.cell[1] * cols)
        return Picture((), cols, lines, image=Image.fromarray(rgb))

    # ------------------------------------------------------------------ what they say

    @on(Drawn)
    def put_up(self, message: Drawn) -> None:
        if message.order is self._order:
            self.shot = message.shot
            height, width = message.shot.pixels.shape[:2]
            self.query_one(LabelImage).show(message.picture, self._run_name, f"{width}x{height}")
            self.query_one("#problem", Static).update("")
            self._tell()
        self.call_after_refresh(message.order.shown.set)

    @on(Over)
    def end(self, message: Over) -> None:
        if message.order is self._order:
            self.playing = False
            self.query_one("#problem", Static).update(message.problem)
            self._tell()

    def _tell(self) -> None:
        at = self.shot.seconds if self.shot is not None else Fraction(0)
        begin, end = self._reel.start, self._reel.end
        self.query_one("#place", Static).update(
            place_line(float(at - begin), float(end - begin), self.playing, max(20, self.size.width - 2))
        )


def place_line(at: float, length: float, playing: bool, width: int) -> Text:
    """How far one is: times and a bar of what is left of the width."""
    text = Text(no_wrap=True)
    text.append("playing" if playing else "paused ", style="bold" if playing else "")
    text.append(f"  {told_time(at)}", style="bold")
    text.append(f" of {told_time(length)}  ")
    room = max(5, width - text.cell_len)
    done = min(room - 1, int(at / length * room)) if length > 0 else 0
    text.append("━" * done)
    text.append("●", style="bold")
    text.append("─" * (room - 1 - done), style="dim")
    return text


def told_time(seconds: float) -> str:
    """Minutes and seconds, such as 1:02.4."""
    tenths = round(max(0.0, seconds) * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02}.{tenths % 10}"
