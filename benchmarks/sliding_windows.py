"""What a pass in sliding windows over an image of 1024x2048 costs: VLTSeg, with either head, or any network.

    python -m benchmarks.sliding_windows [--window 512x512] [--stride 426x426] [KEY=VALUE ...]

One image goes through the network of `vltseg-tiny` with these changes, its weights drawn at random, and comes
out as a class map, as in `evaluate ... window=512x512 stride=426x426`. Seconds are those of the clock and of
the processor. Peak memory is what the pass needs beyond imports and the network.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.ending import told_in_lines
from engine.config.keys import parse_assignments, with_values
from engine.config.recipes import get_recipe
from engine.config.sections import RuntimeConfig
from engine.config.windows import sides
from engine.worker.process import prepare_process

FULL = (1024, 2048)
CLASSES = tuple(str(number) for number in range(19))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--window", type=sides, default=(512, 512), help="as published for crops of 512")
    parser.add_argument("--stride", type=sides, default=(426, 426))
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    prepare_process(RuntimeConfig(threads=options.threads))  # before torch is imported
    changes = {"data.size": FULL, **parse_assignments(options.changes)}
    print(told(changes, options.window, options.stride))


def told(changes: Mapping[str, object], window: tuple[int, int], stride: tuple[int, int]) -> str:
    """One pass, measured: a line."""
    import numpy as np
    import torch

    from engine.inference.network import LoadedModel, ready
    from engine.learning.class_maps import class_map
    from engine.learning.hardware import choose_hardware
    from engine.learning.windows import Windows
    from engine.models.registry import build_model, count_parameters

    config = with_values(get_recipe("vltseg-tiny"), changes)
    hardware = choose_hardware(config)
    windows = Windows(window, stride)
    model = build_model(config.model, len(CLASSES))
    network = ready(LoadedModel(model, config.model, CLASSES, 1, ""), config, hardware, windows=windows)
    view = np.random.default_rng(0).integers(0, 256, (*FULL, 3), dtype=np.uint8)
    on_gpu = hardware.device.type == "cuda"
    if on_gpu:
        class_map(network.logits([view]), FULL, "bilinear-logits")  # libraries and algorithms
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else _status_bytes("RssAnon")
    wall, processor = time.perf_counter(), time.process_time()
    class_map(network.logits([view]), FULL, "bilinear-logits")
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - wall, time.process_time() - processor
    # Not ru_maxrss, which begins with what the parent had when it started this process.
    most = torch.cuda.max_memory_allocated() if on_gpu else _status_bytes("VmHWM") - _status_bytes("RssFile")
    return (
        f"{hardware.name}, {hardware.precision}: {count_parameters(model):,} parameters, "
        f"{windows.count(FULL)} windows of {window[0]}x{window[1]}: {seconds[0]:.1f} s, of the processor "
        f"{seconds[1]:.1f} s, peak {(most - before) / 2**20:.0f} MiB"
    )


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    sys.exit(told_in_lines(main))
