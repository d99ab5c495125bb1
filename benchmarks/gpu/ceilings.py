"""How fast the device multiplies matrices and copies: `python -m benchmarks.gpu.ceilings`."""

from __future__ import annotations

import json
import time

import torch

from engine.config.recipes import get_recipe
from engine.learning.ceiling import matrix_ceiling
from engine.learning.hardware import choose_hardware

COPIED_BYTES = 2**30
COPIES = 20


def main() -> None:
    hardware = choose_hardware(get_recipe("paper-unet"))
    properties = torch.cuda.get_device_properties(hardware.device)
    print(
        json.dumps(
            {
                "device": hardware.name,
                "cuda": torch.version.cuda,
                "memory_gib": properties.total_memory / 2**30,
                "capability": f"{properties.major}.{properties.minor}",
                "matrix_tflops": matrix_ceiling(hardware) / 1e12,
                "precision": hardware.precision,
                "copy_tb_per_second": copy_rate(hardware.device) / 1e12,
            }
        )
    )


def copy_rate(device: torch.device) -> float:
    """Bytes a second that are read and written together."""
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    torch.cuda.synchronize(device)
    begun = time.perf_counter()
    for _ in range(COPIES):
        target.copy_(source)
    torch.cuda.synchronize(device)
    return 2 * COPIES * COPIED_BYTES / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
