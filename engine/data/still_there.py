"""Whether the data of a run that is to go on is still there, as its folders tell. No image is opened."""

from __future__ import annotations

from pathlib import Path

from engine.config.run_config import RunConfig
from engine.config.task_names import LEARNING_TASKS
from engine.data.catalog import DataError
from engine.data.dataset import find_samples
from engine.data.membership import Membership, Trained
from engine.data.pairs import find_pairs
from engine.run.directory import RunDir


def refuse_lost_data(config: RunConfig, run: RunDir) -> None:
    """Raises DataError when a run would fail at once, as its data is gone, has lost images or has faults.

    The images of a prediction are looked at one by one when their turn comes, and so are not here.
    """
    if config.task in LEARNING_TASKS:
        find_samples(config.data, config.needs_labels, Membership.read(run.split_file))
        return
    scored = config.evaluate or config.robustness
    if scored is not None:
        find_pairs(config.data, scored.split, _source(run, scored.source))
    if config.ood is not None:
        trained = _source(run, config.ood.source)
        for split in ("train", "val"):
            find_pairs(config.data, split, trained)
        for root in (config.ood.in_root, config.ood.out_root):
            if root and not Path(root).is_dir():
                raise DataError(f"{root}: there is no such folder")


def _source(run: RunDir, source: str) -> Trained | None:
    return Trained.find(RunDir(run.path.parent / source))
