"""Tiny videos for tests."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.video.reading import Video


def make_video(
    path: Path,
    times: Iterable[int],
    size: tuple[int, int] = (48, 64),
    unit: Fraction = Fraction(1, 1000),
    last: int = 0,
) -> Path:
    """A clip whose frames, half grey and half noise, are shown at `times`, in units of `unit` seconds, and
    the `last` for so long; 0: as the frame rate says. Skips the test where PyAV is not installed."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        stream.codec_context.time_base = stream.time_base = unit
        packets: list[Any] = []
        for index, pts in enumerate(times):
            pixels = np.full((*size, 3), index * 20 % 256, np.uint8)
            noise = np.random.default_rng(index).integers(0, 256, (size[0] // 2, size[1], 3))
            pixels[: size[0] // 2] = noise.mean(axis=2, keepdims=True)
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = pts, unit
            packets += stream.encode(picture)
        packets += stream.encode(None)
        if last:
            packets[-1].duration = int(last * unit / packets[-1].time_base)
        container.mux(packets)
    return path


def seconds_of(video: Video) -> list[float]:
    """When each frame is shown."""
    return [float(frame.pts * video.time_base) for frame in video.read()]
