"""What the tasks that score a split do first, and what they put on the record about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.config.task_sections import ScoredSplitConfig
from engine.data.catalog import DataError
from engine.data.membership import some
from engine.data.pairs import Pairs, open_pairs, refuse_other_classes
from engine.inference.network import Network, load_network, trained_run
from engine.learning.hardware import Hardware, choose_hardware, settle_arithmetic
from engine.run.scoring_events import Evaluating
from engine.worker.job import Job, record_start

CONTENTS = "contents"
"""The array with the digests of the images' files, in the files of scores that the next attempt reads."""


@dataclass(frozen=True)
class Scoring:
    """A trained network and the labelled images that it is to be scored on."""

    about: ScoredSplitConfig
    hardware: Hardware
    pairs: Pairs
    network: Network

    @classmethod
    def of(cls, job: Job, about: ScoredSplitConfig) -> Scoring:
        """Come up on the hardware and open both. Raises CheckpointError, DataError and PredictionError."""
        hardware = choose_hardware(job.config)
        settle_arithmetic(job.config, hardware)
        record_start(job, hardware, resumed_from_epoch=0)
        trained = trained_run(job, about)
        pairs = open_pairs(job.config.data, about.split, job.cache_dir, trained=trained)
        network = load_network(job.config, job.run.path, hardware, ())
        refuse_other_classes(pairs, network.classes, about.source)
        for note in pairs.notes:
            job.warn(note)
        return cls(about, hardware, pairs, network)

    def begun(self, at: Literal["input", "original"], done: int) -> Evaluating:
        """The event that says what is scored, at the size `at`; `done` images were scored before."""
        about, network = self.about, self.network
        return Evaluating(
            source=about.source,
            checkpoint=about.checkpoint,
            sha256=network.sha256,
            epoch=network.epoch,
            split=about.split,
            at=at,
            label_resize=about.label_resize,
            tta=about.tta,
            images=len(self.pairs),
            done=done,
            root=str(self.pairs.root),
            classes=list(network.classes),
            colors=[c.hex_color for c in self.pairs.class_set.classes],
            **about.window_fields,
        )

    def refuse_void(self, confusion: NDArray[np.int64]) -> None:
        """Raise DataError where no pixel was counted."""
        if not confusion.sum():
            where = f"{self.pairs.root}: the labels of {self.about.split}"
            raise DataError(f"{where} are all void, so nothing can be scored")


def contents_array(names: Sequence[str], pairs: Pairs) -> NDArray[np.str_]:
    """The digests of the files of the images `names`, [N], to be kept with their scores."""
    return np.array([" ".join(pairs.contents[name]) for name in names], dtype=np.str_)


def told_outdated(names: Sequence[str], contents: NDArray[Any] | None, pairs: Pairs) -> str:
    """What is to be said of images that an earlier attempt has scored and that are no longer in the split, or
    whose files hold something else now; "" where there are none. Scores must not count both what was and what
    is. `contents` are as `contents_array` gave them, None from a version that did not keep them."""
    if gone := set(names) - {sample.name for sample in pairs.samples}:
        return f"{some(gone)} scored before and no longer there"
    now = contents_array(names, pairs)
    if contents is None or np.array_equal(contents, now):
        return ""
    changed = [name for name, *both in zip(names, contents, now, strict=True) if both[0] != both[1]]
    return f"the files of {some(changed)} scored before have changed"
