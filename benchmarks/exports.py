"""Exported files against the network that they were made of, on the images of a split.

    python -m benchmarks.exports RUN FILE.onnx... [--workspace DIR] [--rounds 11]

For each file: the largest difference of a logit on the run's validation images, in how many pixels the class
differs, and in how many of those the network's two highest logits are further apart than twice that
difference, which no rounding explains; its size; and the processor's seconds for an image, network and files
in turns, one thread. Dice comes from `seg-engine evaluate`, of the run and of each file.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.config.sections import RuntimeConfig
from engine.worker.process import prepare_process

prepare_process(RuntimeConfig(threads=1))  # threads and allocator, before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from engine.config.keys import with_values  # noqa: E402
from engine.config.run_config import RunConfig  # noqa: E402
from engine.config.seen import Seen  # noqa: E402
from engine.data.decode import resize_image  # noqa: E402
from engine.data.pairs import open_pairs  # noqa: E402
from engine.exported.network import ExportedModel  # noqa: E402
from engine.learning.hardware import choose_hardware  # noqa: E402
from engine.loading import LoadedNetwork, NetworkOfRun  # noqa: E402
from engine.loading import load as load_network  # noqa: E402
from engine.requests.derive import source_run, trained_config  # noqa: E402
from engine.workspace import Workspace  # noqa: E402

TYPE = "{:32} {:>8} {:>7} {:>12} {:>9} {:>9} {:>8}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = in_fp32(load_network(options.run, options.workspace, "best", "cpu", Seen()))
    models = [ExportedModel.open(file.resolve(), threads=1) for file in options.files]
    images = validation_images(Workspace(options.workspace.resolve()), options.run)
    seconds = seconds_of(network, models, images[0], options.rounds)
    print(TYPE.format("", "MB", "CPU s", "largest diff", "pixels", "differ", "no tie"))
    print(TYPE.format("network", "", f"{seconds[0]:.3f}", "", "", "", ""))
    for model, its in zip(models, seconds[1:], strict=True):
        size = f"{model.path.stat().st_size / 1e6:.1f}"
        print(TYPE.format(str(model.path)[-32:], size, f"{its:.3f}", *disagreement(network, model, images)))


def in_fp32(loaded: LoadedNetwork) -> NetworkOfRun:
    assert isinstance(loaded, NetworkOfRun)
    config = with_values(RunConfig(), {"device": "cpu", "precision": "fp32"})
    return replace(loaded, network=replace(loaded.network, hardware=choose_hardware(config)))


def validation_images(workspace: Workspace, run: str) -> list[Path]:
    """Those of the run's validation split."""
    with workspace.open_store(look=True) as store:
        config = trained_config(workspace, source_run(store, run))
    pairs = open_pairs(config.data, "val", workspace.cache)
    return [pairs.root / sample.image for sample in pairs.samples]


def disagreement(network: NetworkOfRun, model: ExportedModel, images: list[Path]) -> tuple[str, ...]:
    largest, pixels, differing, no_tie = 0.0, 0, 0, 0
    for path in images:
        image = Image.open(path).convert("RGB")
        right, found = network.logits(image), model.logits(image)
        difference = float(np.abs(right - found).max())
        largest = max(largest, difference)
        differ = right.argmax(axis=0) != found.argmax(axis=0)
        highest = np.sort(right, axis=0)
        pixels += differ.size
        differing += int(differ.sum())
        no_tie += int((differ & (highest[-1] - highest[-2] > 2 * difference)).sum())
    return f"{largest:.2g}", f"{pixels:,}", f"{differing:,}", f"{no_tie:,}"


def seconds_of(network: NetworkOfRun, models: list[ExportedModel], path: Path, rounds: int) -> list[float]:
    """The median of each, of pixels to class ids of the network's size."""
    pixels = resize_image(Image.open(path).convert("RGB"), network.size)
    ways: list[Callable[[], object]] = [lambda: network.network.logits([pixels]).argmax(1)]
    ways += [model.passes(network.size, "engine") for model in models]
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds + 1):
        for way, times in zip(ways, found, strict=True):
            begun = time.process_time()
            way()
            times.append(time.process_time() - begun)
    return [statistics.median(times[1:]) for times in found]


if __name__ == "__main__":
    main()
