"""What out-of-distribution scores cost beside the network: one image of 1024x2048, every score alone and
together.

    python benchmarks/ood_scores.py [--widths 16 64] [--rounds 5]

The network sees the image at that size, in the precision that this machine would choose. Prints the median
seconds of the network, of each pixel score on its own, of all five together as `seg-engine ood` computes
them, of the image scores after a fit on as many training images as Cityscapes has, and the share of the
network's time."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.worker.process import prepare_process

CONFIG = get_recipe("paper-unet")
prepare_process(CONFIG.runtime)  # threads and allocator, before torch is imported

import torch  # noqa: E402

from engine.data.batches import normalise  # noqa: E402
from engine.inference.ood.features import PooledFeatures  # noqa: E402
from engine.inference.ood.score_set import ScoreSet  # noqa: E402
from engine.learning.class_maps import class_map  # noqa: E402
from engine.learning.hardware import choose_hardware  # noqa: E402
from engine.models.registry import build_model  # noqa: E402

SIZE, CLASSES, TRAINING_IMAGES = (1024, 2048), 19, 2380


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for width in options.widths:
        measure(width, options.rounds)


@torch.inference_mode()
def measure(width: int, rounds: int) -> None:
    config = with_values(CONFIG, {"model.width": width, "data.size": f"{SIZE[0]}x{SIZE[1]}"})
    hardware = choose_hardware(config)
    torch.manual_seed(0)
    model = build_model(config.model, CLASSES).to(hardware.device)
    model = model.to(memory_format=torch.channels_last).eval()
    image = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8, device=hardware.device)
    scores = ScoreSet(CLASSES)
    logits = torch.zeros(0)

    def network() -> None:
        nonlocal logits
        with hardware.autocast():
            logits = model(normalise(image))
        logits = logits.float()

    with PooledFeatures(model) as features:
        seconds = median_of(network, rounds)
    generator = torch.Generator().manual_seed(0)
    for _ in range(TRAINING_IMAGES):
        for score in scores.image.values():
            score.fit(torch.rand(len(features.last), generator=generator))
    scores.fit(logits, features.last)
    for score in scores.image.values():
        score.state()  # what is settled once for all images

    print(f"U-Net, width {width}, {SIZE[0]}x{SIZE[1]}, batch 1; {hardware.name}, {hardware.precision}")
    print(f"{'network':<12}{seconds:8.3f} s")
    print(f"{'class map':<12}{median_of(lambda: class_map(logits, SIZE, 'bilinear-logits'), rounds):8.3f} s")
    for name, pixel in scores.pixel.items():
        alone = ScoreSet(CLASSES)
        alone.pixel = {name: pixel}
        told(name, median_of(partial(alone.maps, logits, SIZE), rounds), seconds)
    told("all five", median_of(lambda: scores.maps(logits, SIZE), rounds), seconds)
    for name, score in scores.image.items():
        told(name, median_of(partial(score.score, features.last), rounds), seconds)
    print()


def told(name: str, seconds: float, network: float) -> None:
    print(f"{name:<12}{seconds:8.3f} s{100 * seconds / network:8.1f} %")


def median_of(what: Callable[[], object], rounds: int) -> float:
    """Median seconds of a call, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        what()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
