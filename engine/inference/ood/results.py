"""Accumulates the scores of all images and computes the results."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.config.task_sections import OodConfig
from engine.data.anomalies import IGNORED, IN, OUT
from engine.data.cases import Case
from engine.inference.ood.fits import Fit
from engine.inference.ood.score_set import Maps, ScoreSet
from engine.metrics.components import ComponentCounter
from engine.metrics.detection import Detection, ScoreCounter, detection
from engine.metrics.risk_coverage import risk_coverage
from engine.run.files import replacing
from engine.run.scoring_events import OodImage, OodResult
from engine.tasks.ood import DECISIONS

CURVE_POINTS = 101
"""Of a risk-coverage curve, at most."""


class Accumulator:
    """The counts over all images; memory is constant but for one record per image."""

    def __init__(self, about: OodConfig, scores: ScoreSet, fit: Fit) -> None:
        self.fit, self.names, self.pixel_names = fit, scores.names, list(scores.pixel)
        sizes = (about.least_predicted, about.least_true)
        self._windows = about.window_fields
        self._counters = {name: ScoreCounter(about.exact_scores) for name in self.pixel_names}
        self._components = {name: ComponentCounter(*sizes) for name in self.pixel_names}
        self._best = {name: ComponentCounter(*sizes) for name in self.pixel_names}
        self._rejected = {name: np.zeros(2, dtype=np.int64) for name in self.pixel_names}
        self._pixels = np.zeros(2, dtype=np.int64)
        self._measures: dict[str, Detection] = {}
        self.images: list[OodImage] = []

    @property
    def needs_second_pass(self) -> bool:
        """Whether components must be counted again, at thresholds known only after the first pass."""
        return any(self._best_threshold(name) is not None for name in self.pixel_names)

    def count_pixels(self, maps: Maps, mask: NDArray[np.uint8] | None) -> None:
        """Count the pixels of a mask. Raises MetricsError when a score is not finite."""
        if mask is None:
            return
        valid = mask != IGNORED
        positive = mask[valid] == OUT
        self._pixels += [(mask == IN).sum(), positive.sum()]
        for name, values in maps.items():
            self._counters[name].add(values[valid], positive)
            above = values > self.fit.pixel[name]
            self._rejected[name] += [(above & (mask == value)).sum() for value in (IN, OUT)]
            self._components[name].add(above, mask)

    def count_best_components(self, maps: Maps, mask: NDArray[np.uint8]) -> None:
        """Count components at the threshold of the best pixel F1; `settle` comes before."""
        for name, values in maps.items():
            threshold = self._best_threshold(name)
            if threshold is not None:
                self._best[name].add(values > threshold, mask)

    def count_image(
        self, case: Case, mask: NDArray[np.uint8] | None, scores: dict[str, float], dice: float | None
    ) -> OodImage:
        """Decide on an image. One with a mask is out-of-distribution when some of its pixels are."""
        out = case.origin == "out" if mask is None else bool((mask == OUT).any())
        include = {name: scores[name] <= self.fit.image[name] for name in self.names}
        image = OodImage(
            image=case.name, origin=case.origin, out=out, scores=scores, include=include, dice=dice
        )
        self.images.append(image)
        return image

    def settle(self) -> None:
        """Compute the pixel measures, once all pixels are counted."""
        self._measures = {name: detection(counter.groups()) for name, counter in self._counters.items()}

    def results(self) -> Iterator[OodResult]:
        """Every score at the level of pixels, where masks marked both kinds, and of images."""
        if self._pixels.all():
            for name in self.pixel_names:
                yield self._of_pixels(name)
        for name in self.names:
            yield self._of_images(name)

    def _of_pixels(self, name: str) -> OodResult:
        found, (rejected_in, rejected_out) = self._measures[name], self._rejected[name]
        threshold = self._best_threshold(name)
        return OodResult(
            score=name,
            level="pixel",
            positives=found.positives,
            negatives=found.negatives,
            auroc=found.auroc,
            average_precision=found.average_precision,
            fpr95=found.fpr95,
            error=found.error,
            threshold=self.fit.pixel[name],
            rejected_in=_share(int(rejected_in), found.negatives),
            rejected_out=_share(int(rejected_out), found.positives),
            component_f1=self._components[name].f1,
            best_component_f1=self._best[name].f1 if threshold is not None else None,
            best_threshold=threshold,
            **self._windows,
        )

    def _of_images(self, name: str) -> OodResult:
        scores = np.array([image.scores[name] for image in self.images])
        out = np.array([image.out for image in self.images], dtype=np.bool_)
        counter = ScoreCounter(limit=max(len(scores), 1))
        counter.add(scores, out)
        found = detection(counter.groups())
        rejected = scores > self.fit.image[name]
        labelled = [image for image in self.images if image.dice is not None]
        curve = risk_coverage([i.scores[name] for i in labelled], [i.dice or 0.0 for i in labelled])
        points = []
        if curve is not None:
            places = np.unique(np.linspace(0, len(curve.dice) - 1, CURVE_POINTS).round().astype(int))
            points = [(float(curve.coverage[i]), float(curve.dice[i])) for i in places]
        return OodResult(
            score=name,
            level="image",
            positives=found.positives,
            negatives=found.negatives,
            auroc=found.auroc,
            average_precision=found.average_precision,
            fpr95=found.fpr95,
            error=found.error,
            threshold=self.fit.image[name],
            rejected_in=_share(int((rejected & ~out).sum()), found.negatives),
            rejected_out=_share(int((rejected & out).sum()), found.positives),
            aurc=None if curve is None else curve.area,
            risk_coverage=points,
            **self._windows,
        )

    def _best_threshold(self, name: str) -> float | None:
        return self._measures[name].best_f1_threshold


def write_decisions(outputs: Path, accumulator: Accumulator) -> None:
    """One table a score: image_name, include (yes or no), score; in the order of the names."""
    folder = outputs / DECISIONS
    folder.mkdir(exist_ok=True)
    for name in accumulator.names:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image_name", "include", "score"])
        for image in sorted(accumulator.images, key=lambda image: image.image):
            writer.writerow([image.image, "yes" if image.include[name] else "no", repr(image.scores[name])])
        with replacing(folder / f"{name}.csv") as stream:
            stream.write(text.getvalue().encode())


def _share(count: int, whole: int) -> float | None:
    return count / whole if whole else None
