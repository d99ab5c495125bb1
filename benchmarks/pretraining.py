"""Denoising pre-training against none, with few labels and the same work: does it help?

    python benchmarks/pretraining.py [--data ROOT] [--label-fraction 0.1] [--seeds 2]

A Modern U-Net learns to remove noise from all training images, then classes from a tenth of their labels
(Brempong et al., "Denoising Pretraining for Semantic Segmentation", CVPR 2022 workshops). The other starts
from weights as drawn and trains on the same labels until as many images have passed through it, there and
back, as in both stages together. An image costs the same in either, so that takes the same time, whatever
else the machine does meanwhile. Every run is a worker of its own; all have the same validation part.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.host.processes import python_command, python_environment
from engine.requests.initial_weights import pretraining_of, starting_from
from engine.run.directory import RunCard, RunDir
from engine.run.events import Data, Epoch
from engine.run.journal import read_all


@dataclass(frozen=True)
class End:
    """What a run came to: validation Dice, None without classes; images of an epoch; seconds of all."""

    best: float | None
    last: float | None
    images: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a real data set instead of synthetic scenes")
    parser.add_argument("--images", type=int, default=200, help="synthetic scenes of 128x256 (200)")
    parser.add_argument("--size", default="64x128", help="what the network sees (64x128)")
    parser.add_argument("--hidden", type=int, default=8, help="channels of the first level (8)")
    parser.add_argument("--label-fraction", type=float, default=0.1, help="share of the labels (0.1)")
    parser.add_argument("--pretrain-epochs", type=int, default=4, help="over all images (4)")
    parser.add_argument("--epochs", type=int, default=40, help="over the labelled ones (40)")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of a worker; 0: one a core (0)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        root = options.data
        if root is None:
            root = workspace / "data"
            synthesize(root, images=options.images, size=(128, 256), seed=0)
        config = with_values(
            get_recipe("quick-modern"),
            {
                "data.root": str(root.absolute()),
                "data.size": options.size,
                "data.label_fraction": options.label_fraction,
                "model.hidden": options.hidden,
                "epochs": options.epochs,
                "pretrain.epochs": options.pretrain_epochs,
                "validation.every": max(1, options.epochs // 10),
                "gallery.every": 0,
                "runtime.threads": options.threads,
            },
        )
        print(
            f"Modern U-Net, hidden {options.hidden}, {options.size}, {100 * options.label_fraction:g} % of "
            f"the labels; {options.pretrain_epochs} epochs of denoising and {options.epochs} of training\n"
        )
        print(f"{'seed':<6}{'':<14}{'epochs':>8}{'seconds':>9}{'best Dice':>11}{'last Dice':>11}")
        gains = []
        for seed in range(options.seeds):
            helped, plain, epochs = one_seed(with_values(config, {"seed": seed}), workspace)
            staged = f"{options.pretrain_epochs}+{options.epochs}"
            for name, end, count in (("pre-trained", helped, staged), ("as drawn", plain, str(epochs))):
                print(
                    f"{seed:<6}{name:<14}{count:>8}{end.seconds:>9.1f}{end.best:>11.4f}{end.last:>11.4f}",
                    flush=True,
                )
            assert helped.best is not None
            assert plain.best is not None
            gains.append(helped.best - plain.best)
    spread = f" +- {statistics.stdev(gains):.4f} (sd over seeds)" if len(gains) > 1 else ""
    print(f"\nbest Dice, pre-trained minus as drawn: {statistics.mean(gains):+.4f}{spread}")


def one_seed(config: RunConfig, workspace: Path) -> tuple[End, End, int]:
    """Both ways of one seed, and the epochs of the one without pre-training."""
    denoising = pretraining_of(config)
    assert denoising is not None
    stage = train(denoising, workspace, f"denoising{config.seed}")
    tuned = train(starting_from(config, f"denoising{config.seed}"), workspace, f"tuned{config.seed}")
    epochs = config.epochs + round(denoising.epochs * stage.images / tuned.images)
    # As many looks at the validation images for both: the best of more would be the better for it.
    every = max(1, epochs * config.validation.every // config.epochs)
    alone = with_values(config, {"pretrain.epochs": 0, "epochs": epochs, "validation.every": every})
    plain = train(alone, workspace, f"drawn{config.seed}")
    return replace(tuned, seconds=stage.seconds + tuned.seconds), plain, epochs


def train(config: RunConfig, workspace: Path, run_id: str) -> End:
    """Train in a worker, to the end."""
    run = RunDir(workspace / "runs" / run_id)
    run.create(RunCard(id=run_id, name=run_id, experiment="pretraining", created=time.time()), config)
    with open(run.log, "wb") as log:
        done = subprocess.run(
            python_command("engine.worker", str(run.path)),
            env=python_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"{run_id} did not come to its end:\n{run.log.read_text()}")
    events = list(read_all(run.journal))
    (images,) = (event.train_images for event in events if isinstance(event, Data))
    epochs = [event for event in events if isinstance(event, Epoch)]
    scores = [event.dice for event in epochs if event.split == "val" and event.dice is not None]
    last = scores[-1] if scores else None
    return End(max(scores, default=None), last, images, sum(event.seconds or 0.0 for event in epochs))


if __name__ == "__main__":
    main()
