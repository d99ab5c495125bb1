"""A clip made of the frames of a data set, in the order of their names.

    python -m benchmarks.video FOLDER clip.mp4 [--rate 10] [--seconds 10]

Needs the extra `video`. `seg-engine predict RUN clip.mp4 --out overlay.mp4` colours it and tells the frames a
second."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from engine.data.walk import IMAGE_SUFFIXES
from engine.video.reading import Frame, Video
from engine.video.writing import VideoParts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rate", type=int, default=10, help="frames a second")
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    paths = paths[: options.rate * options.seconds]
    unit = Fraction(1, options.rate)
    clip = Video(options.clip, 0, 0, len(paths), Fraction(options.rate), unit)
    parts = VideoParts(options.clip.with_suffix(".parts"), clip)
    for index, path in enumerate(paths):
        parts.add(Frame(index, index, 1, np.empty(0, np.uint8)), np.asarray(Image.open(path).convert("RGB")))
    parts.finish(options.clip)
    print(f"{len(paths)} frames, {len(paths) / options.rate:g} s: {options.clip}")


if __name__ == "__main__":
    main()
