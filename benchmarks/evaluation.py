"""What scoring costs beside the network at full size: one 1024x2048 image after the other.

    python benchmarks/evaluation.py [--width 64] [--images 6]

Prints the seconds of the network, of the metrics (argmax and confusion) and their ratio, and the resident
memory after each image: it must not grow with their number.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from engine.config_keys import with_values
from engine.recipes import get_recipe
from engine.tasks.process import prepare_process

CONFIG = get_recipe("paper-unet")
prepare_process(CONFIG.runtime)  # threads and allocator, before torch is imported

import torch  # noqa: E402

from engine.data.batches import normalise  # noqa: E402
from engine.learning.hardware import choose_hardware  # noqa: E402
from engine.metrics.confusion import ConfusionSum  # noqa: E402
from engine.models.registry import build_model  # noqa: E402

CLASSES = 19


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--images", type=int, default=6)
    options = parser.parse_args()

    config = with_values(CONFIG, {"model.width": options.width})
    hardware = choose_hardware(config)
    model = build_model(config.model, CLASSES).to(hardware.device, memory_format=torch.channels_last).eval()
    total = ConfusionSum(CLASSES, hardware.device)
    network, metrics, memory = [], [], []
    with torch.inference_mode():
        for _ in range(options.images):
            image = torch.randint(0, 256, (1, 1024, 2048, 3), dtype=torch.uint8, device=hardware.device)
            target = torch.randint(0, CLASSES, (1, 1024, 2048), dtype=torch.uint8, device=hardware.device)
            begun = clock(hardware.device)
            with hardware.autocast():
                logits = model(normalise(image))
            between = clock(hardware.device)
            total.update(logits.argmax(dim=1).to(torch.uint8), target)
            ended = clock(hardware.device)
            network.append(between - begun)
            metrics.append(ended - between)
            memory.append(resident_megabytes())
    seconds, cost = statistics.median(network[1:]), statistics.median(metrics[1:])
    print(f"U-Net, width {options.width}, 1024x2048, batch 1; {hardware.name}, {hardware.precision}")
    print(f"network {seconds:.3f} s, metrics {cost:.4f} s an image: {100 * cost / seconds:.2f} %")
    print("resident MB after each image:", " ".join(f"{value:.0f}" for value in memory))


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
