"""The wall of a preview: what is looked at, drawn by a thread and hung up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textual import work
from textual.timer import Timer
from textual.worker import get_current_worker

from seg_tui.graphics import Graphics
from seg_tui.preview.galleries import RunGallery
from seg_tui.preview.lines import caption, titles
from seg_tui.preview.look import Look
from seg_tui.preview.messages import PicturesDrawn, SamplesRanked
from seg_tui.preview.studio import Cancelled, Shown, Studio
from seg_tui.preview.view import Room, View, neighbours_of, partner_of, view_of
from seg_tui.widgets.class_colors import color_depth
from seg_tui.widgets.wall import Hung, Wall

TURN_SECONDS = 0.5
"""How long a picture stands while playing or flickering: two redraws a second."""


class DrawnWall(Wall):
    """A wall that shows what a `look` looks at. `shown` is what hangs there by now, None at first and when a
    run of it is not looked at any more. `room` is what there is for the pictures once all has its place,
    which may be before the wall has that size.

    A change of the look makes a new `View` and a thread draws it. The screen hears `PicturesDrawn` and has
    the newest put up while it says the words around it: a layout of its own would send pictures twice.
    """

    def __init__(self, look: Look, graphics: Callable[[], Graphics | None]) -> None:
        super().__init__()
        self.look = look
        self.studio = Studio()
        self._hung: Shown | None = None
        self.room = Room()
        self._graphics = graphics
        self._wanted: View | None = None
        self._flickering: Timer | None = None
        self._turned = False

    @property
    def shown(self) -> Shown | None:
        hung = self._hung
        if hung is None or any(panel.run not in self.look.galleries for panel in hung.view.panels):
            return None
        return hung

    @property
    def looked_at(self) -> int:
        """The position of the panel that is looked at."""
        return self.current if self.look.full is None else self.look.full

    def draw(self) -> None:
        """Have drawn what is looked at, if it does not hang there already."""
        view = view_of(self.look, self.room.lines, self.room.cols, color_depth(self.app))
        pixels = self._graphics()
        if view is not None and pixels is not None and pixels.holds(view.lines, view.cols):
            view = replace(view, dots=pixels.cell)
        if view is not None and view != self._wanted:
            self._wanted = view
            self._draw(dict(self.look.galleries), view, neighbours_of(self.look, view))

    def files_changed(self) -> None:
        """What hangs there may look otherwise now: the next `draw` is to see."""
        self._wanted = None

    @work(thread=True, exclusive=True, group="draw")
    def _draw(self, galleries: dict[str, RunGallery], view: View, neighbours: list[View]) -> None:
        worker = get_current_worker()

        def check() -> None:
            if worker.is_cancelled:
                raise Cancelled

        try:
            self.post_message(PicturesDrawn(self.studio.draw(galleries, view, check)))
            wanted = sorted({(p.run, p.epoch) for p in view.panels if p.epoch is not None})
            kept = [(run, epoch) for run, epoch in wanted if epoch in galleries[run].files]
            rankings = tuple(self.studio.rank(galleries[run], epoch, check) for run, epoch in kept)
            self.post_message(SamplesRanked(rankings))
            for neighbour in neighbours:
                self.studio.draw(galleries, neighbour, check)
        except Cancelled:
            pass

    async def put_up(self, shown: Shown) -> None:
        """Hang pictures, in frames that are made for them where others were. Those that were wanted earlier
        may come after what is wanted now: a thread may be at its last picture when another begins."""
        if shown.view != self._wanted:
            return
        self._hung, view = shown, shown.view
        if self.shown is None:
            return
        count = 1 if self.look.full is not None else len(view.panels)
        await self.make_frames(count, view.columns, view.lines, view.cols, self._graphics())
        self._hang_shown()

    def _hang_shown(self) -> None:
        """Put the pictures up; one that flickers shows its partner every other turn."""
        shown = self.shown
        if shown is None:
            return
        names = titles(shown.view.panels, self.look)
        hung = [
            Hung(drawn.picture, name, caption(drawn, shown, self.look), drawn.problem)
            for drawn, name in zip(shown.drawn, names, strict=True)
        ]
        if self.look.full is not None:
            hung = [hung[-1 if self._turned else 0]]
        elif self._turned:
            here = self.current
            partner = partner_of(self.look, here)
            if max(here, partner) < len(hung):  # other runs may have come, whose pictures are not there yet
                hung[here] = hung[partner]
        self.hang(hung)

    def flicker(self) -> None:
        """Two pictures in one place, in turns: two runs, or prediction and truth; again: stop."""
        if self._flickering is not None:
            self._flickering.stop()
            self._flickering, self._turned = None, False
        else:
            self._flickering = self.set_interval(TURN_SECONDS, self._flick)
        self.look.flicker = self._flickering is not None
        self._hang_shown()
        self.draw()

    def _flick(self) -> None:
        self._turned = not self._turned
        self._hang_shown()
