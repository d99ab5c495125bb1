"""Latency of five networks at 512x1024 on the CPU: torch against onnxruntime.

    python benchmarks/latency.py [--seconds 25] [--size 512x1024]

Untrained networks, 19 classes, as many threads as a run takes. Each is exported to ONNX. Then passes take
turns: by the protocols `engine` and `literature` (docs/realtime.md) with torch, and by `literature` with
onnxruntime; where the CPU multiplies bf16, also by `literature` in bf16. So other work on the machine meets
all of them, and the ratio is of two medians. 25 s of passes a network, at least five rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.ending import told_in_lines
from engine.config.sections import RuntimeConfig
from engine.worker.process import prepare_process

prepare_process(RuntimeConfig())  # threads and allocator, before torch is imported

import torch  # noqa: E402
from torch import nn  # noqa: E402

from engine.classes import CITYSCAPES  # noqa: E402
from engine.config.export import ExportConfig  # noqa: E402
from engine.config.fields import parse_size  # noqa: E402
from engine.config.keys import with_values  # noqa: E402
from engine.config.run_config import RunConfig  # noqa: E402
from engine.data.batches import MEAN, STD, normalise  # noqa: E402
from engine.exported.network import ExportedModel  # noqa: E402
from engine.host.cpu import cpu_has_bf16  # noqa: E402
from engine.inference.export.formats import EXPORTERS, Subject  # noqa: E402
from engine.inference.export.network import ExportedNetwork  # noqa: E402
from engine.learning.fold_norms import with_folded_norms  # noqa: E402
from engine.learning.hardware import choose_hardware  # noqa: E402
from engine.models.contract import outputs_of  # noqa: E402
from engine.models.registry import build_model, count_parameters  # noqa: E402

NETWORKS: dict[str, dict[str, object]] = {
    "U-Net, width 16": {"model.name": "unet", "model.width": 16},
    "Modern U-Net, hidden 8": {"model.name": "modern_unet", "model.hidden": 8},
    "DeepLab-LargeFOV, width 16": {"model.name": "deeplab_largefov", "model.width": 16},
    "DeepLabV3+, MobileNetV3 small": {
        "model.name": "smp",
        "model.decoder": "DeepLabV3Plus",
        "model.encoder": "tu-mobilenetv3_small_100",
    },
    "LR-ASPP, MobileNetV3 large": {
        "model.name": "torchvision",
        "model.architecture": "lraspp_mobilenet_v3_large",
    },
}
ROUNDS = 5
WARM_ROUNDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=25.0, help="of each network")
    parser.add_argument("--size", type=parse_size, default="512x1024")
    options = parser.parse_args()
    threads, (height, width) = torch.get_num_threads(), options.size
    print(f"{height}x{width}, {threads} threads, batch 1, medians; ratio: literature, torch over onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        for place, (name, changes) in enumerate(NETWORKS.items()):
            config = with_values(RunConfig(), {"device": "cpu", "data.size": options.size} | changes)
            torch.manual_seed(0)
            network = build_model(config.model, len(CITYSCAPES)).eval()
            ways = ways_of(network, config, Path(folder, f"{place}.onnx"))
            medians = in_turns(ways, options.seconds)
            print(f"{name:30} {count_parameters(network) / 1e6:5.2f} M parameters")
            for way, seconds in medians.items():
                print(f"  {way:26} {1000 * seconds:8.1f} ms {1 / seconds:8.2f} frames/s")
            print(f"  ratio {medians['literature, torch fp32'] / medians['literature, onnxruntime']:29.2f}")


def ways_of(network: nn.Module, config: RunConfig, file: Path) -> dict[str, Callable[[], object]]:
    """A pass by each protocol and runtime."""
    size = config.data.size
    model = exported(network, config, file)
    plain = network.to(memory_format=torch.channels_last)
    folded = with_folded_norms(plain, size)
    pixels = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8)
    image = torch.randn(1, 3, *size).contiguous(memory_format=torch.channels_last)
    hardware = replace(choose_hardware(config), precision="bf16")

    def half() -> None:
        with hardware.autocast():
            folded(image)

    ways: dict[str, Callable[[], object]] = {
        "engine, torch fp32": lambda: outputs_of(plain, normalise(pixels)).logits.argmax(1),
        "literature, torch fp32": lambda: folded(image),
        "literature, onnxruntime": model.passes(size, "literature"),
    }
    return ways | ({"literature, torch bf16": half} if cpu_has_bf16() else {})


def exported(network: nn.Module, config: RunConfig, file: Path) -> ExportedModel:
    """The file of `seg-engine export`, without its model card."""
    wanted = ExportConfig.model_validate({"format": "onnx", "size": config.data.size})
    exporting = ExportedNetwork(network, wanted).eval().requires_grad_(False)  # type: ignore[arg-type]
    about = {"size": list(config.data.size), "classes": [], "colors": [], "mean": MEAN, "std": STD}
    example = exporting.prepared(torch.zeros(1, *config.data.size, 3, dtype=torch.uint8))
    stride, least = config.model.input_stride(), config.model.least_side()
    EXPORTERS["onnx"].write(Subject(exporting, wanted, example, json.dumps(about), stride, least), file)
    return ExportedModel.open(file, torch.get_num_threads())


@torch.inference_mode()
def in_turns(ways: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The median seconds of each way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    begun = time.perf_counter()
    rounds = 0
    while rounds < WARM_ROUNDS + ROUNDS or time.perf_counter() - begun < seconds:
        for name, way in ways.items():
            before = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - before)
        rounds += 1
    return {name: statistics.median(passes[WARM_ROUNDS:]) for name, passes in times.items()}


if __name__ == "__main__":
    sys.exit(told_in_lines(main))
