"""What full-size images cost: crops of a cache of 1024x2048, and inference at 1024x2048 in windows and as a
whole.

    python -m benchmarks.high_resolution [--width 16] [--images 32] [--rounds 5] [--photos FOLDER]

Crops: batches of 4 for a training step, of 256x512 out of images of 1024x2048 (cut while they are gathered,
and cut out of whole images that were gathered, as for random scales) against images of 256x512, in turns;
with the step itself and without. Inference: one image after the other through a U-Net, as
`evaluate --at original` does; with --photos the PNG files below a folder, which are decoded, else noise. Peak
memory is what a process of its own has needed beyond its imports and the network, by the first, the second,
the fourth and the eighth image.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from engine.config.sections import RuntimeConfig
from engine.worker.process import prepare_process

prepare_process(RuntimeConfig(threads=1))  # threads and allocator, before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from engine.config.keys import with_values  # noqa: E402
from engine.config.recipes import get_recipe  # noqa: E402
from engine.config.run_config import RunConfig  # noqa: E402
from engine.data.batches import ResidentBatches  # noqa: E402
from engine.inference.network import LoadedModel, ready  # noqa: E402
from engine.learning.class_maps import class_map  # noqa: E402
from engine.learning.distributed import ALONE  # noqa: E402
from engine.learning.hardware import choose_hardware  # noqa: E402
from engine.learning.windows import WHOLE_IMAGES, Windows  # noqa: E402
from engine.models.registry import build_model  # noqa: E402
from engine.training.crops import crops_of_epoch  # noqa: E402
from engine.training.state import new_state  # noqa: E402
from engine.training.step import augmented, training_step  # noqa: E402

FULL, CROP, BATCH = (1024, 2048), (256, 512), 4
CLASSES = [str(number) for number in range(19)]
CROP_WAYS = ("images of 256x512", "crops, cut while gathered", "crops, cut out of whole images")
SEEN = {
    "whole": WHOLE_IMAGES,
    "windows of 512x1024": Windows((512, 1024), (341, 683)),
    "windows of 256x512": Windows((256, 512), (171, 341)),
}
"""How inference sees images of 1024x2048."""
NOTED = (1, 2, 4, 8)
"""After how many images the peak is noted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--width", type=int, default=16, help="of the U-Net")
    parser.add_argument("--images", type=int, default=32, help="images of the cache")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=Path, help="folder of images for the memory of inference")
    parser.add_argument("--only-memory", action="store_true", help="measure the memory of inference alone")
    parser.add_argument("--peak", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        made = peaks_mib(options.peak, options.folder, options.images, options.width, options.photos)
        print(*made)
        return
    if options.only_memory:
        tell_memory(options.width, options.photos)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_cache(folder, options.images)
        tell_crops(folder, options.images, options.width, options.rounds)
        tell_inference(options.width, options.rounds)
    tell_memory(options.width, options.photos)


def make_cache(folder: Path, images: int) -> None:
    """Images and labels as a cache has them, of both sizes."""
    rng = np.random.default_rng(0)
    for size in (FULL, CROP):
        for kind, shape in (("images", (*size, 3)), ("labels", size)):
            highest = 256 if kind == "images" else len(CLASSES)
            one = rng.integers(0, highest, shape, dtype=np.uint8)
            array = np.lib.format.open_memmap(
                folder / f"{kind}{size[0]}.npy", mode="w+", dtype=np.uint8, shape=(images, *shape)
            )
            for number in range(images):
                array[number] = np.roll(one, number, axis=0)


def cached(folder: Path, size: tuple[int, int], images: int) -> ResidentBatches:
    images_of, labels_of = (
        torch.from_numpy(np.load(folder / f"{kind}{size[0]}.npy", mmap_mode="c"))
        for kind in ("images", "labels")
    )
    return ResidentBatches(images_of, labels_of, torch.arange(images))


def config_of(width: int, way: str) -> RunConfig:
    values = {"model.width": width, "batch_size": BATCH, "runtime.compile": "off", "augment.flip": 0.5}
    if way == CROP_WAYS[0]:
        return with_values(get_recipe("quick"), values | {"data.size": CROP})
    return with_values(get_recipe("quick"), values | {"data.size": FULL, "augment.crop": CROP})


def training(folder: Path, images: int, width: int, way: str) -> Callable[[bool], None]:
    """A function that makes one batch, and trains on it or not."""
    config = config_of(width, way)
    state = new_state(config, choose_hardware(config), CLASSES)
    state.model.train()
    state.begin_epoch(images)
    batches = cached(folder, config.data.size, images)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(0))
    crops = crops_of_epoch(state, images, order, BATCH, None, ALONE) if way == CROP_WAYS[1] else None

    def once(learns: bool) -> None:
        batch = next(batches(order, BATCH, state.step, crops))
        if learns:
            training_step(state, batch, BATCH)
        else:
            augmented(state, batch, BATCH)
            state.step += 1
        state.step %= images // BATCH

    return once


def tell_crops(folder: Path, images: int, width: int, rounds: int) -> None:
    ways = {way: training(folder, images, width, way) for way in CROP_WAYS}
    print(f"crops of 256x512 from 1024x2048, batch {BATCH}, U-Net of width {width}, one thread")
    print(f"{'images/s':32} {'batches alone':>14} {'ratio':>6} {'training':>9} {'ratio':>6} {'peak MiB':>9}")
    speeds: dict[str, list[float]] = {}
    for learns, times in ((False, 4 * rounds), (True, rounds)):
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(1 + times):
            for way, once in ways.items():
                begun = time.process_time()
                once(learns)
                seconds[way].append(time.process_time() - begun)
        for way, found in seconds.items():
            speeds.setdefault(way, []).append(BATCH / statistics.median(found[1:]))
    base = speeds[CROP_WAYS[0]]
    for way, (alone, learning) in speeds.items():
        ratios = alone / base[0], learning / base[1]
        told = f"{way:32} {alone:14.1f} {ratios[0]:6.2f} {learning:9.2f} {ratios[1]:6.2f}"
        print(f"{told} {peaks_of(way, folder, images, width)[-1]:9.0f}", flush=True)


def inference(width: int, windows: Windows, photos: Path | None = None) -> Callable[[], None]:
    """A function that makes the class map of one image at full size."""
    config = with_values(get_recipe("quick"), {"model.width": width, "data.size": FULL})
    model = build_model(config.model, len(CLASSES))
    loaded = LoadedModel(model, config.model, tuple(CLASSES), 1, "")
    network = ready(loaded, config, choose_hardware(config), windows=windows)
    noise = np.random.default_rng(0).integers(0, 256, (*FULL, 3), dtype=np.uint8)
    files = cycle(sorted(photos.rglob("*.png"))) if photos is not None else None

    def once() -> None:
        views = [noise] if files is None else network.views(Image.open(next(files)).convert("RGB"))
        class_map(network.logits(views), FULL, "bilinear-logits")

    return once


def tell_inference(width: int, rounds: int) -> None:
    precision = choose_hardware(RunConfig()).precision
    print(f"\nclass maps of 1024x2048, 19 classes, U-Net of width {width}, {precision}, one thread")
    print(f"{'the network sees':24} {'s an image':>10}")
    ways = {name: inference(width, windows) for name, windows in SEEN.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(1, rounds // 2)):
        for name, once in ways.items():
            begun = time.process_time()
            once()
            seconds[name].append(time.process_time() - begun)
    for name, found in seconds.items():
        print(f"{name:24} {statistics.median(found):10.2f}", flush=True)


def tell_memory(width: int, photos: Path | None) -> None:
    what = "noise" if photos is None else str(photos)
    print(f"\npeak MiB of class maps of 1024x2048, U-Net of width {width}, {what}")
    print(f"{'the network sees':24}", *(f"{f'image {number}':>8}" for number in NOTED))
    for name in SEEN:
        peaks = peaks_of(name, None, max(NOTED), width, photos)
        print(f"{name:24}", *(f"{peaks[number - 1]:8.0f}" for number in NOTED), flush=True)


def peaks_of(
    way: str, folder: Path | None, images: int, width: int, photos: Path | None = None
) -> list[float]:
    """`peaks_mib` in a process of its own."""
    words = ["--peak", way, "--images", str(images), "--width", str(width)]
    words += ["--folder", str(folder)] if folder is not None else []
    words += ["--photos", str(photos)] if photos is not None else []
    command = [sys.executable, "-m", "benchmarks.high_resolution", *words]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(word) for word in printed.split()]


def peaks_mib(way: str, folder: Path, images: int, width: int, photos: Path | None) -> list[float]:
    """What has been needed beyond what was there before, by the end of each of a few batches, or of `images`
    images."""
    once: Callable[[], None]
    if way in SEEN:
        once, times = inference(width, SEEN[way], photos), images
    else:
        step = training(folder, images, width, way)
        once, times = (lambda: step(True)), 3
    before = status_kib("RssAnon")
    peaks: list[float] = []
    # What is mapped from the cache belongs to the kernel, which takes it back when memory is short.
    for _ in range(times):
        once()
        # Not ru_maxrss, which begins with what the parent had when it started this process.
        highest = status_kib("VmHWM") - status_kib("RssFile")
        peaks.append(max([highest - before, *(1024 * peak for peak in peaks)]) / 1024)
    return peaks


def status_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
