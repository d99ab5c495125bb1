"""A video that a run has made, played by the dashboard."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from engine.config.run_config import RunConfig
from engine.run.directory import RunDir
from engine.store import Store
from engine.video.reading import Video
from engine.video.writing import VideoParts
from engine.workspace import Workspace
from seg_tui.preview.footage import Reel, Shot, footage_of
from seg_tui.preview.galleries import RunGallery, find_gallery
from seg_tui.screens.help import HelpScreen
from seg_tui.screens.preview import PreviewScreen
from seg_tui.screens.video import VideoScreen
from seg_tui.widgets.label_image import LabelImage, Picture
from tests.engine.made_up_runs import MadeUpJournal, make_run_dir
from tests.tui.conftest import opened, screen_text, settled, until
from tests.tui.made_up_workspace import NOW
from tests.tui.snapshots import app_at
from tests.videos import make_video

TIMES = range(0, 1000, 40)


def add_video_run(workspace: Workspace, out: Path, ended: bool = True) -> RunDir:
    """A run that has coloured a video, or is at it."""
    about = {
        "source": "gal00001",
        "checkpoint": "../gal00001/checkpoints/best.pt",
        "images": ["/videos/drive.mp4"],
        "video": True,
        "out": str(out),
    }
    journal = MadeUpJournal()
    journal.begin()
    if ended:
        journal.finish(0)
    config = RunConfig.model_validate({"task": "predict", "predict": about})
    run = make_run_dir(workspace.runs, "vid00001", journal, config, name="drive", created=NOW - 100.0)
    with workspace.open_store() as store:
        store.journals.import_run(run)
    return run


async def test_a_video_is_played_stepped_through_and_searched(
    empty_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Fraction] = []
    picture = VideoScreen._picture

    def noted(screen: VideoScreen, shot: Shot) -> Picture:
        drawn.append(shot.seconds)
        return picture(screen, shot)

    monkeypatch.setattr(VideoScreen, "_picture", noted)
    monkeypatch.setattr("seg_tui.screens.video.MOST_A_SECOND", 1000)
    add_video_run(empty_workspace, make_video(tmp_path / "out.mp4", TIMES))
    seconds = [Fraction(ms, 1000) for ms in TIMES]
    async with opened(empty_workspace, (80, 24)) as (app, pilot):
        app.go_to.predictions(("vid00001",))
        await until(pilot, lambda: isinstance(app.screen, VideoScreen))
        screen = app.screen
        assert isinstance(screen, VideoScreen)

        async def at(place: int) -> None:
            await until(pilot, lambda: screen.shot is not None and screen.shot.seconds == seconds[place])

        await at(0)
        assert "paused   0:00.0 of 0:01.0" in screen_text(app)
        shown = screen.query_one(LabelImage)
        await until(pilot, lambda: shown.picture is not None and shown.picture.rows == shown.size.height - 1)
        assert shown.picture is not None
        assert (shown.picture.cols, shown.picture.rows) == (51, 19)  # of 64x48 pixels, in half-blocks
        for key, place in (("full_stop", 1), ("full_stop", 2), ("comma", 1), ("end", -1), ("comma", -2)):
            await pilot.press(key)
            await at(place)
        await pilot.press("left")
        await at(0)
        drawn.clear()
        await pilot.press("space")
        await at(-1)
        await until(pilot, lambda: not screen.playing)
        assert drawn == seconds[1:]
        await pilot.press("space")  # at the end: from the start
        await until(pilot, lambda: drawn[len(seconds) :])
        assert drawn[len(seconds) - 1] == 0
        await pilot.press("home")
        await at(0)
        assert not screen.playing
        assert "paused" in screen_text(app)
        screen.playing = True  # as it is for a moment when a video begins anew
        screen._tell()
        await until(pilot, lambda: "playing" in screen_text(app))
        await pilot.press("comma")  # there is nothing before the first frame
        await until(pilot, lambda: "paused" in screen_text(app))
        await pilot.press("escape")
        assert not isinstance(app.screen, VideoScreen | PreviewScreen)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_it_looks_as_agreed(
    snap_compare: object,
    empty_workspace: Workspace,
    tmp_path: Path,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)  # what is decoded is not the same with every FFmpeg
    colors = [np.tile(ramp, (48, 1)), np.tile(ramp[:48, None], (1, 64)), np.zeros((48, 64), np.uint8)]
    pixels = np.stack(colors, axis=2)
    picture = VideoScreen._picture
    monkeypatch.setattr(
        VideoScreen, "_picture", lambda screen, shot: picture(screen, Shot(shot.seconds, pixels))
    )
    add_video_run(empty_workspace, make_video(tmp_path / "out.mp4", TIMES))

    async def show(pilot: Pilot[None]) -> None:
        pilot.app.go_to.predictions(("vid00001",))  # type: ignore[attr-defined]
        await until(pilot, lambda: isinstance(pilot.app.screen, VideoScreen))
        shown = pilot.app.screen.query_one(LabelImage)
        await until(pilot, lambda: shown.picture is not None and shown.picture.rows == shown.size.height - 1)
        await settled(pilot)

    app, before = app_at(empty_workspace, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


def test_what_a_run_has_made_of_a_video_can_be_watched_while_it_goes_on(
    empty_workspace: Workspace, tmp_path: Path
) -> None:
    video = Video.open(make_video(tmp_path / "clip.mp4", TIMES))
    run = add_video_run(empty_workspace, tmp_path / "none.mp4", ended=False)
    parts = VideoParts(run.outputs / "parts-0", video)
    for frame in video.read():
        parts.add(frame, frame.pixels)
        if frame.index in (9, 19):
            parts.end_part()
    with empty_workspace.open_store() as store:
        row = store.run("vid00001")
        files = footage_of(row, run)
    assert [path.stem for path in files] == ["000000000-000000010", "000000010-000000020"]
    reel = Reel(lambda: files)
    places = []
    while (shot := reel.next()) is not None:
        places.append(shot.seconds)
    assert places == pytest.approx([ms / 1000 for ms in TIMES[:20]], abs=1e-3)
    middle = reel.go_to(Fraction(4, 10))
    before = reel.back()
    assert middle is not None
    assert before is not None
    assert (middle.seconds, before.seconds) == pytest.approx((0.4, 0.36), abs=1e-3)


async def test_a_video_replaces_the_preview_and_nothing_over_it_and_tells_when_its_run_is_gone(
    empty_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()

    def slow(workspace: Workspace, store: Store, run_id: str) -> RunGallery:
        goes_on.wait(30)
        return find_gallery(workspace, store, run_id)

    monkeypatch.setattr("seg_tui.screens.preview.find_gallery", slow)
    add_video_run(empty_workspace, make_video(tmp_path / "out.mp4", TIMES))
    async with opened(empty_workspace, (80, 24)) as (app, pilot):
        app.go_to.predictions(("vid00001",))
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
        goes_on.set()
        await settled(pilot)
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, VideoScreen) and app.screen.shot, "the video")
        with empty_workspace.open_store() as store:
            store.lifecycle.delete("vid00001")
        await pilot.press("end")
        await until(pilot, lambda: "vid00001" in screen_text(app), "that it is gone")
