"""Predictions, looked at: image, ground truth, prediction and error of the samples a run keeps.

Across epochs, and across runs side by side. What is shown follows from a few values (sample, epoch, part of
the picture, ...), the `Look`: keys change it, the wall has it drawn, the words around tell of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from engine.store import NoSuchRun, RunSummary, StoreError
from engine.video.reading import VideoError
from seg_tui.acting import Acting
from seg_tui.live import Snapshot
from seg_tui.preview.drawn_wall import TURN_SECONDS, DrawnWall
from seg_tui.preview.footage import footage_of
from seg_tui.preview.galleries import RunGallery, find_gallery
from seg_tui.preview.keys import KEYS, OF_PICTURES, OF_SCORES
from seg_tui.preview.lines import heading, legend_of, place_line, track_line
from seg_tui.preview.look import Box, Look
from seg_tui.preview.messages import GalleriesFound, PicturesDrawn, SamplesRanked
from seg_tui.preview.view import LEGEND_GAP, legend_height, room_for
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.class_legend import legend_width
from seg_tui.widgets.label_image import LabelImage
from seg_tui.widgets.wall import Wall

LEGEND_FROM = 100
"""The width of the screen, in cells, from which the legend is there unasked."""


class PreviewScreen(Acting):
    """The gallery of one run, or of some side by side."""

    DEFAULT_CSS = """
    PreviewScreen {
        #track { height: 1; padding: 0 1; margin-bottom: 1; color: $text-muted; }
        #side { width: auto; height: 1fr; margin: 0 1 0 0; padding: 0 0 0 1; display: none; }
        #side.shown { display: block; }
        #body.stacked { layout: vertical; }
        #body.stacked #side { margin: 1 0 0 0; }
        #legend { width: auto; height: auto; }
        #place { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        #nothing { display: none; width: 1fr; height: 1fr; padding: 1 2; color: $text-muted; }
        &.-low #track { margin-bottom: 0; }
        &.empty #nothing { display: block; }
        &.empty #body, &.empty #track, &.empty #place { display: none; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = KEYS

    def __init__(self, run_ids: tuple[str, ...]) -> None:
        super().__init__()
        self.run_ids = run_ids
        self.look = Look()
        self._legend_asked: bool | None = None
        self._playing: Timer | None = None

    @property
    def wall(self) -> DrawnWall:
        return self.query_one(DrawnWall)

    def targets(self) -> Sequence[RunSummary]:
        """The first of the runs, with whose config another may begin."""
        return [run for run_id in self.run_ids[:1] if (run := self.tui.snapshot.runs.get(run_id))]

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield Static(id="track", markup=False)
        with Horizontal(id="body"):
            yield DrawnWall(self.look, lambda: self.tui.graphics)
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
        found: list[RunGallery] = []
        gone: list[str] = []
        try:
            store = self.tui.store.get()
            for run_id in self.run_ids:
                try:
                    found.append(find_gallery(self.tui.workspace, store, run_id))
                except NoSuchRun as error:
                    gone.append(str(error))
        except (StoreError, OSError) as error:
            self.post_message(GalleriesFound((), str(error)))
        else:
            self.post_message(GalleriesFound(tuple(found), "" if found else "\n".join(gone)))

    def _on_snapshot(self, before: Snapshot, now: Snapshot) -> None:
        if any(_may_show_more(before.runs.get(run_id), now.runs.get(run_id)) for run_id in self.run_ids):
            self.find()

    @on(GalleriesFound)
    def keep_galleries(self, message: GalleriesFound) -> None:
        if len(message.galleries) == 1 and message.galleries[0].video:
            gallery = message.galleries[0]
            self.once_on_top(lambda: self.app.switch_screen(self._video_of(gallery)))
            return
        there = [gallery for gallery in message.galleries if not gallery.problem]
        problems = [gallery.problem for gallery in message.galleries if gallery.problem]
        problems += [message.problem] if message.problem else []
        if not there and not self.look.galleries:
            self.query_one("#nothing", Static).update("\n\n".join(problems))
            return
        if message.problem or not self.look.galleries:
            self._tell_missing(message.galleries, problems)
        if there:
            ids = {gallery.id for gallery in there}
            if lost := [gallery.name for gallery in self.look.galleries.values() if gallery.id not in ids]:
                self.notify(f"no predictions any more: {', '.join(lost)}", severity="warning", timeout=10)
            self.look.keep(there)
            self.wall.files_changed()
            self.remove_class("empty")
            self.refresh_bindings()
            self._show()

    def _video_of(self, gallery: RunGallery) -> Screen[None]:
        """The screen that plays what a run has made, and what it goes on to make."""
        from seg_tui.screens.video import VideoScreen

        tui = self.tui

        def find() -> tuple[Path, ...]:
            try:
                row = tui.store.get().run(gallery.id)
            except (StoreError, OSError) as error:
                raise VideoError(str(error)) from error
            return footage_of(row, tui.workspace.run_dir(gallery.id))

        return VideoScreen(gallery.name, find)

    def _tell_missing(self, galleries: Sequence[RunGallery], problems: Sequence[str]) -> None:
        """Say which runs are not shown: one with its reason, several by name."""
        missing = [gallery.name for gallery in galleries if gallery.problem]
        if len(missing) > 1:
            line = f"{len(missing)} of {len(galleries)} runs have no predictions: {', '.join(missing)}"
            self.notify(line, severity="warning", timeout=10)
        else:
            for line in problems:
                self.notify(line, severity="warning", timeout=10)

    # ------------------------------------------------------------------ what is shown

    def _show(self) -> None:
        """Say where one looks, and have it drawn if it is not on the screen."""
        self._tell()
        self.wall.draw()

    @on(PicturesDrawn)
    async def put_up(self, message: PicturesDrawn) -> None:
        await self.wall.put_up(message.shown)
        self._tell()

    @on(SamplesRanked)
    def keep_rankings(self, message: SamplesRanked) -> None:
        self.look.rankings.update({(ranking.run, ranking.epoch): ranking for ranking in message.rankings})
        self.look.order()
        self._tell()

    def _tell(self) -> None:
        """The words around the pictures."""
        look, shown = self.look, self.wall.shown
        if not look.galleries:
            return
        wanted = self.size.width >= LEGEND_FROM if self._legend_asked is None else self._legend_asked
        side = self.query_one("#side")
        side.set_class(wanted and look.full is None, "shown")
        body = self.query_one("#body")
        self.wall.room = room_for(look, body.size.height, body.size.width, side.has_class("shown"))
        columns = self.wall.room.legend_columns
        body.set_class(columns > 0, "stacked")
        side.styles.width = "1fr" if columns else legend_width(len(look.galleries)) + LEGEND_GAP
        side.styles.height = legend_height(look, columns) - 1 if columns else "1fr"
        self.query_one(TitleBar).say(*heading(look))
        self.query_one("#track", Static).update(track_line(look, self._playing is not None))
        if shown is not None:
            self.query_one("#legend", Static).update(legend_of(look, shown, self.wall.studio, columns))
        self._point_out()

    def _point_out(self) -> None:
        """Mark the cross in all pictures, and say what is there."""
        cross = None if self.look.cross is None else self.look.box.relative(self.look.cross)
        self.wall.mark(cross)
        self.query_one("#place", Static).update(place_line(self.look, self.wall.shown, self.wall.studio))

    def on_resize(self) -> None:
        self._tell()  # the legend comes and goes with the width

    @on(Wall.Resized)
    def fill_wall(self) -> None:
        """There is another room to share; at the start it is known only now."""
        self._show()

    # ------------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action not in OF_PICTURES:
            return super().check_action(action, parameters)
        if parameters and parameters[0] in OF_SCORES:
            return bool(self.look.galleries) and bool(self.look.score)
        if parameters[:1] == ("toggle_boundaries",) and self.look.score:
            return False
        return len(self.look.galleries) > (parameters[:1] == ("toggle_errors",))

    def action_back(self) -> None:
        """Out of the full screen, out of the zoom, out of the screen."""
        if self.look.full is not None:
            self.look.full = None
        elif self.look.box.size < 1:
            self.look.box = Box()
        else:
            self.app.pop_screen()
            return
        self._show()

    def action_look(self, change: str, *how: float) -> None:
        """Look elsewhere or in another way: `change` names a method of the look."""
        getattr(self.look, change)(*how)
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
        self.action_look("go_to_epoch", 1)

    def action_full(self) -> None:
        self.look.full = self.wall.looked_at if self.look.full is None else None
        self._show()

    def action_legend(self) -> None:
        self._legend_asked = not self.query_one("#side").has_class("shown")
        self._show()

    def action_legend_page(self, step: int) -> None:
        side = self.query_one("#side")
        side.scroll_relative(y=step * max(1, side.size.height - 1), animate=False)

    def action_flicker(self) -> None:
        self.wall.flicker()
        self._tell()

    # ------------------------------------------------------------------ the cross

    def action_move(self, down: int, right: int) -> None:
        """Move the cross by pixels of the screen; the part that is looked at follows."""
        picture = next((frame.picture for frame in self.wall.frames if frame.picture is not None), None)
        if picture is not None:
            self.look.move(down, right, 2 * picture.rows, picture.cols)
            self._point_out()
            self._show()

    @on(LabelImage.Pointed)
    def point(self, message: LabelImage.Pointed) -> None:
        self.look.cross = self.look.box.absolute(message.place)
        self._point_out()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        if self.look.galleries:
            self.action_look("zoom", 0.5)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        if self.look.galleries:
            self.action_look("zoom", 2)


def _may_show_more(old: RunSummary | None, new: RunSummary | None) -> bool:
    """Whether a run may have kept other predictions since: those of an epoch are written after its scores are
    known and before the first steps of the next one."""
    if old is None or new is None:
        return old is not new
    steps_anew = (new.step or 0) < (old.step or 0)
    return steps_anew or (old.epoch, old.status, old.phase) != (new.epoch, new.status, new.phase)
