"""Whether the data of a run that is to go on is still there, as its folders tell. No image is opened.

Each task names one of these. They raise DataError when a run would fail at once, as its data is gone, has
lost images or has faults.
"""

from __future__ import annotations

from pathlib import Path

from engine.config.run_config import RunConfig
from engine.data.catalog import DataError
from engine.data.dataset import find_samples
from engine.data.membership import Membership, Trained
from engine.data.pairs import find_pairs
from engine.run.directory import RunDir


def find_training(config: RunConfig, run: RunDir) -> None:
    """The samples that a run began with."""
    find_samples(config.data, config.needs_labels, Membership.read(run.split_file))


def find_split(config: RunConfig, run: RunDir) -> None:
    """The split that a run scores."""
    about = config.scored
    assert about is not None
    find_pairs(config.data, about.split, _source(config, run))


def find_training_images(config: RunConfig, run: RunDir) -> None:
    """The training images of the run whose network is looked at."""
    find_pairs(config.data, "train", _source(config, run))


def find_material(config: RunConfig, run: RunDir) -> None:
    """What an out-of-distribution evaluation is fitted on and judges."""
    about = config.ood
    assert about is not None
    trained = _source(config, run)
    for split in ("train", "val"):
        find_pairs(config.data, split, trained)
    for root in (about.in_root, about.out_root):
        if root and not Path(root).is_dir():
            raise DataError(f"{root}: no such folder")


def _source(config: RunConfig, run: RunDir) -> Trained | None:
    return Trained.find(RunDir(run.path.parent / config.source))
