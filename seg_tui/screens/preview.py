"""Predictions, looked at: image, ground truth, prediction and error of the samples a run keeps.

Across epochs, and across runs side by side. What is shown follows from a few values (sample, epoch, part of
the picture, ...); a change makes a new `View`, a thread draws it, the newest one is put on the screen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static
from textual.worker import get_current_worker

from engine.store import StoreError
from seg_tui.live import Snapshot
from seg_tui.preview.galleries import RunGallery, find_gallery
from seg_tui.preview.keys import KEYS, OF_PICTURES
from seg_tui.preview.lines import caption, heading, legend_of, place_line, titles, track_line
from seg_tui.preview.look import Box, Look, View
from seg_tui.preview.messages import GalleriesFound, PicturesDrawn, SamplesRanked
from seg_tui.preview.studio import Cancelled, Shown, Studio
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.class_colors import color_depth
from seg_tui.widgets.class_legend import legend_width
from seg_tui.widgets.label_image import RULES, LabelImage
from seg_tui.widgets.wall import Hung, Wall

if TYPE_CHECKING:
    from seg_tui.app import SegTui

TURN_SECONDS = 0.5
"""How long a picture stands while playing or flickering: two redraws a second."""

LEGEND_FROM = 100
"""The width of the screen, in cells, from which the legend is there unasked."""


class PreviewScreen(Screen[None]):
    """The gallery of one run, or of some side by side."""

    DEFAULT_CSS = """
    PreviewScreen {
        #track { height: 1; padding: 0 1; margin-bottom: 1; color: $text-muted; }
        #side { width: auto; height: 1fr; margin: 0 1 0 0; padding: 0 0 0 1; display: none; }
        #side.shown { display: block; }
        #legend { width: auto; height: auto; }
        #place { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        #nothing { display: none; width: 1fr; height: 1fr; padding: 1 2; color: $text-muted; }
        &.-low #track { margin-bottom: 0; }
        &.empty #nothing { display: block; }
        &.empty #body, &.empty #track, &.empty #place { display: none; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = KEYS
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012

    def __init__(self, run_ids: tuple[str, ...]) -> None:
        super().__init__()
        self.run_ids = run_ids
        self.look = Look()
        self.studio = Studio()
        self.shown: Shown | None = None
        self._wanted: View | None = None
        self._legend_asked: bool | None = None
        self._playing: Timer | None = None
        self._flickering: Timer | None = None
        self._turned = False

    @property
    def wall(self) -> Wall:
        return self.query_one(Wall)

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield Static(id="track", markup=False)
        with Horizontal(id="body"):
            yield Wall()
            with VerticalScroll(id="side", can_focus=False):
                yield Static(id="legend", markup=False)
        yield Static("Looking for predictions…", id="nothing", markup=False)
        yield Static(id="place", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(TitleBar).say("preview", "")
        self.add_class("empty")
        self.find()
        self.watch(self.app, "snapshot", self._on_snapshot, init=False)

    # ------------------------------------------------------------------ what there is

    @work(thread=True, exclusive=True, group="find")
    def find(self) -> None:
        """Look up which epochs and samples the runs have kept by now."""
        try:
            store = self.tui.store.get()
            found = tuple(find_gallery(self.tui.workspace, store, run_id) for run_id in self.run_ids)
        except StoreError as error:
            self.post_message(GalleriesFound((), str(error)))
        else:
            self.post_message(GalleriesFound(found))

    def _on_snapshot(self, before: Snapshot, now: Snapshot) -> None:
        for run_id in self.run_ids:
            old, new = before.runs.get(run_id), now.runs.get(run_id)
            if (old and old.epoch, old and old.status) != (new and new.epoch, new and new.status):
                self.find()
                return

    @on(GalleriesFound)
    def keep_galleries(self, message: GalleriesFound) -> None:
        there = [gallery for gallery in message.galleries if not gallery.problem]
        problems = [gallery.problem for gallery in message.galleries if gallery.problem]
        problems += [message.problem] if message.problem else []
        if not there and not self.look.galleries:
            self.query_one("#nothing", Static).update("\n\n".join(problems))
            return
        if message.problem or not self.look.galleries:
            for line in problems:
                self.notify(line, severity="warning", timeout=10)
        if there:
            self.look.keep(there)
            self.remove_class("empty")
            self.refresh_bindings()
            self._show_after_layout()

    # ------------------------------------------------------------------ what is shown

    def _show(self) -> None:
        """Say where one looks, and have it drawn if it is not on the screen."""
        self._tell()
        room = self.wall.size
        view = self.look.view(room.height, room.width, color_depth(self.app))
        pixels = self.tui.graphics
        if view is not None and pixels is not None and pixels.holds(view.lines, view.cols):
            view = replace(view, dots=pixels.cell)
        if view is not None and view != self._wanted:
            self._wanted = view
            self._draw(dict(self.look.galleries), view, self.look.neighbours(view))

    def _show_after_layout(self) -> None:
        """The same when the room for the pictures may have become another."""
        self._tell()
        self.call_after_refresh(self._show)

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

    @on(PicturesDrawn)
    async def put_up(self, message: PicturesDrawn) -> None:
        self.shown = message.shown
        view = self.shown.view
        count = 1 if self.look.full is not None else len(view.panels)
        await self.wall.make_frames(count, view.columns, view.lines, view.cols, self.tui.graphics)
        self._hang()
        self._tell()

    @on(SamplesRanked)
    def keep_rankings(self, message: SamplesRanked) -> None:
        self.look.rankings.update({(ranking.run, ranking.epoch): ranking for ranking in message.rankings})
        self.look.order()
        self._tell()

    def _hang(self) -> None:
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
            here = self.wall.current
            hung[here] = hung[self.look.partner(here)]
        self.wall.hang(hung)

    def _current(self) -> int:
        """The position of the panel that is looked at."""
        return self.wall.current if self.look.full is None else self.look.full

    def _tell(self) -> None:
        """The words around the pictures."""
        look, shown = self.look, self.shown
        if not look.galleries:
            return
        wanted = self.size.width >= LEGEND_FROM if self._legend_asked is None else self._legend_asked
        side = self.query_one("#side")
        side.set_class(wanted and look.full is None, "shown")
        side.styles.width = legend_width(len(look.galleries)) + 3
        self.query_one(TitleBar).say(*heading(look))
        self.query_one("#track", Static).update(track_line(look, self._playing is not None))
        if shown is not None:
            self.query_one("#legend", Static).update(legend_of(look, shown, self.studio))
        self._point_out()

    def _point_out(self) -> None:
        """Mark the cross in all pictures, and say what is there."""
        cross = None if self.look.cross is None else self.look.box.relative(self.look.cross)
        self.wall.mark(cross)
        self.query_one("#place", Static).update(place_line(self.look, self.shown, self.studio))

    def on_resize(self) -> None:
        self._tell()  # the legend comes and goes with the width

    @on(Wall.Resized)
    def fill_wall(self) -> None:
        """The wall may get its room only after `_show_after_layout` looked for it, above all at the start."""
        self._show()

    # ------------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action not in OF_PICTURES:
            return True
        if action in ("score", "slide"):
            return bool(self.look.galleries) and bool(self.look.score)
        return bool(self.look.galleries) and (action != "errors" or len(self.look.galleries) > 1)

    def action_back(self) -> None:
        """Out of the full screen, out of the zoom, out of the screen."""
        if self.look.full is not None:
            self.look.full = None
        elif self.look.box.size < 1:
            self.look.box = Box()
        else:
            self.app.pop_screen()
            return
        self._show_after_layout()

    def action_epoch(self, step: int) -> None:
        self.look.go_to_epoch(step)
        self._show()

    def action_best(self) -> None:
        """Each run at the kept epoch nearest to its best, or all at the same epoch again."""
        self.look.each_best = not self.look.each_best
        self._show()

    def action_play(self) -> None:
        """Go through the epochs, from the start when at the end; again: stop."""
        if self._playing is not None:
            self._playing.stop()
            self._playing = None
        else:
            if self.look.epoch == self.look.epochs[-1]:
                self.look.go_to_epoch(-len(self.look.epochs))
            self._playing = self.set_interval(TURN_SECONDS, self._play_on)
        self._show()

    def _play_on(self) -> None:
        if self.look.epoch == self.look.epochs[-1]:
            self.action_play()
            return
        self.action_epoch(1)

    def action_sample(self, step: int) -> None:
        self.look.go_to_sample(step)
        self._show()

    def action_worst(self) -> None:
        """Samples with the lowest Dice first, the worst of them shown; again: by name."""
        self.look.worst_first = not self.look.worst_first
        self.look.order()
        if self.look.worst_first:
            self.look.sample = self.look.samples[0]
        self._show()

    def action_errors(self) -> None:
        """Of several runs: their errors instead of their predictions."""
        self.look.errors = not self.look.errors
        self._show()

    def action_score(self, step: int) -> None:
        """Another out-of-distribution score; the share that is accepted stays."""
        self.look.score_place += step
        self._show()

    def action_slide(self, step: int) -> None:
        """Move the threshold: what lies above it is grey in the prediction."""
        self.look.slide(step)
        self._show()

    def action_overlay(self, step: float) -> None:
        self.look.overlay = round(min(max(self.look.overlay + step, 0.0), 1.0), 1)
        self._show()

    def action_rule(self) -> None:
        """How a cell chooses among the classes it covers: rare ones first, the most, the middle."""
        self.look.rule = RULES[(RULES.index(self.look.rule) + 1) % len(RULES)]
        self._show()

    def action_full(self) -> None:
        self.look.full = self._current() if self.look.full is None else None
        self._show_after_layout()

    def action_legend(self) -> None:
        self._legend_asked = not self.query_one("#side").has_class("shown")
        self._show_after_layout()

    def action_flicker(self) -> None:
        """Two pictures in one place, in turns: two runs, or prediction and truth."""
        if self._flickering is not None:
            self._flickering.stop()
            self._flickering, self._turned = None, False
        else:
            self._flickering = self.set_interval(TURN_SECONDS, self._flick)
        self.look.flicker = self._flickering is not None
        self._hang()
        self._show()

    def _flick(self) -> None:
        self._turned = not self._turned
        self._hang()

    def action_rerun(self) -> None:
        self.tui.show_launch(self.run_ids[0])

    # ------------------------------------------------------------------ the cross

    def action_move(self, down: int, right: int) -> None:
        """Move the cross by pixels of the screen; the part that is looked at follows."""
        picture = next((frame.picture for frame in self.wall.frames if frame.picture is not None), None)
        if picture is not None:
            self.look.move(down, right, 2 * picture.rows, picture.cols)
            self._point_out()
            self._show()

    def action_zoom(self, factor: float) -> None:
        self.look.zoom(factor)
        self._show()

    @on(LabelImage.Pointed)
    def point(self, message: LabelImage.Pointed) -> None:
        self.look.cross = self.look.box.absolute(message.place)
        self._point_out()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        if self.look.galleries:
            self.action_zoom(0.5)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        if self.look.galleries:
            self.action_zoom(2)
