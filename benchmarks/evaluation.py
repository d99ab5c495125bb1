"""What scoring costs beside the network at full size: the evaluate task on 1024x2048 images.

    python benchmarks/evaluation.py [--width 64] [--images 12]

The loop that `seg-engine evaluate --at original` runs, on drawn pairs of 1024x2048 that the network sees at
that size. Prints the seconds of the network, those of all else (waiting for the decoded image, resizing,
argmax, confusion matrix, scores, journal) and their ratio, and the resident memory after each image: it must
not grow with their number.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.worker.process import prepare_process

CONFIG = get_recipe("paper-unet")
prepare_process(CONFIG.runtime)  # threads and allocator, before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from torch import Tensor  # noqa: E402

from engine.config.run_config import RunConfig  # noqa: E402
from engine.data.pairs import open_pairs  # noqa: E402
from engine.data.synthetic import synthesize  # noqa: E402
from engine.inference.counting import Beside  # noqa: E402
from engine.inference.evaluate import Kept, score_images  # noqa: E402
from engine.inference.network import Network, load_network  # noqa: E402
from engine.inference.worst import WorstGallery  # noqa: E402
from engine.learning.checkpoint import save_checkpoint  # noqa: E402
from engine.learning.hardware import choose_hardware  # noqa: E402
from engine.models.registry import build_model  # noqa: E402
from engine.run.directory import RunDir  # noqa: E402
from engine.run.events import AnyEvent  # noqa: E402
from engine.run.journal import JournalWriter  # noqa: E402
from engine.run.scoring_events import ImageScores  # noqa: E402
from engine.worker.job import Job  # noqa: E402

SIZE = (1024, 2048)


@dataclass(frozen=True)
class TimedNetwork(Network):
    """A network that notes how long each of its answers took."""

    seconds: list[float] = field(default_factory=list)

    def logits(self, views: Sequence[NDArray[np.uint8]]) -> Tensor:
        begun = time.perf_counter()
        logits = super().logits(views)
        if logits.device.type == "cuda":
            torch.cuda.synchronize(logits.device)
        self.seconds.append(time.perf_counter() - begun)
        return logits


class Observer(Job):
    """A job that notes when each image was done and what memory it left."""

    done: list[float]
    memory: list[float]

    def record(self, event: AnyEvent) -> None:
        super().record(event)
        if isinstance(event, ImageScores):
            self.done.append(time.perf_counter())
            self.memory.append(resident_megabytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--images", type=int, default=12)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthesize(root / "data", images=options.images + 1, size=SIZE, seed=0, val_fraction=0.999)
        measure(config_for(root, options.width), root)


def config_for(root: Path, width: int) -> RunConfig:
    values = {
        "data.root": str(root / "data"),
        "data.split": "official",
        "data.size": SIZE,
        "model.width": width,
    }
    about = {"source": "benchmark", "checkpoint": str(root / "best.pt"), "at": "original"}
    plain = with_values(CONFIG, values).model_dump()
    return RunConfig.model_validate(plain | {"task": "evaluate", "evaluate": about})


def measure(config: RunConfig, root: Path) -> None:
    about = config.evaluate
    assert about is not None
    hardware = choose_hardware(config)
    pairs = open_pairs(config.data, about.split, root / "cache")
    names = list(pairs.class_set.names)
    model = build_model(config.model, len(names))
    content = {
        "model": model.state_dict(),
        "model_config": config.model.model_dump(mode="json"),
        "classes": names,
        "epoch": 0,
    }
    save_checkpoint(Path(about.checkpoint), content)
    loaded = load_network(config, root, hardware, names)
    fields = {part.name: getattr(loaded, part.name) for part in dataclasses.fields(Network)}
    network = TimedNetwork(**fields)
    run = RunDir(root / "runs" / "benchmark")
    for folder in (run.outputs, run.gallery):
        folder.mkdir(parents=True)
    gallery = WorstGallery(run.gallery, pairs.class_set, 0, about.keep)
    with JournalWriter(run.journal) as journal, gallery:
        job = Observer(run, config, journal, root / "cache")
        job.done, job.memory = [], []
        kept = Kept.of(job, pairs, network, Beside.of(about, network.classes))
        score_images(job, about, pairs, network, kept, gallery)
    whole = np.diff(job.done)
    seconds = statistics.median(network.seconds[1:])
    cost = statistics.median(whole - np.array(network.seconds[1:]))
    breadth = config.model.model_dump()[config.model.breadth_key]
    print(f"U-Net, width {breadth}, 1024x2048, batch 1; {hardware.name}, {hardware.precision}")
    print(f"network {seconds:.3f} s, all else {cost:.4f} s an image: {100 * cost / seconds:.2f} %")
    print("resident MB after each image:", " ".join(f"{value:.0f}" for value in job.memory))


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
