"""Videos in and out: frames in order with their timestamps, parts that survive a kill, damaged files."""

from __future__ import annotations

import resource
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.cli.predict import refuse_for_video
from engine.config.task_sections import PredictConfig
from engine.data.catalog import DataError
from engine.inference.video import predict_video, refuse_existing
from engine.requests.predict_video import find_video
from engine.requests.refusals import Refused
from engine.run.directory import RunDir
from engine.run.scoring_events import Predicting
from engine.video.reading import Frame, Video, VideoError
from engine.video.views import Painter
from engine.video.writing import VideoParts
from tests.engine.made_up_runs import MadeUpJournal
from tests.videos import make_video, seconds_of

UNEVEN = (0, 40, 80, 150, 160, 333, 1000)
"""Milliseconds at which frames are shown."""


def painted(frame: Frame) -> Frame:
    """The same frame, darker and mirrored."""
    return Frame(frame.index, frame.pts, frame.duration, frame.pixels[:, ::-1] // 2)


def test_a_video_written_in_parts_has_every_frame_at_its_time(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", UNEVEN)
    video = Video.open(tmp_path / "in.mp4")
    assert (video.height, video.width, video.frames) == (48, 64, 7)
    parts = VideoParts(tmp_path / "parts", video, seconds=0)  # every frame is a part
    for frame in video.read():
        parts.add(frame, painted(frame).pixels)
    parts.finish(tmp_path / "out.mp4")
    assert not (tmp_path / "parts").exists()
    written = Video.open(tmp_path / "out.mp4")
    assert seconds_of(written) == pytest.approx([ms / 1000 for ms in UNEVEN])
    for before, after in zip(video.read(), written.read(), strict=True):
        assert np.abs(after.pixels.astype(int) - painted(before).pixels).mean() < 8
    assert (video.fault, written.fault) == ("", "")


def test_after_a_kill_the_whole_parts_are_kept_and_the_rest_is_made_again(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mkv", UNEVEN)
    video = Video.open(tmp_path / "in.mkv")
    killed = VideoParts(tmp_path / "parts", video)
    for frame in video.read():
        killed.add(frame, frame.pixels)
        if frame.index == 2:
            killed.end_part()
        if frame.index == 4:
            break  # these two are in a part that never ended
    again = VideoParts(tmp_path / "parts", video)
    assert again.done == 3
    made = []
    for frame in video.read(skip=again.done):
        again.add(frame, frame.pixels)
        made.append(frame.index)
    assert made == [3, 4, 5, 6]
    again.finish(tmp_path / "out.mkv")
    assert seconds_of(Video.open(tmp_path / "out.mkv")) == pytest.approx([ms / 1000 for ms in UNEVEN])


def test_a_gap_between_parts_ends_what_is_kept(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", UNEVEN)
    video = Video.open(tmp_path / "in.mp4")
    parts = VideoParts(tmp_path / "parts", video, seconds=0)
    for frame in video.read():
        parts.add(frame, frame.pixels)
    sorted((tmp_path / "parts").iterdir())[2].unlink()
    assert VideoParts(tmp_path / "parts", video).done == 2


def test_a_full_disk_costs_a_part_and_is_told_in_a_line(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", UNEVEN)
    video = Video.open(tmp_path / "in.mp4")
    parts = VideoParts(tmp_path / "parts", video, seconds=0)
    first, second, *_ = video.read()
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    parts.add(first, noise)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    def write() -> None:
        try:
            parts.add(second, noise)
        finally:
            parts.end_part()

    try:
        with pytest.raises(VideoError, match=r"parts: cannot be written: File too large$"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert VideoParts(tmp_path / "parts", video).done == 1


def test_sides_become_even(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", UNEVEN)
    video = Video.open(tmp_path / "in.mp4")
    parts = VideoParts(tmp_path / "parts", video)
    for frame in video.read():
        parts.add(frame, frame.pixels[:-1, :-3])
    parts.finish(tmp_path / "out.mkv")
    written = Video.open(tmp_path / "out.mkv")
    assert (written.height, written.width) == (48, 62)


def test_a_truncated_video_gives_its_frames_and_says_how_many(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", range(0, 4000, 40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = Video.open(path)
    frames = list(video.read())
    assert 10 < len(frames) < 90
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert video.fault.startswith(f"{path}: {len(frames)} frames could be read; ")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_last_frame_that_is_shown_for_seconds_is_no_damage(tmp_path: Path, suffix: str) -> None:
    slides = Video.open(make_video(tmp_path / f"slides{suffix}", [0, 1000, 2000, 2040], last=8000))
    assert [frame.index for frame in slides.read()] == [0, 1, 2, 3]
    assert (slides.fault, float(slides.end)) == ("", pytest.approx(10.04))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no video at all", "is no video that can be read: Invalid data found when processing input"),
        (b"", "is no video that can be read: "),
        (None, "there is no such file"),
    ],
)
def test_what_is_no_video_is_refused_in_a_line(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError) as refused:
        Video.open(path)
    assert str(refused.value).startswith(f"{path}: {told}")


def test_where_a_video_cannot_go_is_refused(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mp4", UNEVEN)
    there = tmp_path / "there.mp4"
    there.touch()
    for images, out, told in (
        (["a.mp4", "b.mp4"], there, "a video is predicted alone"),
        ([str(clip)], tmp_path / "out.gif", "must end in one of .mp4, .mkv"),
        ([str(clip)], tmp_path / "no" / "out.mp4", "there is no folder"),
        ([str(clip)], there, "already exists; add --overwrite"),
    ):
        with pytest.raises(Refused, match=told):
            find_video(images, out, overwrite=False)
    with pytest.raises(Refused, match="is the video itself"):
        find_video([str(clip)], clip, overwrite=True)
    assert find_video([str(clip)], there, overwrite=True)[1] == there


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("classes", [[255, 0, 0], [0, 0, 255]]),
        ("overlay", [[177, 50, 50], [50, 50, 177]]),
        ("side-by-side", [[100] * 3, [100] * 3, [177, 50, 50], [50, 50, 177]]),
    ],
)
def test_views(view: str, expected: list[list[int]]) -> None:
    frame = np.full((1, 2, 3), 100, np.uint8)
    found = Painter(view, ("#ff0000", "#0000ff")).paint(frame, np.array([[0, 1]], np.uint8))
    assert np.abs(found[0].astype(int) - expected).max() <= 1


def test_time_bases_need_not_be_those_of_the_container(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", (0, 1001, 2002, 5005), unit=Fraction(1, 30000))
    video = Video.open(path)
    parts = VideoParts(tmp_path / "parts", video)
    for frame in video.read():
        parts.add(frame, frame.pixels)
    parts.finish(tmp_path / "out.mp4")
    exact = [Fraction(frame.pts) * video.time_base for frame in video.read()]
    written = Video.open(tmp_path / "out.mp4")
    assert [Fraction(frame.pts) * written.time_base for frame in written.read()] == exact


def test_what_somebody_else_wrote_since_a_run_was_queued_stays(tmp_path: Path) -> None:
    run, out = RunDir(tmp_path / "aaaaaaaa"), tmp_path / "out.mp4"
    run.path.mkdir()
    about = PredictConfig(source="r", checkpoint="c", images=("clip.mp4",), out=str(out), video=True)
    job: Any = SimpleNamespace(run=run)
    network: Any = None
    journal = MadeUpJournal()
    journal.begin()
    journal.write(run.journal)
    refuse_existing(job, about)
    out.write_bytes(b"theirs")
    with pytest.raises(DataError, match=r"out\.mp4: already exists; use another --out or add --overwrite$"):
        predict_video(job, about, network)
    refuse_existing(job, about.model_copy(update={"overwrite": True}))
    journal.add(
        Predicting(
            source="r",
            checkpoint="c",
            sha256="1",
            epoch=1,
            images=1,
            done=0,
            out=str(out),
            label_resize="nearest",
            tta="none",
            classes=["road"],
            colors=["#000000"],
        )
    )
    journal.write(run.journal)
    refuse_existing(job, about)  # an attempt of its own has made it


def test_keys_of_a_crf_are_refused_for_a_video() -> None:
    usual = {"ids": "train", "naming": "plain", "crf": False, "view": "", "size": ""}
    wanted: Any = SimpleNamespace(**usual, set_key=["device=cpu"])
    refuse_for_video(wanted)
    wanted.set_key.append("crf.iterations=5")
    with pytest.raises(Refused, match=r"^--set crf\.iterations=5: has no effect on videos"):
        refuse_for_video(wanted)
