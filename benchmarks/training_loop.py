"""The engine's training loop against a bare hand-written one: same network, precision, batches and memory.

    python benchmarks/training_loop.py [--width 64] [--batch-size 16] [--images 64] [--rounds 5]

Both train the 2015 U-Net on the same cached images. The bare loop is what one would write for speed alone: no
metrics, no progress, no journal, no checkpoints. Epochs of the two take turns, so that a machine that
slows down slows both; the ratio is of their medians. The second ratio is of seconds of the processor, which
other programs disturb less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.worker.process import prepare_process

CONFIG = get_recipe("paper-unet")
prepare_process(CONFIG.runtime)  # threads and allocator, before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from engine.config.run_config import RunConfig  # noqa: E402
from engine.data.batches import make_batches, normalise  # noqa: E402
from engine.data.dataset import Dataset, open_dataset  # noqa: E402
from engine.data.synthetic import synthesize  # noqa: E402
from engine.learning.hardware import Hardware, choose_hardware  # noqa: E402
from engine.models.registry import build_model  # noqa: E402
from engine.run.directory import RunDir  # noqa: E402
from engine.run.journal import JournalWriter  # noqa: E402
from engine.training.loop import train_epoch  # noqa: E402
from engine.training.state import TrainState, new_state  # noqa: E402
from engine.worker.job import Job  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--images", type=int, default=64, help="training images, synthetic")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthesize(root / "data", images=options.images * 5 // 4, size=(128, 256), seed=0)
        config = with_values(
            CONFIG,
            {
                "data.root": str(root / "data"),
                "data.split": "official",
                "model.width": options.width,
                "batch_size": options.batch_size,
                "epochs": 10_000,
            },
        )
        data = open_dataset(config.data, root / "cache")
        model = build_model(config.model, len(data.class_set))
        print(
            f"U-Net, width {options.width}, 128x128, batch {config.batch_size}, {len(data.train)} images an "
            "epoch"
        )
        compare(config, data, root, options.rounds, model)


def compare(config: RunConfig, data: Dataset, root: Path, rounds: int, bare_model: nn.Module) -> None:
    """Print how fast the engine trains the network of a config, and a bare loop `bare_model`."""
    hardware = choose_hardware(config)
    classes = list(data.class_set.names)
    run = RunDir(root / "runs" / "bench")
    run.path.mkdir(parents=True)
    with JournalWriter(run.journal) as journal:
        job = Job(run, config, journal, root / "cache")
        state = new_state(config, hardware, classes)
        bare = BareLoop(config, data, hardware, bare_model)
        engine_epoch(job, state, data, hardware), bare.epoch()  # warm-up
        times: dict[str, list[float]] = {"engine": [], "bare loop": []}
        spent: dict[str, list[float]] = {"engine": [], "bare loop": []}
        waits = []
        for _ in range(rounds):
            begun = time.process_time()
            seconds, wait = engine_epoch(job, state, data, hardware)
            between = time.process_time()
            times["engine"].append(seconds)
            waits.append(wait)
            times["bare loop"].append(bare.epoch())
            spent["engine"].append(between - begun)
            spent["bare loop"].append(time.process_time() - between)
    images = len(data.train)
    print(
        f"{hardware.name}, {hardware.precision}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name, seconds_of in times.items():
        median = statistics.median(seconds_of)
        print(
            f"{name:<10} {images / median:8.2f} images/s  "
            f"(epochs {min(seconds_of):.2f} to {max(seconds_of):.2f} s)"
        )
    ratio, of_processor = (
        statistics.median(taken["bare loop"]) / statistics.median(taken["engine"]) for taken in (times, spent)
    )
    print(
        f"engine / bare loop: {ratio:.3f}   by seconds of the processor: {of_processor:.3f}   "
        f"data wait: {100 * statistics.median(waits):.2f} % of the epoch"
    )


def engine_epoch(job: Job, state: TrainState, data: Dataset, hardware: Hardware) -> tuple[float, float]:
    """Seconds of one whole epoch of the engine, scores included, and the share that waited for data."""
    batches, _ = make_batches([data.train, data.val], hardware.device)
    begun = time.perf_counter()
    meter = train_epoch(job, state, batches, len(data.train))
    assert meter.confusion is not None
    meter.confusion.compute()
    seconds = time.perf_counter() - begun
    state.finish_epoch()
    return seconds, meter.waited / seconds


class BareLoop:
    """The least that trains: tensors in memory, forward, backward, step."""

    def __init__(self, config: RunConfig, data: Dataset, hardware: Hardware, model: nn.Module) -> None:
        self.batch_size, self.hardware = config.batch_size, hardware
        self.model = model.to(hardware.device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=config.optimizer.lr, fused=True)
        pairs = [data.train.sample(position) for position in range(len(data.train))]
        self.images = torch.from_numpy(np.stack([image for image, _ in pairs])).to(hardware.device)
        self.labels = torch.from_numpy(np.stack([labels for _, labels in pairs])).to(hardware.device)

    def epoch(self) -> float:
        begun = time.perf_counter()
        self.model.train()
        order = torch.randperm(len(self.images), device=self.images.device)
        for chosen in torch.split(order, self.batch_size):
            with self.hardware.autocast():
                logits = self.model(normalise(self.images[chosen]))
            rows = logits.movedim(1, -1).flatten(0, 2).float()
            loss = functional.cross_entropy(rows, self.labels[chosen].flatten().long(), ignore_index=255)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self.optimizer.step()
        if self.hardware.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
