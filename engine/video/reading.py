"""Frames of a video file, in order, with their timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import EngineError
from engine.host.input_files import InputFileError, refuse_irregular, shown

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts")
"""What the name of a video ends in."""


class VideoError(EngineError):
    """A video that cannot be read or written; the message is one line."""


@dataclass(frozen=True)
class Frame:
    """Pixels uint8 [H, W, 3] in RGB, and when the frame is shown and for how long, in units of its video's
    time base."""

    index: int
    pts: int
    duration: int
    pixels: NDArray[np.uint8]


@dataclass
class Video:
    """A video file. `frames` is how many there are as far as its header says, 0 where that is not known;
    `time_base` is the unit of timestamps in seconds."""

    path: Path
    width: int
    height: int
    frames: int
    rate: Fraction
    time_base: Fraction
    turned: int = 0
    """Degrees by which players turn it, which is not done here."""
    start: int = 0
    """When its first frame is shown, in units of the time base."""
    fault: str = ""
    """What is wrong with it, once `read` has come upon it."""
    _duration: Fraction | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: Path) -> Video:
        """Look at the header and the first frame. Raises VideoError."""
        try:
            refuse_irregular(path)
        except InputFileError as error:
            raise VideoError(str(error)) from error
        av = pyav(path)
        try:
            with av.open(str(path)) as container:
                stream = next(iter(container.streams.video), None)
                if stream is None:
                    raise VideoError(f"{shown(path)}: has no video stream")
                first = next(iter(container.decode(stream)), None)
                if first is None:
                    raise VideoError(f"{shown(path)}: has no frame that can be decoded")
                rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
                duration = _duration(container, stream)
                return cls(
                    path,
                    first.width,
                    first.height,
                    stream.frames or (round(duration * rate) if duration else 0),
                    rate,
                    Fraction(stream.time_base),
                    int(first.rotation),
                    int(first.pts or 0),
                    _duration=duration,
                )
        except av.FFmpegError as error:
            raise VideoError(f"{shown(path)}: is no video that can be read: {error.strerror}") from error

    def read(self, skip: int = 0) -> Iterator[Frame]:
        """The frames from number `skip` on, one in memory at a time. They end where the file is damaged, and
        `fault` then says so.

        Timestamps are those of the file; a frame without one, or with one that does not come after the last,
        gets the next that the frame rate gives.
        """
        av = pyav(self.path)
        step = max(1, round(1 / (self.rate * self.time_base)))
        done, last, length = 0, -step, 0
        begun: int | None = None
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                for frame in container.decode(stream):
                    if frame.is_corrupt:
                        self.fault = self._told(done, "the rest is damaged")
                        return
                    pts = frame.pts if frame.pts is not None else last + step
                    pts = pts if done == 0 or pts > last else last + step
                    begun = pts if begun is None else begun
                    last, length, done = pts, int(frame.duration or 0), done + 1
                    if done > skip:
                        pixels = frame.to_ndarray(format="rgb24", width=self.width, height=self.height)
                        yield Frame(done - 1, pts, length, pixels)
        except av.FFmpegError as error:
            self.fault = self._told(done, f"the rest is damaged: {error.strerror}")
            return
        # The last frame of a recording of a still screen, or of slides, may be shown for seconds.
        shown_for = (last + length - (begun or 0)) * self.time_base
        if self._duration is not None and shown_for < self._duration - max(Fraction(1, 2), 3 / self.rate):
            self.fault = self._told(done, f"it ends before the {float(self._duration):.1f} s of its header")

    @property
    def note(self) -> str:
        """What players do with it and nobody does here, "" for nothing."""
        if not self.turned:
            return ""
        return f"{shown(self.path)}: its tag to turn it by {self.turned} degrees is ignored"

    @property
    def end(self) -> Fraction:
        """When it ends in seconds, as far as its header says; else when it begins."""
        length = self._duration or (self.frames / self.rate if self.frames else Fraction(0))
        return self.start * self.time_base + length

    def since(self, seconds: Fraction) -> Iterator[Frame]:
        """The frames that are shown at `seconds` or later, from the key frame before on; `index` is that of
        the mean frame rate. They end where the file is damaged."""
        for pts, frame in self._from_key_frame(seconds):
            if pts * self.time_base >= seconds:
                yield self._frame(pts, frame)

    def last_before(self, seconds: Fraction) -> Frame | None:
        """The last frame that is shown before `seconds`; None where there is none."""
        found: tuple[int, Any] | None = None
        for pts, frame in self._from_key_frame(seconds - self.time_base):
            if pts * self.time_base >= seconds:
                break
            found = pts, frame
        return None if found is None else self._frame(*found)

    def _from_key_frame(self, seconds: Fraction) -> Iterator[tuple[int, Any]]:
        av = pyav(self.path)
        last: int | None = None
        step = max(1, round(1 / (self.rate * self.time_base)))
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                if seconds > self.start * self.time_base:
                    with suppress(av.FFmpegError):  # a file that cannot be searched is read from its start
                        container.seek(int(seconds / self.time_base), stream=stream)
                for frame in container.decode(stream):
                    next_one = self.start if last is None else last + step
                    last = next_one if frame.pts is None else int(frame.pts)
                    yield last, frame
        except av.FFmpegError:
            return

    def _frame(self, pts: int, frame: Any) -> Frame:
        index = round((pts - self.start) * self.time_base * self.rate)
        pixels = frame.to_ndarray(format="rgb24", width=self.width, height=self.height)
        return Frame(index, pts, int(frame.duration or 0), pixels)

    def _told(self, done: int, problem: str) -> str:
        return f"{shown(self.path)}: {done} frames could be read; {problem}"


def _duration(container: Any, stream: Any) -> Fraction | None:
    """Seconds that the header tells of the pictures alone."""
    if stream.duration:
        return Fraction(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, 1_000_000)
    return None


def is_video(name: str) -> bool:
    """Whether a name is that of a video."""
    return name.lower().endswith(SUFFIXES)


def pyav(path: Path) -> Any:
    """The module `av`. Raises VideoError where it is not installed; `path` is what it is needed for."""
    try:
        import av
        import av.logging
    except ImportError as error:
        raise VideoError(f"{shown(path)}: needs PyAV: pip install 'seg-engine[video]'") from error
    av.logging.set_level(None)  # what libraries print, errors say again
    return av
