"""The gallery of an evaluation: the images that its network is worst at, with what it makes of them.

Laid out as that of a training run is, the checkpoint's epoch being its only one, so that whatever shows a
gallery shows this one.
"""

from __future__ import annotations

import bisect
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import ClassSet
from engine.inference.gallery import indexed, write_png
from engine.metrics.image_confusions import ImageConfusions
from engine.metrics.scores import scores_from_confusion
from engine.report.gallery import gallery_name
from engine.run.events import Gallery
from engine.worker.job import Job

Pixels = NDArray[np.uint8]


class WorstGallery:
    """Keeps the `most` images of the lowest Dice so far (-1: all), their files written by a thread.

    An image without a Dice, as nothing in it is labelled, counts as the best. `wait` before the scores of
    kept images are saved: then no image that is saved as scored can lack its files after a crash.
    """

    def __init__(self, folder: Path, class_set: ClassSet, epoch: int, most: int) -> None:
        self._inputs, self._predictions = folder / "inputs", folder / f"epoch_{epoch:04d}"
        self._class_set, self._epoch, self._most = class_set, epoch, most
        self._kept: list[tuple[float, str]] = []
        """Dice and name, the worst first."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gallery")
        self._writing: Future[None] | None = None

    def __enter__(self) -> WorstGallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)

    def go_on_with(self, scored: ImageConfusions) -> None:
        """Take over what an earlier attempt kept of the images `scored`; remove what is of no use now."""
        known = {
            gallery_name(name): (_rank(scores_from_confusion(scored.matrix(place)).dice), name)
            for place, name in enumerate(scored.names)
        }
        there = {path.stem for path in self._predictions.glob("*.png")} & known.keys()
        for path in self._predictions.parent.glob("*/*.png"):
            stem = path.stem if path.parent != self._inputs else path.stem.rpartition("_")[0]
            if stem not in there or path.parent not in (self._inputs, self._predictions):
                path.unlink()
        self._kept = sorted(known[stem] for stem in there)
        self._leave_out_the_best()

    def takes(self, name: str, dice: float | None) -> bool:
        """Whether an image of this Dice is among those to be kept; the one that it replaces is removed."""
        if self._most == 0:
            return False
        bisect.insort(self._kept, (_rank(dice), name))
        left_out = self._leave_out_the_best()
        return name not in left_out

    def keep(self, name: str, image: Pixels, target: Pixels, prediction: Pixels) -> None:
        """Write an image uint8 [H, W, 3] and its train ids uint8 [H, W], once what came before is written.

        Raises OSError of the one before.
        """
        self.wait()
        self._writing = self._pool.submit(self._write, gallery_name(name), image, target, prediction)

    def wait(self) -> None:
        """Until all is written. Raises OSError when it could not be."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def record(self, job: Job) -> None:
        """Say in the journal what is kept."""
        self.wait()
        if self._kept:
            path = str(self._predictions.relative_to(job.run.path))
            job.record(
                Gallery(epoch=self._epoch, path=path, samples=[gallery_name(name) for _, name in self._kept])
            )

    def _leave_out_the_best(self) -> list[str]:
        if self._most < 0 or len(self._kept) <= self._most:
            return []
        left_out = [name for _, name in self._kept[self._most :]]
        del self._kept[self._most :]
        self.wait()
        for name in left_out:
            self._remove(gallery_name(name))
        return left_out

    def _write(self, stem: str, image: Pixels, target: Pixels, prediction: Pixels) -> None:
        for folder in (self._inputs, self._predictions):
            folder.mkdir(exist_ok=True)  # without parents: a run directory that was deleted stays deleted
        write_png(self._inputs / f"{stem}_image.png", Image.fromarray(image), compress_level=1)
        write_png(self._inputs / f"{stem}_target.png", indexed(target, self._class_set))
        write_png(self._predictions / f"{stem}.png", indexed(prediction, self._class_set))

    def _remove(self, stem: str) -> None:
        """The prediction goes first: what has one has all."""
        predictions = [self._predictions / f"{stem}.png"]
        for path in [*predictions, *(self._inputs / f"{stem}_{what}.png" for what in ("target", "image"))]:
            path.unlink(missing_ok=True)


def _rank(dice: float | None) -> float:
    return 2.0 if dice is None else dice
