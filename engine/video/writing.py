"""A video that is written in parts, so that whoever is stopped or killed goes on after the last whole part.

A part is a file of its own that begins with a key frame; it gets its name, the numbers of its frames, when it
is complete. In the end the parts are put together without another encoding. Timestamps are kept.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.run.files import replacing, sync_folder
from engine.video.reading import Frame, Video, VideoError, pyav

CONTAINERS = {".mp4": "mp4", ".mkv": "matroska"}
"""Formats of an output by its suffix."""

ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "20", "bf": "0"},
    "libopenh264": {},
    "mpeg4": {"q": "3", "bf": "0"},
}
"""Encoders with their options, the best first; without frames that refer to later ones, timestamps of packets
are those of frames."""

PART_SECONDS = 30.0
"""Longest time until a part is complete, and so of work that a kill loses."""


@dataclass
class VideoParts:
    """The parts of an output in a `folder` of their own; `done` frames are in complete ones."""

    folder: Path
    video: Video
    seconds: float = PART_SECONDS
    done: int = field(init=False)
    _begun: float = field(init=False, default=0.0)
    _container: Any = field(init=False, default=None)
    _stream: Any = field(init=False, default=None)
    _first: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = complete_parts(self.folder)
        for path in self.folder.iterdir():
            if path not in kept:
                path.unlink()
        self.done = _numbers(kept[-1])[1] if kept else 0

    def add(self, frame: Frame, pixels: NDArray[np.uint8]) -> None:
        """Encode what was made of the next frame, uint8 [H, W, 3]; sides become even by repeating the last
        row or column. Raises VideoError."""
        av = pyav(self._unfinished)
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        try:
            if self._container is None:
                self._begin(frame.index, pixels.shape[0], pixels.shape[1])
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            picture.pts, picture.time_base = frame.pts, self.video.time_base
            if frame.duration:
                picture.duration = frame.duration
            self._mux(picture)
        except av.FFmpegError as error:
            self._container = None  # the part is lost
            raise VideoError(f"{self.folder}: cannot be written: {error.strerror}") from error
        self.done = frame.index + 1
        if time.monotonic() - self._begun >= self.seconds:
            self.end_part()

    def end_part(self) -> None:
        """Complete the part that is being written, if there is one: it is kept from here on. Raises
        VideoError where that fails; the part is lost then."""
        if self._container is None:
            return
        av = pyav(self._unfinished)
        try:
            self._mux(None)
            self._container.close()
        except av.FFmpegError as error:
            raise VideoError(f"{self.folder}: cannot be written: {error.strerror}") from error
        finally:
            self._container = None
        with open(self._unfinished, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(self._unfinished, self.folder / f"{self._first:09d}-{self.done:09d}.nut")
        sync_folder(self.folder)

    def finish(self, out: Path) -> None:
        """Put all parts together as `out`, whole or not at all, and remove them. Raises VideoError where
        there is no frame."""
        self.end_part()
        av = pyav(out)
        parts = complete_parts(self.folder)
        if not parts:
            raise VideoError(f"{out}: is not written, as there is no frame")
        try:
            with (
                replacing(out) as file,
                av.open(file, "w", format=CONTAINERS[out.suffix.lower()]) as container,
            ):
                target = None
                for part in parts:
                    with av.open(str(part)) as source:
                        stream = source.streams.video[0]
                        if target is None:
                            target = container.add_stream_from_template(stream)
                            target.time_base = stream.time_base
                            header = stream.codec_context.extradata
                        elif stream.codec_context.extradata != header:
                            raise VideoError(
                                f"{part}: was encoded by another encoder than the parts before it; "
                                f"remove {self.folder} and resume"
                            )
                        for packet in source.demux(stream):
                            if packet.size:  # the last one only says that there are no more
                                packet.dts = packet.pts  # which NUT leaves out where it is not sure
                                packet.stream = target
                                container.mux(packet)
        except av.FFmpegError as error:
            raise VideoError(f"{out}: cannot be written: {error.strerror}") from error
        shutil.rmtree(self.folder)

    @property
    def _unfinished(self) -> Path:
        return self.folder / "unfinished.nut"

    def _begin(self, first: int, height: int, width: int) -> None:
        av = pyav(self._unfinished)
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        # NUT keeps any time base exactly, which neither MP4 nor Matroska does.
        self._container = av.open(str(self._unfinished), "w", format="nut")
        self._stream = self._container.add_stream(encoder, rate=self.video.rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.options = ENCODERS[encoder]
        self._stream.codec_context.time_base = self._stream.time_base = self.video.time_base
        self._first, self._begun = first, time.monotonic()

    def _mux(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            self._container.mux(packet)


def complete_parts(folder: Path) -> list[Path]:
    """The complete parts in a folder, from the first frame on, without a gap."""
    chain: list[Path] = []
    for path in sorted(folder.glob("*-*.nut")):
        if _numbers(path)[0] == (_numbers(chain[-1])[1] if chain else 0):
            chain.append(path)
    return chain


def _numbers(part: Path) -> tuple[int, int]:
    first, _, end = part.stem.partition("-")
    return int(first), int(end)
