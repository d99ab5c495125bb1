"""How long one image takes through a network."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from engine.data.batches import normalise
from engine.learning.hardware import Hardware
from engine.models.contract import outputs_of

WARM_PASSES = 2
PASSES, LEAST_PASSES = 20, 5
SECONDS = 10.0
"""After so long no more than LEAST_PASSES are waited for."""


@torch.inference_mode()
def measure_latency(model: nn.Module, size: tuple[int, int], hardware: Hardware) -> dict[str, float]:
    """Seconds from one image of `size` (height, width) in the device's memory to its class map.

    Median and 95th percentile of passes after a warm-up, the device's work waited for. Puts the model into
    evaluation mode.
    """
    image = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8, device=hardware.device)
    model.eval()
    times: list[float] = []
    while len(times) < WARM_PASSES + PASSES:
        if len(times) >= WARM_PASSES + LEAST_PASSES and sum(times) > SECONDS:
            break
        begun = time.perf_counter()
        with hardware.autocast():
            outputs_of(model, normalise(image)).logits.argmax(1)
        if hardware.device.type == "cuda":
            torch.cuda.synchronize(hardware.device)
        times.append(time.perf_counter() - begun)
    ordered = sorted(times[WARM_PASSES:])
    median = statistics.median(ordered)
    return {
        "median_seconds": median,
        "p95_seconds": ordered[int(0.95 * (len(ordered) - 1))],
        "frames_per_second": 1 / median,
    }
