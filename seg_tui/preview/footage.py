"""The video that a run has made, frame by frame: its output, or as long as that is not there its parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from engine.run.directory import RunDir
from engine.store import RunRow
from engine.tasks import TASKS
from engine.video.reading import Video, VideoError
from engine.video.views import Pixels
from engine.video.writing import complete_parts


def footage_of(row: RunRow, run: RunDir) -> tuple[Path, ...]:
    """The files of the video that a run has made by now, in order; none where it makes no video."""
    made = TASKS[row.task].files(row, run.path).get("video")
    if made is None:
        return ()
    for folder in run.outputs.glob("parts-*"):
        if parts := complete_parts(folder):
            return tuple(parts)
    return (made,) if row.ended and made.is_file() else ()


@dataclass(frozen=True, eq=False)
class Shot:
    """Pixels uint8 [H, W, 3] in RGB, and when they are shown, in seconds."""

    seconds: Fraction
    pixels: Pixels


@dataclass(frozen=True)
class Footage:
    """Videos that follow each other in time."""

    videos: tuple[Video, ...]

    @property
    def start(self) -> Fraction:
        return _start(self.videos[0])

    @property
    def end(self) -> Fraction:
        """When it ends, as far as is known."""
        return max(video.end for video in self.videos)

    def since(self, seconds: Fraction) -> Iterator[Shot]:
        """What is shown at `seconds` or later."""
        begun = [video for video in self.videos if _start(video) <= seconds]
        for video in self.videos[max(0, len(begun) - 1) :]:
            for frame in video.since(seconds):
                yield Shot(frame.pts * video.time_base, frame.pixels)

    def last_before(self, seconds: Fraction) -> Shot | None:
        """What is shown right before `seconds`."""
        for video in reversed(self.videos):
            if _start(video) < seconds and (frame := video.last_before(seconds)) is not None:
                return Shot(frame.pts * video.time_base, frame.pixels)
        return None


def _start(video: Video) -> Fraction:
    return video.start * video.time_base


class Reel:
    """Where one is in a video. Methods decode, so they are for threads, one of which is at work at a time.
    Each gives what is shown then, or None where there is nothing further. They raise VideoError.

    `find` tells the files that there are: more while a run goes on, others once it has ended. One frame is in
    memory, and what a decoder keeps.
    """

    def __init__(self, find: Callable[[], tuple[Path, ...]]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._coming: Iterator[Shot] | None = None
        self._at: Fraction | None = None
        self.start = self.end = Fraction(0)

    def next(self) -> Shot | None:
        """One frame on."""
        with self._lock:
            if self._coming is None:
                at, footage = self._at, self._open()
                self._coming = footage.since(footage.start if at is None else at)
            shot = next((shot for shot in self._coming if self._at is None or shot.seconds > self._at), None)
            if shot is None:
                self._coming = None  # more may come
            return self._keep(shot)

    def back(self) -> Shot | None:
        """One frame back."""
        with self._lock:
            self._coming = None
            footage = self._open()
            return self._keep(footage.last_before(footage.start if self._at is None else self._at))

    def go_to(self, seconds: Fraction) -> Shot | None:
        """What is shown at a time, or first after it; at the end the last frame."""
        with self._lock:
            footage = self._open()
            self._coming = footage.since(max(seconds, footage.start))
            shot = next(self._coming, None) if seconds < footage.end else None
            if shot is None:
                self._coming = None
                shot = footage.last_before(footage.end + 1)
            return self._keep(shot)

    def _open(self) -> Footage:
        files = self._find()
        if not files:
            raise VideoError("the run has no video any more")
        footage = Footage(tuple(Video.open(path) for path in files))
        self.start, self.end = footage.start, footage.end
        return footage

    def _keep(self, shot: Shot | None) -> Shot | None:
        if shot is not None:
            self._at = shot.seconds
            self.end = max(self.end, shot.seconds)
        return shot
