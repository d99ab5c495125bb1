"""Which network is exported in which format, for any size or for one: the table of docs/models.md.

    python -m benchmarks.export_networks [--only unet smp] [--results FILE.jsonl]

Each network is trained for a few steps on synthetic scenes, as an int8 file of an untrained one differs from
it at random, and is then exported in each way: the file is run and compared with the network, as always, on
images of several sizes where it takes them. With --results, what was found is kept and not done again. Exits
with 1 where there is no file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.sections import RuntimeConfig
from engine.worker.process import prepare_process

prepare_process(RuntimeConfig(threads=1))  # threads and allocator, before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from engine.classes import VOID  # noqa: E402
from engine.config.export import SUFFIXES, ExportConfig  # noqa: E402
from engine.config.keys import with_values  # noqa: E402
from engine.config.recipes import get_recipe  # noqa: E402
from engine.config.run_config import RunConfig  # noqa: E402
from engine.data.batches import MEAN, STD  # noqa: E402
from engine.data.dataset import open_dataset  # noqa: E402
from engine.data.sample_readers import Split  # noqa: E402
from engine.data.synthetic import synthesize  # noqa: E402
from engine.errors import EngineError  # noqa: E402
from engine.inference.export.__main__ import export  # noqa: E402
from engine.learning.checkpoint import save_checkpoint  # noqa: E402
from engine.models.contract import outputs_of  # noqa: E402
from engine.models.registry import build_model  # noqa: E402
from engine.run.directory import RunCard, RunDir  # noqa: E402

VIT = "eva02_tiny_patch14"

NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"name": "unet", "width": 8},
    "modern_unet": {"name": "modern_unet", "hidden": 8},
    "deeplab_largefov": {"name": "deeplab_largefov", "width": 4},
    "resnet38": {"name": "resnet38", "width": 0.125, "layers": 16},
    "street_net": {"name": "street_net", "width": 8},
    **{
        f"smp {decoder}": {"name": "smp", "decoder": decoder, "encoder": "resnet18"}
        for decoder in (
            *("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet"),
            *("DeepLabV3", "DeepLabV3Plus", "UPerNet", "Segformer"),
        )
    },
    "smp PAN": {"name": "smp", "decoder": "PAN", "encoder": "resnet18", "output_stride": "16"},
    "smp Segformer, mit_b0": {"name": "smp", "decoder": "Segformer", "encoder": "mit_b0"},
    "smp DPT": {"name": "smp", "decoder": "DPT", "encoder": "tu-vit_tiny_patch16_224"},
    "torchvision FCN": {"name": "torchvision", "architecture": "fcn_resnet50"},
    "torchvision DeepLabV3": {"name": "torchvision", "architecture": "deeplabv3_mobilenet_v3_large"},
    "torchvision LR-ASPP": {"name": "torchvision", "architecture": "lraspp_mobilenet_v3_large"},
    "vltseg fpn": {"name": "vltseg", "backbone": VIT, "channels": 32},
    "vltseg mask2former": {"name": "vltseg", "backbone": VIT, "channels": 32, "head": "mask2former"},
}
"""A small network of each kind."""

WAYS: dict[str, dict[str, Any]] = {
    "ONNX": {"format": "onnx", "dynamic": True},
    "ONNX int8": {"format": "onnx", "quantize": "int8", "calibrate": 8},
    "TorchScript": {"format": "torchscript", "dynamic": True},
    "pt2": {"format": "pt2", "dynamic": True},
}
"""What is tried: for any size first, and for one size where that is refused."""

STEPS, BATCH, SIDES = 100, 4, (64, 96)


@dataclass(frozen=True)
class Found:
    """What came of one export: whether the file takes any size, the largest difference of a logit and the
    share of pixels of another class; or why there is no file, and whether that is nothing a user can mend."""

    network: str
    way: str
    any_size: bool = False
    difference: float = 0.0
    pixels: float = 0.0
    refused: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of networks' names")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="the columns [all]")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = read(options.results)
    ways = [way for way in WAYS if not options.ways or way in options.ways]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in NETWORKS:
            left = [way for way in ways if (name, way) not in known]
            if not name.startswith(tuple(options.only)) or not left:
                continue
            for found in tried(name, left, root):
                known[name, found.way] = found
                print(json.dumps(vars(found)), flush=True)
                if options.results:
                    with open(options.results, "a") as stream:
                        print(json.dumps(vars(found)), file=stream)
    print(table(known))
    return 1 if any(found.refused for found in known.values()) else 0


def read(path: Path | None) -> dict[tuple[str, str], Found]:
    if path is None or not path.exists():
        return {}
    found = [Found(**json.loads(line)) for line in path.read_text().splitlines()]
    return {(each.network, each.way): each for each in found}


def tried(name: str, ways: list[str], root: Path) -> Iterator[Found]:
    """The network's exports, each compared with it."""
    data = root / "data"
    if not data.exists():
        synthesize(data, images=40, size=(128, 192), seed=0)
    config = config_of(name, data)
    run = trained(config, root / name.replace(" ", "-"), root / "cache")
    run.outputs.mkdir(exist_ok=True)
    for way in ways:
        found = exported(name, way, WAYS[way], run, root / "cache")
        if found.refused and "--dynamic" in found.refused:
            found = exported(name, way, WAYS[way] | {"dynamic": False}, run, root / "cache")
        yield found


def exported(name: str, way: str, words: Mapping[str, Any], run: RunDir, cache: Path) -> Found:
    wanted = ExportConfig.model_validate({"size": run.read_config().data.size, **words})
    order = {
        "export": wanted.model_dump(mode="json"),
        "run": str(run.path),
        "checkpoint": str(run.checkpoints / "best.pt"),
        "cache": str(cache),
        "file": str(run.outputs / f"model{SUFFIXES[wanted.format]}"),
        "about": {},
    }
    try:
        made = export(order)
    except EngineError as error:
        return Found(name, way, refused=str(error))
    return Found(name, way, wanted.dynamic, made["largest_difference"], made["pixels_differing"])


def config_of(name: str, data: Path) -> RunConfig:
    """With images of about SIDES, which the network can take."""
    keys = {f"model.{key}": value for key, value in NETWORKS[name].items()}
    keys |= {"data.root": str(data), "data.split": "official", "data.size": "512x512"}
    config = with_values(get_recipe("quick-modern" if name == "modern_unet" else "quick"), keys)
    stride, least = config.model.input_stride(), config.model.least_side()
    sides = (max(least, -(-side // stride) * stride) for side in SIDES)
    return with_values(config, {"data.size": "x".join(str(side) for side in sides)})


def trained(config: RunConfig, path: Path, cache: Path) -> RunDir:
    """A run's folder with the checkpoint of a network that has learned for a few steps."""
    data = open_dataset(config.data, cache)
    run = RunDir(path / "abcd1234")
    run.create(RunCard(id="abcd1234", name=path.name, experiment="exports", created=0.0), config)
    torch.manual_seed(0)
    model = build_model(config.model, len(data.class_set))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for step in range(STEPS):
        images, labels = batch(data.train, step)
        optimizer.zero_grad()
        logits = outputs_of(model, images).logits
        functional.cross_entropy(logits, labels, ignore_index=VOID).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    names = list(data.class_set.names)
    content = {"model": model.state_dict(), "model_config": config.model.model_dump(), "classes": names}
    save_checkpoint(run.checkpoints / "best.pt", {**content, "epoch": 1})
    return run


def batch(split: Split, step: int) -> tuple[Tensor, Tensor]:
    """Images float32 [BATCH, 3, H, W], normalised, and labels int64 [BATCH, H, W], in turn."""
    pairs = [split.sample((step * BATCH + index) % len(split)) for index in range(BATCH)]
    images, labels = (torch.from_numpy(np.stack(each)) for each in zip(*pairs, strict=True))
    normalised = (images.float() - torch.tensor(MEAN)) / torch.tensor(STD)
    return normalised.movedim(-1, 1).contiguous(), labels.long()


def table(known: Mapping[tuple[str, str], Found]) -> str:
    """In Markdown: a row for each network and one column a way; why there is no file where there is none, and
    by how much a logit differs at most."""
    rows = [f"| | {' | '.join(WAYS)} |", "|---|" + "---|" * len(WAYS)]
    reasons: dict[str, int] = {}
    for name in NETWORKS:
        found = [known.get((name, way)) for way in WAYS]
        if any(found):
            rows.append(f"| {name} | {' | '.join(cell(each, reasons) for each in found)} |")
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    most = max((each.difference for each in known.values() if "int8" not in each.way), default=0.0)
    return "\n".join(["", *rows, "", *notes, f"Logits differ by at most {most:.0e}, but for int8."])


def cell(found: Found | None, reasons: dict[str, int]) -> str:
    """What came of an export, in a few words; `reasons` gets why there is no file."""
    if found is None:
        return ""
    if found.refused:
        return f"no ({reasons.setdefault(found.refused, len(reasons) + 1)})"
    return "any size" if found.any_size else "one size"


if __name__ == "__main__":
    raise SystemExit(main())
