"""Reading an epoch from the image cache against decoding the files in every epoch.

    python benchmarks/data_cache.py                      # makes its own 2048x1024 PNGs
    python benchmarks/data_cache.py --data CITYSCAPES    # uses the pairs of a real data set

Decoding is what a training loop without a cache does: open, check and resize every pair, with all cores.
The cache is read as a training loop does it: batches of 64 gathered in random order from memory-mapped
arrays of 2,975 images, the size of the Cityscapes training folder. Both were read once before, so that
neither waits for the disk. Decoding is measured on fewer pairs and multiplied.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import CITYSCAPES, ClassSet
from engine.data.cache import open_cache
from engine.data.cache_files import Cache
from engine.data.catalog import Sample, scan
from engine.data.decode import map_in_order, read_pair, resize_image, resize_labels

EPOCH = 2975
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="a real data set instead of made images")
    parser.add_argument("--pairs", type=int, default=32, help="pairs to decode (default: 32)")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 128), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--workers", type=int, help="decoding threads (default: one for each usable core)")
    arguments = parser.parse_args()
    size = (arguments.size[0], arguments.size[1])

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.data:
            catalog = scan(arguments.data)
            root, class_set = catalog.root, catalog.class_set
            samples = [sample for split in catalog.splits.values() for sample in split][: arguments.pairs]
        else:
            root, class_set = folder / "data", CITYSCAPES
            samples = [make_pair(root, f"{i}", (1024, 2048)) for i in range(arguments.pairs)]
        files = [path for sample in samples for path in (sample.image, sample.label) if path is not None]
        megabytes = sum(path.stat().st_size for path in files) / len(samples) / 1e6
        print(f"{len(samples)} pairs of {megabytes:.2f} MB, resized to {size[0]}x{size[1]}\n")

        decode = partial(decode_all, samples, size, class_set, root, arguments.workers)
        decode()  # once unmeasured: the files are in memory then
        decoding = seconds(decode) * EPOCH / len(samples)
        build = partial(
            open_cache, samples, size, class_set, root, folder / "cache", workers=arguments.workers
        )
        building = seconds(build) * EPOCH / len(samples)

        cache, opening = long_cache(folder / "long", size)
        order = np.random.default_rng(0).permutation(EPOCH)
        shuffled = min(seconds(partial(gather_all, cache, order)) for _ in range(5))
        ordered = min(seconds(partial(gather_all, cache, order, each_sorted=True)) for _ in range(5))

    print(f"{'an epoch of 2,975 images':44}{'seconds':>10}{'images/s':>12}")
    for name, taken in (
        ("decode, check and resize in every epoch", decoding),
        ("build the cache, once", building),
        ("open and verify the cache, once a run", opening),
        ("gather batches of 64, random rows", shuffled),
        ("gather batches of 64, each batch's rows sorted", ordered),
    ):
        print(f"{name:46}{taken:8.3f}{EPOCH / taken:12,.0f}")
    print(f"\nthe cache is {decoding / shuffled:,.0f} times as fast as decoding")


def make_pair(root: Path, name: str, size: tuple[int, int]) -> Sample:
    """A pair as large on disk as a real one: smooth shading with a sensor's noise, labels in blocks."""
    height, width = size
    generator = np.random.default_rng(int(name))
    shading = Image.fromarray(generator.integers(0, 256, (8, 16, 3), np.uint8)).resize((width, height))
    noise = generator.normal(0, 1.3, (height, width, 3))
    blocks = Image.fromarray(generator.integers(0, 34, (16, 32)).astype(np.uint8))
    image, label = root / "images" / f"{name}.png", root / "labels" / f"{name}.png"
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.asarray(shading) + noise).clip(0, 255).astype(np.uint8)).save(image)
    blocks.resize((width, height), Image.Resampling.NEAREST).save(label)
    return Sample(name, image, label)


def decode_all(
    samples: list[Sample], size: tuple[int, int], class_set: ClassSet, root: Path, workers: int | None
) -> None:
    def decode(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        pair, faults = read_pair(sample, class_set, root)
        if pair is None:
            raise SystemExit(f"{faults[0].path}: {faults[0].problem}")
        return resize_image(pair[0], size), resize_labels(pair[1], size)

    for _ in map_in_order(decode, samples, workers):
        pass


def long_cache(folder: Path, size: tuple[int, int]) -> tuple[Cache, float]:
    """A cache of a whole epoch, quickly made from one small pair, and the seconds that opening it takes."""
    pair = make_pair(folder, "0", size)
    samples = [Sample(f"{i:04}", pair.image, pair.label) for i in range(EPOCH)]
    open_it = partial(open_cache, samples, size, CITYSCAPES, folder, folder / "cache")
    open_it()
    return open_it(), min(seconds(open_it) for _ in range(3))


def gather_all(cache: Cache, order: NDArray[np.int64], each_sorted: bool = False) -> None:
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        if each_sorted:
            rows = np.sort(rows)
        _ = cache.images[rows], cache.labels[rows]  # indexing with an array copies


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
