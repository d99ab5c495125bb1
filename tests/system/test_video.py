"""`seg-engine predict` on a video and on raw frames in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.classes import CITYSCAPES
from engine.run.directory import RunDir
from engine.run.journal import read_all
from engine.run.scoring_events import Predicting
from engine.video.reading import Video
from tests.system.test_evaluate import FAST, SOURCE, source  # noqa: F401
from tests.system.test_run_command import Command, command, done  # noqa: F401
from tests.videos import make_video, seconds_of

SETTINGS = tuple(word for key in FAST for word in ("--set", key))
TIMES = (0, 40, 80, 150, 160, 333, 1000, 1040, 1080, 1120)
COLORS = np.array([info.color for info in CITYSCAPES.classes], np.uint8)


def test_a_video_shows_the_classes_that_a_pipe_gives_frame_by_frame(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    tmp_path: Path,
) -> None:
    clip = Video.open(make_video(tmp_path / "clip.mp4", TIMES))
    out = tmp_path / "out.mkv"
    status, said, err = done(
        command("predict", SOURCE, str(clip.path), "--out", str(out), "--view", "classes", *SETTINGS)
    )
    assert status == 0, err
    assert f"video:   {out}" in said
    made = Video.open(out)
    assert seconds_of(made) == pytest.approx([ms / 1000 for ms in TIMES], abs=0.001)

    frames = list(clip.read())
    ids = piped(tmp_path, b"".join(frame.pixels.tobytes() for frame in frames))
    assert len(ids) == len(frames) * clip.height * clip.width
    maps = np.frombuffer(ids, np.uint8).reshape(len(frames), clip.height, clip.width)
    for shown, classes in zip(made.read(), maps, strict=True):
        # Lossy, and colours have half the resolution: the mean of all pixels stays.
        assert np.abs(shown.pixels.mean((0, 1)) - COLORS[classes].mean((0, 1))).max() < 6

    status, _, err = done(command("predict", SOURCE, str(clip.path), "--out", str(out)))
    assert (status, "already exists; add --overwrite" in err) == (2, True)
    assert not list(source.path.parent.glob("*/outputs/parts-*"))


def piped(workspace: Path, frames: bytes) -> bytes:
    """What the command makes of frames; it is given half a frame more, and says so."""
    arguments = ("predict", SOURCE, "--from-stdin", "raw", "--size", "48x64", "--set", "device=cpu")
    process = subprocess.run(
        [sys.executable, "-c", "from engine.cli.main import main; main()", *arguments],
        input=frames + bytes(48 * 32 * 3),
        capture_output=True,
        env={**os.environ, "SEG_WORKSPACE": str(workspace)},
        timeout=120,
    )
    error = process.stderr.decode()
    assert process.returncode == 1, error
    assert "stdin ended within frame 11, after 4608 of its 9216 bytes" in error
    assert "Traceback" not in error
    return process.stdout


def test_a_reader_that_closes_the_pipe_is_no_fault(source: RunDir, tmp_path: Path) -> None:  # noqa: F811
    arguments = ("predict", SOURCE, "--from-stdin", "raw", "--size", "48x64", "--set", "device=cpu")
    process = subprocess.Popen(
        [sys.executable, "-c", "from engine.cli.main import main; main()", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SEG_WORKSPACE": str(tmp_path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(bytes(48 * 64 * 3))
    process.stdin.flush()
    assert len(process.stdout.read(48 * 64)) == 48 * 64
    process.stdout.close()
    with process.stdin as pipe:
        pipe.write(bytes(48 * 64 * 3))
    assert process.wait(120) == 0
    assert process.stderr.read() == b""


def test_a_damaged_video_costs_only_what_cannot_be_read(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    tmp_path: Path,
) -> None:
    clip = make_video(tmp_path / "clip.mkv", range(0, 2000, 40))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    readable = len(list(Video.open(clip).read()))
    out = tmp_path / "out.mp4"
    words = ("--out", str(out), "--window", "32x32", *SETTINGS)
    status, _, err = done(command("predict", SOURCE, str(clip), *words))
    assert status == 1
    assert f"{clip}: {readable} frames could be read" in err
    assert f"{out} has {readable} frames" in err
    assert len(list(Video.open(out).read())) == readable
    (made,) = (folder for folder in source.path.parent.iterdir() if folder != source.path)
    (told,) = (event for event in read_all(RunDir(made).journal) if isinstance(event, Predicting))
    assert (told.window_size, told.window_stride) == ("32x32", "21x21")
