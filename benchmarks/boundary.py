"""What scores of boundaries and instances cost at full size, against the network that predicts.

    python benchmarks/boundary.py [--rounds 3]

2048x1024, 19 classes, one thread. The network is that of `paper-unet` (U-Net of width 64) in the precision
that a run takes here. The predictions are the labels of a synthetic scene, moved by 3 pixels, with and
without 2 % of the pixels at random. The network and the scores run in turns; seconds are of the processor."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine.config.sections import RuntimeConfig
from engine.worker.process import prepare_process

prepare_process(RuntimeConfig(threads=1))  # threads and allocator, before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from engine.classes import CITYSCAPES, VOID  # noqa: E402
from engine.config.recipes import get_recipe  # noqa: E402
from engine.data.batches import normalise  # noqa: E402
from engine.data.decode import train_id_table  # noqa: E402
from engine.data.synthetic import synthesize  # noqa: E402
from engine.learning.hardware import choose_hardware  # noqa: E402
from engine.metrics.boundary import BoundaryCounter, Labels  # noqa: E402
from engine.metrics.instances import AVERAGE_SIZES, InstanceCounter  # noqa: E402
from engine.models.registry import build_model  # noqa: E402

SIZE = (1024, 2048)
COUNTABLE = [CITYSCAPES.names.index(name) for name in AVERAGE_SIZES]
TARGET = 0.15
"""Of the network's time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    config = get_recipe("paper-unet")
    hardware = choose_hardware(config)
    network = build_model(config.model, len(CITYSCAPES)).eval().to(memory_format=torch.channels_last)
    pixels = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8)
    truth = scene()
    moved = np.roll(truth, 3, axis=1)
    moved[moved == VOID] = 0
    ids = np.where(np.isin(truth, COUNTABLE), truth * np.uint16(1000) + 1001, truth).astype(np.uint16)

    @torch.inference_mode()
    def predict() -> None:
        with hardware.autocast():
            network(normalise(pixels)).argmax(1)

    ways: dict[str, Callable[[], None]] = {
        "U-Net": predict,
        "boundaries": lambda: BoundaryCounter(len(CITYSCAPES)).add(moved, truth),
        "boundaries, noisy": lambda: BoundaryCounter(len(CITYSCAPES)).add(noisy(moved), truth),
        "instances": lambda: InstanceCounter(CITYSCAPES.names, CITYSCAPES.critical).add(moved, truth),
        "instances, with ids": lambda: InstanceCounter(CITYSCAPES.names, CITYSCAPES.critical).add(
            moved, truth, ids
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.process_time()
            way()
            seconds[name].append(time.process_time() - begun)
    whole = statistics.median(seconds["U-Net"])
    print(f"{hardware.name}, {hardware.precision}, one thread, medians of {rounds}")
    for name, times in seconds.items():
        share = f"   {100 * statistics.median(times) / whole:.1f} % of the U-Net" if name != "U-Net" else ""
        print(f"{name:20} {statistics.median(times):7.2f} s{share}")
    print(f"target: at most {100 * TARGET:g} %")


def scene() -> Labels:
    """The train ids of a synthetic scene, uint8 [H, W]."""
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder) / "data", images=2, size=SIZE, seed=0)
        label = next(Path(folder).rglob("*_labelIds.png"))
        ids: Labels = train_id_table(CITYSCAPES)[np.asarray(Image.open(label))]
        return ids


def noisy(labels: Labels) -> Labels:
    draw = np.random.default_rng(0)
    spots = draw.random(labels.shape) < 0.02
    return np.where(spots, draw.integers(0, len(CITYSCAPES), labels.shape, dtype=np.uint8), labels)


if __name__ == "__main__":
    main()
