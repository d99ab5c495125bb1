"""The engine's training loop on a network of segmentation_models_pytorch against a bare loop on the same.

    python -m benchmarks.zoo [--decoder DeepLabV3Plus] [--encoder resnet18] [--threads 1]
    python -m benchmarks.zoo --operators      # what the engine does beyond the bare loop

As `benchmarks/training_loop.py`; the bare loop trains the network as smp itself builds it. Where other
programs are at work, look at the seconds of the processor with one thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch import nn

from benchmarks.ending import told_in_lines
from benchmarks.step_profile import OperatorTimes
from benchmarks.training_loop import CONFIG, BareLoop, compare, engine_epoch
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.data.dataset import Dataset, open_dataset
from engine.data.synthetic import synthesize
from engine.learning.hardware import choose_hardware
from engine.run.directory import RunDir
from engine.run.journal import JournalWriter
from engine.training.state import new_state
from engine.worker.job import Job

ALWAYS = (
    *("aten._log_softmax.default", "aten._log_softmax_backward_data.default"),
    *("aten.upsample_bilinear2d_backward.default", "aten.convolution.default", "all"),
    "aten.convolution_backward.default",
)
"""Operators whose time depends on the order of memory that they find, and those that take the most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--decoder", default="DeepLabV3Plus")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--images", type=int, default=32, help="training images, synthetic")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="as many as there are cores where nothing is said")
    parser.add_argument("--operators", action="store_true", help="count operators in the place of epochs")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthesize(root / "data", images=options.images * 5 // 4, size=(128, 256), seed=0)
        config = with_values(
            CONFIG,
            {
                "data.root": str(root / "data"),
                "data.split": "official",
                "model.name": "smp",
                "model.decoder": options.decoder,
                "model.encoder": options.encoder,
                "batch_size": options.batch_size,
                "epochs": 10_000,
            },
        )
        data = open_dataset(config.data, root / "cache")
        bare = smp.create_model(
            options.decoder, options.encoder, encoder_weights=None, classes=len(data.class_set)
        )
        print(
            f"{options.decoder} on {options.encoder}, 128x128, batch {config.batch_size}, "
            f"{len(data.train)} images an epoch"
        )
        if options.operators:
            compare_operators(config, data, root, bare)
        else:
            compare(config, data, root, options.rounds, bare)


def compare_operators(config: RunConfig, data: Dataset, root: Path, bare_model: nn.Module) -> None:
    """Print which operators one epoch of the engine runs more often or longer than one of a bare loop, for
    each step. Only one thread is at work and only its time counts, so it needs no quiet machine."""
    torch.set_num_threads(1)
    hardware = choose_hardware(config)
    run = RunDir(root / "runs" / "bench")
    run.path.mkdir(parents=True)
    with JournalWriter(run.journal) as journal:
        job = Job(run, config, journal, root / "cache")
        state = new_state(config, hardware, list(data.class_set.names))
        bare = BareLoop(config, data, hardware, bare_model)
        engine_epoch(job, state, data, hardware), bare.epoch()  # warm-up
        with OperatorTimes(time.thread_time) as engines:
            engine_epoch(job, state, data, hardware)
        with OperatorTimes(time.thread_time) as bares:
            bare.epoch()
    steps = -(-len(data.train) // config.batch_size)
    names = sorted(
        {*engines.calls, *bares.calls}, key=lambda name: bares.seconds[name] - engines.seconds[name]
    )
    print(f"{hardware.name}, {hardware.precision}, 1 thread, torch {torch.__version__}; each step:")
    print(f"{'':<44}{'calls':>8}{'bare':>8}{'ms':>9}{'bare':>9}")
    for title, chosen in {**{name: [name] for name in names}, "all": names}.items():
        calls = [sum(times.calls[name] for name in chosen) / steps for times in (engines, bares)]
        spent = [1e3 * sum(times.seconds[name] for name in chosen) / steps for times in (engines, bares)]
        if (calls[0] != calls[1] and abs(spent[0] - spent[1]) > 0.1) or title in ALWAYS:
            print(f"{title:<44}{calls[0]:8.1f}{calls[1]:8.1f}{spent[0]:9.2f}{spent[1]:9.2f}")


if __name__ == "__main__":
    sys.exit(told_in_lines(main))
