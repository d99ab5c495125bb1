"""The preview: what one sees of galleries, across epochs, samples and runs."""

from __future__ import annotations

import errno
import inspect
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.cells import cell_len
from textual.actions import parse
from textual.binding import Binding
from textual.pilot import Pilot

from engine.store import Store
from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.keys import key_sections
from seg_tui.live import SnapshotTaken
from seg_tui.preview.galleries import RunGallery
from seg_tui.preview.keys import KEYS
from seg_tui.preview.lines import legend_of
from seg_tui.preview.look import Box, Look
from seg_tui.preview.messages import PicturesDrawn
from seg_tui.preview.studio import Studio
from seg_tui.preview.view import best_grid, view_of
from seg_tui.screens.preview import PreviewScreen
from seg_tui.widgets.class_legend import LegendRow, legend
from seg_tui.widgets.column_widths import shorten
from seg_tui.widgets.label_image import LabelImage
from tests.tui.conftest import notices, opened, screen_text, settled, until
from tests.tui.made_up_gallery import (
    CAR,
    HEIGHT,
    PERSON,
    SAMPLES,
    VOID,
    WIDTH,
    add_detection,
    add_evaluation,
    add_with_gallery,
    image,
    prediction,
    score_of,
    target,
    write_class_map,
    write_epoch,
)
from tests.tui.made_up_workspace import add, running_journal


@pytest.fixture(autouse=True)
def many_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal of the tests has all colours, whatever TERM is outside."""
    monkeypatch.setenv("COLORTERM", "truecolor")


@pytest.fixture
def gallery_workspace(empty_workspace: Workspace) -> Workspace:
    add_with_gallery(empty_workspace, "gal00001", name="good")
    add_with_gallery(empty_workspace, "gal00002", skill=0.5, name="poor")
    return empty_workspace


@asynccontextmanager
async def preview(
    workspace: Workspace, *runs: str, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[PreviewScreen, Pilot[None]]]:
    async with opened(workspace, size) as (app, pilot):
        app.go_to.predictions(runs)
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, PreviewScreen)
        await until(pilot, lambda: screen.wall.shown is not None or screen.query_one("#nothing").display)
        await settled(pilot)
        yield screen, pilot


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settled(pilot)


def frames(screen: PreviewScreen) -> list[LabelImage]:
    return list(screen.query(LabelImage))


def titles(screen: PreviewScreen) -> list[str]:
    return [frame.title for frame in frames(screen)]


def text(screen: PreviewScreen) -> str:
    assert isinstance(screen.app, SegTui)
    return screen_text(screen.app)


def labels_of(screen: PreviewScreen, position: int) -> set[int]:
    assert screen.wall.shown is not None
    labels = screen.wall.shown.drawn[position].labels
    assert labels is not None
    return {int(label) for label in labels.flat}


async def test_one_run_shows_image_truth_prediction_and_error_of_its_last_epoch(
    gallery_workspace: Workspace,
) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, _):
        assert titles(screen) == ["Image", "Ground truth", "Prediction", "Error"]
        assert labels_of(screen, 1) == {0, PERSON, CAR, VOID}
        assert labels_of(screen, 2) == {0, PERSON, CAR}
        assert "Dice 1.000" in text(screen)
        assert "0.0 % wrong" in text(screen)
        assert "epoch 30 of 30" in text(screen)
        for name in ("road", "person", "car", "void"):
            assert name in text(screen)


async def test_epochs_are_scrubbed_and_end_at_the_ends(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        await press(pilot, "left_square_bracket")
        assert "epoch 20 of 30" in text(screen)
        assert "Dice 1.000" not in text(screen)
        await press(pilot, "home", "left_square_bracket")
        assert screen.look.epoch == 10
        assert CAR not in labels_of(screen, 2)
        await press(pilot, "end", "right_square_bracket")
        assert screen.look.epoch == 30
        assert CAR in labels_of(screen, 2)


async def test_pictures_that_were_wanted_earlier_do_not_replace_those_that_are_wanted(
    gallery_workspace: Workspace,
) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        earlier = screen.wall.shown
        assert earlier is not None
        await press(pilot, "left_square_bracket")
        screen.wall.post_message(PicturesDrawn(earlier))
        await settled(pilot)
        assert screen.wall.shown is not None
        assert {panel.epoch for panel in screen.wall.shown.view.panels} == {None, 20}
        assert "Dice 1.000" not in text(screen)


async def test_help_tells_of_each_key_what_that_one_does(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, _):
        told = {shown: meaning for _, keys in key_sections(screen.app, screen) for shown, meaning in keys}
        assert (told["["], told["]"]) == ("Previous saved epoch", "Next saved epoch")
        assert (told["+"], told["-"]) == ("More opaque class maps", "More transparent class maps")
        assert "[ ] epoch" in text(screen), "in the footer both stand together"


async def test_a_legend_that_is_longer_than_the_screen_is_scrolled_by_keys(
    empty_workspace: Workspace,
) -> None:
    add_with_gallery(empty_workspace, "gal00001", name="good")
    async with preview(empty_workspace, "gal00001", size=(100, 12)) as (screen, pilot):
        assert "void" not in text(screen)
        await press(pilot, "pagedown")
        assert "void" in text(screen)
        await press(pilot, "pageup")
        assert "Class " in text(screen)


async def test_playing_goes_from_the_first_epoch_to_the_last_and_stops(
    gallery_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seg_tui.screens.preview.TURN_SECONDS", 0.02)
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        seen: list[int] = []
        go_to_epoch = screen.look.go_to_epoch
        monkeypatch.setattr(
            screen.look, "go_to_epoch", lambda step: (go_to_epoch(step), seen.append(screen.look.epoch))
        )
        await pilot.press("P")
        await until(pilot, lambda: seen[-1:] == [30] and "playing" not in text(screen))
        assert seen == [10, 20, 30]


async def test_worst_first_begins_with_the_worst_and_keeps_what_is_looked_at(
    gallery_workspace: Workspace,
) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        await press(pilot, "left_square_bracket")
        assert screen.look.sample == "val__a__one"
        await press(pilot, "w")
        assert screen.look.samples == ("val__a__two", "val__b__three", "val__a__one")
        assert screen.look.sample == "val__a__two"
        assert "worst first" in text(screen)
        await press(pilot, "full_stop")
        assert screen.look.sample == "val__b__three"
        await press(pilot, "w")
        assert screen.look.samples == ("val__a__one", "val__a__two", "val__b__three")
        assert screen.look.sample == "val__b__three"
        assert "image 3 of 3" in text(screen)


async def test_runs_side_by_side_show_the_same_sample_and_each_its_best(gallery_workspace: Workspace) -> None:
    add_with_gallery(gallery_workspace, "gal00003", epochs=(10, 28), name="other")
    async with preview(gallery_workspace, "gal00001", "gal00002", "gal00003", size=(160, 50)) as (
        screen,
        pilot,
    ):
        assert titles(screen) == ["Image", "Ground truth", "good", "poor", "other"]
        assert "epoch 10" in text(screen)  # the last that all three have
        assert all(frame.picture is not None for frame in frames(screen))
        for _ in range(5):
            await press(pilot, "right_square_bracket")
        assert frames(screen)[2].value == "Dice 1.000"
        assert frames(screen)[4].picture is None
        assert "other has no prediction of this image at epoch 30; saved: 10, 28" in frames(screen)[4].problem
        await press(pilot, "b")
        assert frames(screen)[4].value.startswith("ep 28 · Dice")
        assert "nearest its best" in text(screen)
        await press(pilot, "e")
        assert titles(screen)[2:] == ["good error", "poor error", "other error"]
        assert "% wrong" in frames(screen)[3].value


async def test_errors_near_boundaries_are_shown_alone_with_their_share(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "gal00002", size=(160, 50)) as (screen, pilot):
        assert "boundary errors" not in text(screen)
        before = frames(screen)[3].picture
        await press(pilot, "B")
        assert titles(screen)[3] == "Boundary error"
        assert re.search(r"boundary errors, d = 1 px\s", text(screen))
        found = re.search(r"(\d+) of (\d+) px \((\d+) %\)", text(screen))
        assert found is not None
        near, wrong, share = map(int, found.groups())
        assert 0 < near < wrong
        assert share == round(100 * near / wrong)
        assert frames(screen)[3].value == f"{share} % of the errors"
        assert frames(screen)[3].picture != before
        await press(pilot, "B")
        assert "% wrong" in frames(screen)[3].value


async def test_flicker_shows_two_runs_in_turns_in_one_place(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "gal00001", "gal00002") as (screen, pilot):
        await press(pilot, "k")
        frame = frames(screen)[2]
        mine = frame.picture
        await until(pilot, lambda: frame.title == "poor")
        assert frame.picture is not mine
        await until(pilot, lambda: frame.title == "good")
        assert frame.picture is mine
        await press(pilot, "enter")
        await until(pilot, lambda: titles(screen) == ["poor"])
        await press(pilot, "k", "escape")
        await until(pilot, lambda: titles(screen) == ["Image", "Ground truth", "good", "poor"])


async def test_full_screen_zoom_and_the_way_back(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        small = frames(screen)[2].picture
        await press(pilot, "enter")
        (frame,) = frames(screen)
        assert frame.title == "Prediction"
        assert small is not None
        assert frame.picture is not None
        assert frame.picture.cols > small.cols
        assert not screen.query_one("#side").display
        await press(pilot, "z", "z")
        assert "zoom 4x" in text(screen)
        await press(pilot, "Z", "escape", "escape")
        assert len(frames(screen)) == 4
        assert screen.look.box == Box()
        await press(pilot, "escape")
        assert not isinstance(screen.app.screen, PreviewScreen)


async def test_the_cross_tells_truth_and_prediction_and_takes_the_view_along(
    gallery_workspace: Workspace,
) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        await press(pilot, "home")
        picture = frames(screen)[1].picture
        assert picture is not None
        screen.look.cross = (20.5 / 32, 48.5 / 64)
        await press(pilot, "right")
        line = text(screen)
        assert "Ground truth ██ car" in line
        assert "Prediction ██ road" in line
        await press(pilot, "z", "z", "z", *["shift+right"] * 12)
        assert screen.look.box.left == pytest.approx(1 - 1 / 8, abs=0.01)
        assert "column 63" in text(screen)


async def test_the_mouse_points_and_scrolls(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        frame = frames(screen)[1]
        await pilot.hover(frame, offset=(2, 1))
        await settled(pilot)
        assert screen.look.cross is not None
        assert "Ground truth void" in text(screen)
        assert all(other.cross == frame.cross for other in frames(screen))


async def test_the_overlay_lets_the_photograph_through_and_leaves_the_classes(
    gallery_workspace: Workspace,
) -> None:
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        before, labels = frames(screen)[1].picture, labels_of(screen, 1)
        await press(pilot, *["minus"] * 4)
        assert "overlay 60 %" in text(screen)
        assert frames(screen)[1].picture is not before
        assert labels_of(screen, 1) == labels
        await press(pilot, *["minus"] * 9)
        assert "overlay 0 %" in text(screen)
        await press(pilot, *["plus"] * 12)
        assert "overlay" not in text(screen).splitlines()[0]


async def test_the_rule_of_the_cells_is_a_choice(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "gal00001", size=(80, 18)) as (screen, pilot):
        assert PERSON in labels_of(screen, 1)
        await press(pilot, "m")
        assert "cells: majority" in text(screen)
        assert PERSON not in labels_of(screen, 1)


async def test_the_legend_follows_the_width_until_somebody_chooses(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "gal00001", size=(80, 24)) as (screen, pilot):
        side, wall = screen.query_one("#side"), screen.wall

        def pictures_have_all_room() -> bool:
            return wall.size == (wall.room.cols, wall.room.lines)

        assert not side.display
        assert pictures_have_all_room()
        await press(pilot, "V")
        assert side.display
        assert "all 3 images" in text(screen)
        assert wall.room.legend_columns == 2
        assert pictures_have_all_room()
        await pilot.resize_terminal(200, 40)
        await settled(pilot)
        assert wall.room.legend_columns == 0  # beside the pictures
        assert side.display
        assert pictures_have_all_room()
        await press(pilot, "V")
        assert not side.display
        assert pictures_have_all_room()


async def test_a_running_run_shows_its_next_epoch_when_it_comes(empty_workspace: Workspace) -> None:
    run = add(
        empty_workspace,
        "live0001",
        running_journal(epochs=12),
        {"data.size": "32x64"},
        status="running",
        name="live",
    )
    gallery = empty_workspace.run_dir(run).gallery
    write_epoch(gallery, 10, (0.5, 0.5, 0.5))
    async with preview(empty_workspace, run) as (screen, pilot):
        assert screen.look.epoch == 10
        write_epoch(gallery, 20, (0.9, 0.9, 0.9))
        with empty_workspace.open_store() as store:
            store.lifecycle.set_status(run, "stopping")
        assert isinstance(screen.app, SegTui)
        screen.app.live.nudge()
        await until(pilot, lambda: screen.look.epoch == 20)


async def test_predictions_that_are_still_written_when_their_epoch_is_told_come_when_they_are_there(
    empty_workspace: Workspace,
) -> None:
    run = add(
        empty_workspace,
        "live0001",
        running_journal(epochs=19),
        {"data.size": "32x64"},
        status="running",
    )
    gallery = empty_workspace.run_dir(run).gallery
    write_epoch(gallery, 10, (0.5, 0.5, 0.5))
    async with preview(empty_workspace, run) as (screen, pilot):

        def now_is(**values: object) -> None:
            runs = {run: screen.tui.snapshot.runs[run]._replace(**values)}
            screen.tui.post_message(SnapshotTaken(replace(screen.tui.snapshot, runs=runs)))

        write_class_map(gallery / "epoch_0020" / f"{SAMPLES[2]}.png", prediction(2, 0.9))
        now_is(epoch=20, phase="val", step=10)
        await until(pilot, lambda: "no prediction of this image at epoch 20" in frames(screen)[2].problem)
        write_epoch(gallery, 20, (0.9, 0.9, 0.9))
        now_is(epoch=20, phase="train", step=1)
        await until(pilot, lambda: frames(screen)[2].picture is not None, "the prediction")


async def test_an_evaluation_shows_its_worst_images_at_their_own_size(gallery_workspace: Workspace) -> None:
    add_evaluation(gallery_workspace, "eval0001", name="good-val-original")
    async with preview(gallery_workspace, "eval0001") as (screen, pilot):
        assert titles(screen) == ["Image", "Ground truth", "Prediction", "Error"]
        assert "image 1 of 2" in text(screen)
        assert "the worst 2 of 20 evaluated images" in text(screen)
        assert "all 20 images" in text(screen)
        assert screen.look.rankings["eval0001", 2].dice == {SAMPLES[0]: score_of(0), SAMPLES[1]: score_of(1)}
        await press(pilot, "w")
        assert screen.look.sample == SAMPLES[1]
        screen.look.cross = (0.5, 0.5)
        await press(pilot, "right")
        assert "row 32, column 6" in text(screen)  # of 64 and 128


def share_of_grey(frame: LabelImage) -> float:
    """Which share of a picture is the grey of what is rejected."""
    assert frame.picture is not None
    cells = [(str(part.style), len(part.text)) for strip in frame.picture.strips for part in strip]
    return sum(count for style, count in cells if "#808080" in style) / sum(count for _, count in cells)


async def test_what_scores_above_the_threshold_is_grey_in_the_prediction(
    gallery_workspace: Workspace,
) -> None:
    add_detection(gallery_workspace, "ood00001")
    async with preview(gallery_workspace, "ood00001") as (screen, pilot):
        assert titles(screen) == ["Image", "Ground truth", "Prediction", "Score: energy"]
        assert "accepts 95 %" in text(screen)
        assert "50.0 % rejected" in text(screen)
        assert share_of_grey(frames(screen)[2]) == pytest.approx(0.5, abs=0.1)
        await press(pilot, "right_parenthesis", "right_parenthesis")
        assert "accepts 99 %" in text(screen)
        assert share_of_grey(frames(screen)[2]) == pytest.approx(0.25, abs=0.1)
        await press(pilot, *["right_parenthesis"] * 5)
        assert "accepts 100 %" in text(screen)
        assert share_of_grey(frames(screen)[2]) == 0
        await press(pilot, *["left_parenthesis"] * 12)
        assert "accepts 50 %" in text(screen)
        assert share_of_grey(frames(screen)[2]) == 1
        await press(pilot, "s")
        assert titles(screen)[3] == "Score: sml"
        assert share_of_grey(frames(screen)[2]) == 0


async def test_pictures_come_though_they_were_wanted_before_there_was_room(
    gallery_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is to come after a refresh may come before the layout when the machine is busy.
    monkeypatch.setattr(PreviewScreen, "call_after_refresh", lambda self, callback: callback())
    async with preview(gallery_workspace, "gal00001") as (screen, _):
        assert all(frame.picture is not None for frame in frames(screen))


async def test_evaluations_of_different_epochs_stand_side_by_side(gallery_workspace: Workspace) -> None:
    add_evaluation(gallery_workspace, "eval0001", name="early")
    add_evaluation(gallery_workspace, "eval0002", epoch=9, name="late")
    async with preview(gallery_workspace, "eval0001", "eval0002") as (screen, _):
        assert titles(screen)[2:] == ["early", "late"]
        assert [frame.value[:5] for frame in frames(screen)[2:]] == ["ep 2 ", "ep 9 "]
        assert all(frame.picture is not None for frame in frames(screen))


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (True, "`seg-engine evaluate gal00001 --split val --at original --keep 8` makes an evaluation"),
        (False, "eval0001 (scored) has no predictions yet: it keeps those of the worst images"),
    ],
)
async def test_an_evaluation_without_predictions_says_how_to_get_them(
    gallery_workspace: Workspace, ended: bool, words: str
) -> None:
    add_evaluation(gallery_workspace, "eval0001", kept=0, ended=ended, name="scored")
    async with preview(gallery_workspace, "eval0001") as (screen, _):
        assert words in " ".join(text(screen).split())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"gallery.every": "0"}, "keeps no gallery, as gallery.every is 0"),
        ({}, "the first come after epoch 10 (gallery.every=10); it is running, epoch 12/30"),
    ],
)
async def test_without_a_gallery_it_says_how_to_get_one(
    empty_workspace: Workspace, changes: dict[str, object], line: str
) -> None:
    add(empty_workspace, "none0001", running_journal(), changes, status="running", name="bare")
    async with preview(empty_workspace, "none0001") as (screen, pilot):
        shown = " ".join(text(screen).split())
        assert "none0001 (bare)" in shown
        assert line in shown
        assert "R rerun" in shown, "the key that begins a run with one is named"
        await press(pilot, "enter", "right_square_bracket", "z", "k")
        assert not frames(screen)
        await press(pilot, "escape")
        assert not isinstance(screen.app.screen, PreviewScreen)


async def test_a_damaged_file_is_named_in_its_frame(gallery_workspace: Workspace) -> None:
    path = gallery_workspace.run_dir("gal00001").gallery / "epoch_0030" / "val__a__one.png"
    path.write_bytes(path.read_bytes()[:40])
    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        assert "is damaged" in frames(screen)[2].problem
        assert "is damaged" in text(screen)
        assert frames(screen)[1].picture is not None
        await press(pilot, "full_stop")
        assert frames(screen)[2].picture is not None


async def test_a_run_that_is_gone_is_said_to_be(gallery_workspace: Workspace) -> None:
    async with preview(gallery_workspace, "nothere1") as (screen, _):
        assert "nothere1" in text(screen)


async def test_without_colours_classes_are_letters(
    gallery_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with preview(gallery_workspace, "gal00001") as (screen, _):
        shown = text(screen)
        assert "cccccccc" in shown
        assert " c car" in shown
        assert "rrrrrrrr" in shown


@pytest.mark.parametrize(
    ("panels", "size", "room", "columns"),
    [
        (4, (32, 64), (20, 80), 2),
        (4, (32, 64), (12, 120), 4),
        (4, (64, 64), (40, 40), 2),
        (1, (32, 64), (20, 80), 1),
    ],
)
def test_pictures_are_laid_out_so_that_they_are_largest(
    panels: int, size: tuple[int, int], room: tuple[int, int], columns: int
) -> None:
    assert best_grid(panels, *size, *room) == columns


def test_a_box_follows_a_place_no_further_than_needed_and_never_leaves_the_picture() -> None:
    box = Box(0.25, 0.25, 0.5)
    assert box.around((0.5, 0.5)) == box
    assert box.around((0.9, 0.3)) == Box(0.4, 0.25, 0.5)
    assert box.around((1.0, 0.0)) == Box(0.5, 0.0, 0.5)
    zoomed = Box().zoomed(0.5, (0.5, 0.9))
    assert zoomed.relative((0.5, 0.9)) == pytest.approx((0.5, 0.9))
    assert zoomed.zoomed(1.0, (0.5, 0.9)) == Box()
    assert Box(0.5, 0.5, 0.5).pixels(32, 64) == (slice(16, 32), slice(32, 64))


async def test_several_runs_without_predictions_are_told_in_one_notice(gallery_workspace: Workspace) -> None:
    for name in ("bare", "young"):
        add(gallery_workspace, f"{name:0<8}", running_journal(), status="running", name=name)
    async with preview(gallery_workspace, "gal00001", "bare0000", "young000") as (screen, _):
        assert notices(screen.app) == ["2 of 3 runs have no predictions: bare, young"]


# ---------------------------------------------------------------------- how it looks

SIZES = [(80, 24), (120, 40)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "runs",
    [("gal00001",), ("gal00001", "gal00002"), tuple(f"gal0000{n}" for n in range(1, 7)), ("eval0001",)],
    ids=["one", "two", "six", "evaluation"],
)
def test_the_preview_looks_as_agreed(
    snap_compare: object, gallery_workspace: Workspace, size: tuple[int, int], runs: Sequence[str]
) -> None:
    add_evaluation(gallery_workspace, "eval0001", name="good-val-original")
    for number in range(3, 7):
        add_with_gallery(
            gallery_workspace, f"gal0000{number}", skill=1.2 - 0.2 * number, name=f"try-{number}"
        )
    look_at(snap_compare, gallery_workspace, runs, size, ["right"])


def test_the_empty_preview_looks_as_agreed(snap_compare: object, empty_workspace: Workspace) -> None:
    add(empty_workspace, "none0001", running_journal(), status="running", name="bare")
    look_at(snap_compare, empty_workspace, ["none0001"], (80, 24), [])


def test_the_preview_without_colours_looks_as_agreed(
    snap_compare: object, gallery_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    look_at(snap_compare, gallery_workspace, ["gal00001"], (120, 40), [])


def look_at(
    snap_compare: object,
    workspace: Workspace,
    runs: Sequence[str],
    size: tuple[int, int],
    keys: Sequence[str],
) -> None:
    from tests.tui.conftest import make_app

    async def show(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, SegTui)
        await until(pilot, lambda: app.snapshot.at > 0)
        app.go_to.predictions(runs)
        await pilot.pause()
        await until(
            pilot, lambda: not app.screen.query_one("#nothing").display or app.screen.has_class("empty")
        )
        await settled(pilot)
        await press(pilot, *keys)

    assert snap_compare(make_app(workspace), terminal_size=size, run_before=show)  # type: ignore[operator]


def test_every_key_that_changes_the_look_names_a_method_of_it() -> None:
    actions = [parse(binding.action) for binding in KEYS if isinstance(binding, Binding)]
    changes = [parameters for _, name, parameters in actions if name == "look"]
    assert changes
    for name, *values in changes:
        inspect.signature(getattr(Look, name)).bind(Look(), *values)


async def test_a_run_that_loses_its_predictions_is_left_out_with_a_word(gallery_workspace: Workspace) -> None:
    add_with_gallery(gallery_workspace, "gal00003", name="cleaned")
    add_with_gallery(gallery_workspace, "gal00004", name="deleted")
    runs = tuple(f"gal0000{number}" for number in range(1, 5))
    async with preview(gallery_workspace, *runs) as (screen, pilot):
        screen.look.cross = (0.5, 0.5)
        shutil.rmtree(gallery_workspace.run_dir("gal00003").gallery)
        with gallery_workspace.open_store() as store:
            store.lifecycle.delete("gal00004")
        screen.find()
        await until(pilot, lambda: len(screen.look.galleries) == 2, "the news")
        await settled(pilot)
        assert titles(screen) == ["Image", "Ground truth", "good", "poor"]
        assert notices(screen.app) == ["no predictions any more: cleaned, deleted"]


async def test_a_workspace_that_cannot_be_reached_is_told(
    gallery_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(make: bool = False) -> Store:
        raise OSError(errno.ESTALE, "Stale file handle")

    async with preview(gallery_workspace, "gal00001") as (screen, pilot):
        monkeypatch.setattr(screen.tui.store, "get", stale)
        screen.find()
        await until(pilot, lambda: any("Stale file handle" in line for line in notices(screen.app)))
        assert titles(screen) == ["Image", "Ground truth", "Prediction", "Error"]


def test_wide_letters_are_cut_by_the_cells_that_they_take() -> None:
    assert shorten("道路と歩道", 6) == "道路…"
    rows = [LegendRow("道路", (0, 0, 0), "a", 0.5, (0.5,)), LegendRow("road", (0, 0, 0), "b", 0.5, (0.5,))]
    wide, narrow = legend(rows, ["Dice"], [], True, "dim").plain.splitlines()[-2:]
    assert cell_len(wide) == cell_len(narrow)


def test_a_legend_of_more_runs_than_it_has_columns_names_the_first_and_counts_all() -> None:
    runs = ["one", "two", "three", "four", "five", "six"]
    rows = [LegendRow("road", (0, 0, 0), "a", 0.5, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))]
    head, *_, road = legend(rows, runs, [], True, "dim").plain.splitlines()
    assert head.split() == ["4", "of", "6", "runs", "Share", "one", "two", "three", "four"]
    assert road.split()[-4:] == ["0.100", "0.200", "0.300", "0.400"]


def test_a_class_has_its_own_dice_where_runs_have_other_class_sets(tmp_path: Path) -> None:
    """The second run does not know the person, so its car has another place; half of that is wrong."""
    galleries = {}
    for run_id, classes in (("aaaa0001", ("road", "person", "car")), ("aaaa0002", ("road", "car"))):
        truth = target(0)
        if "person" not in classes:
            truth[truth == PERSON] = VOID
            truth[truth == CAR] = classes.index("car")
        predicted = truth.copy()
        if "person" not in classes:
            predicted[:, 48:] = classes.index("road")
        folder, file = tmp_path / run_id, tmp_path / run_id / "epoch_0010" / "one.png"
        write_class_map(folder / "inputs" / "one_target.png", truth)
        Image.fromarray(image(0)).save(folder / "inputs" / "one_image.png")
        write_class_map(file, predicted)
        colors = ((0, 0, 200), (200, 0, 0), (0, 200, 0))[: len(classes)]
        files = {10: {"one": file}}
        sizes = {"one": (HEIGHT, WIDTH)}
        galleries[run_id] = RunGallery(run_id, run_id, folder, classes, colors, None, files, sizes)
    look, studio = Look(), Studio()
    look.keep(list(galleries.values()))
    view = view_of(look, 40, 120, "true")
    assert view is not None
    lines = legend_of(look, studio.draw(galleries, view, lambda: None), studio, 0).plain.splitlines()
    dice = {line[3:17].strip(): line.split()[-2:] for line in lines if line.startswith("██")}
    assert (dice["person"], dice["car"]) == (["1.000", "–"], ["1.000", "0.667"])
