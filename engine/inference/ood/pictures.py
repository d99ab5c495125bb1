"""The pictures of an ood run: a handful of images with their predictions and score maps, laid out as a
gallery.

gallery/inputs/<sample>_image.png, _target.png     as in every gallery; without labels the target is void
gallery/epoch_0010/<sample>.png                    predicted train ids
gallery/scores/<sample>_<score>.png                16-bit: which share of the held-out in-distribution pixels
                                                   scores lower, from 0 to 65535
gallery/scores/<sample>_mask.png                   the mask (0 in, 1 out, 255 ignored), where there is one

So a threshold on any score map is the share to be accepted, whatever the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image
from torch import Tensor

from engine.classes import VOID, ClassSet
from engine.data.cases import Case, Read
from engine.data.decode import resize_image, resize_labels
from engine.inference.gallery import indexed, write_png
from engine.inference.ood.fits import SHARES, Fit
from engine.inference.ood.score_set import ScoreSet
from engine.report.gallery import gallery_name
from engine.report.score_maps import FULL, SCORES_FOLDER
from engine.run.events import Gallery
from engine.worker.job import Job


class Pictures:
    """Keeps pictures of at most `most` images of each origin."""

    def __init__(self, job: Job, class_set: ClassSet, fit: Fit, most: int) -> None:
        self._job, self._class_set, self._fit, self._most = job, class_set, fit, most
        self._predictions: dict[str, Image.Image] = {}

    def choose(self, cases: Sequence[Case], origin: str) -> list[tuple[str, str]]:
        """Origin and name of those to keep: evenly spread."""
        names = [case.name for case in cases if case.origin == origin]
        count = min(self._most, len(names))
        places = [round(place) for place in np.linspace(0, len(names) - 1, count)]
        return [(origin, names[place]) for place in places]

    def keep(self, case: Case, read: Read, logits: Tensor, score_set: ScoreSet) -> None:
        """Write the pictures of one image, at the size of its logits [1, C, h, w]."""
        size = (logits.shape[2], logits.shape[3])
        sample = sample_name(case.origin, case.name)
        inputs, scores = self._job.run.gallery / "inputs", self._job.run.gallery / SCORES_FOLDER
        for folder in (inputs, scores):
            folder.mkdir(exist_ok=True)
        target = np.full(size, VOID, np.uint8) if read.target is None else resize_labels(read.target, size)
        write_png(inputs / f"{sample}_image.png", Image.fromarray(resize_image(read.image, size)))
        write_png(inputs / f"{sample}_target.png", indexed(target, self._class_set))
        for name, values in score_set.maps(logits, size).items():
            shares = np.interp(values, self._fit.quantiles[name], SHARES)
            write_png(
                scores / f"{sample}_{name}.png", Image.fromarray((shares * FULL).round().astype(np.uint16))
            )
        if read.mask is not None:
            write_png(scores / f"{sample}_mask.png", Image.fromarray(resize_labels(read.mask, size)))
        predicted = logits.argmax(dim=1)[0].cpu().numpy().astype(np.uint8)
        self._predictions[sample] = indexed(predicted, self._class_set)

    def record(self, epoch: int) -> None:
        """Write the predictions, which make it a gallery of the checkpoint's epoch."""
        if not self._predictions:
            return
        folder = self._job.run.gallery / f"epoch_{epoch:04d}"
        folder.mkdir(exist_ok=True)
        for sample, picture in self._predictions.items():
            write_png(folder / f"{sample}.png", picture)
        path = str(folder.relative_to(self._job.run.path))
        self._job.record(Gallery(epoch=epoch, path=path, samples=list(self._predictions)))


def sample_name(origin: Literal["in", "out"] | str, name: str) -> str:
    """What a case is called in the gallery: names of both data sets may be the same."""
    return gallery_name(f"{origin}/{name}")
