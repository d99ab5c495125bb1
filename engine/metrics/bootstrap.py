"""How sure one may be that a network is better than another one, judged on the same images.

The paired bootstrap: images are drawn with replacement, the same ones for both networks, and each draw gives
the difference of the scores *of the drawn split*: pooled scores are computed anew from the sums of the drawn
images' counts, not averaged. The interval lies between the percentiles of those differences (Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 16). It says how the split could have
been chosen otherwise, and nothing of how the training could have gone otherwise: that takes several seeds.

Where the images are different ones, as those of two data sets, those of each are drawn on their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.metrics.image_confusions import ImageConfusions
from engine.metrics.scores import MetricsError

DRAWS = 10_000
LEVEL = 0.95
MEASURES = ("dice", "dice_image", "miou", "pixel_accuracy")
AT_ONCE = 500
"""Draws computed together: 500 of 3000 images take 12 MB."""

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """A score of two evaluations; `low` to `high` is the interval of `difference` = value - baseline.

    None where one of the scores is undefined.
    """

    measure: str
    value: float | None
    baseline: float | None
    difference: float | None
    low: float | None
    high: float | None


def paired_differences(
    ours: ImageConfusions, baseline: ImageConfusions, seed: int = 0, draws: int = DRAWS
) -> list[Difference]:
    """The difference of each of MEASURES with its 95 % interval; the same `seed` gives the same intervals.

    Raises MetricsError when the two do not count the same images and classes.
    """
    refuse_unpaired(ours.classes, ours.names, baseline)
    names = sorted(ours.names)
    scored = [_Scored(*evaluation.counts(names)) for evaluation in (ours, baseline)]
    generator = np.random.default_rng(seed)

    def draw(count: int) -> Values:
        weights = _drawn(generator, len(names), count)
        return scored[0].measure(weights) - scored[1].measure(weights)

    return _differences(scored, draw, draws)


def refuse_unpaired(classes: tuple[str, ...], names: Collection[str], baseline: ImageConfusions) -> None:
    """Raise MetricsError unless an evaluation counts these very classes and images."""
    if classes != baseline.classes:
        raise MetricsError("the two evaluations have different classes and cannot be compared")
    alone = sorted(set(names) ^ set(baseline.names))
    if alone:
        raise MetricsError(
            f"the two evaluations differ in {len(alone)} images, {alone[0]} for one; "
            "only evaluations of the same images can be compared"
        )


def unpaired_differences(
    ours: ImageConfusions, baseline: ImageConfusions, seed: int = 0, draws: int = DRAWS
) -> list[Difference]:
    """The same for two evaluations of different images, as of two data sets: the images of each are drawn
    on their own, so the intervals are wider. Raises MetricsError when the two do not count the same
    classes."""
    if ours.classes != baseline.classes:
        raise MetricsError("the two evaluations have different classes and cannot be compared")
    scored = [_Scored(*evaluation.counts(sorted(evaluation.names))) for evaluation in (ours, baseline)]
    generator = np.random.default_rng(seed)

    def draw(count: int) -> Values:
        one, other = (
            side.measure(_drawn(generator, len(evaluation), count))
            for side, evaluation in zip(scored, (ours, baseline), strict=True)
        )
        return one - other

    return _differences(scored, draw, draws)


def _drawn(generator: np.random.Generator, images: int, count: int) -> Values:
    """How often each image is drawn, [count, images]; that is all that matters of a draw."""
    return generator.multinomial(images, np.full(images, 1 / images), size=count).astype(float)


def _differences(scored: Sequence[_Scored], draw: Callable[[int], Values], draws: int) -> list[Difference]:
    """The scores of both sides, and the intervals of what `draw` gives: MEASURES [4, B] of B draws."""
    value, reference = (side.measure(np.ones((1, len(side))))[:, 0] for side in scored)
    drawn = [draw(min(AT_ONCE, draws - first)) for first in range(0, draws, AT_ONCE)]
    tails = 100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2
    intervals = [_percentiles(row, tails) for row in np.concatenate(drawn, axis=1)]
    return [
        Difference(measure, _number(own), _number(other), _number(own - other), *interval)
        for measure, own, other, interval in zip(MEASURES, value, reference, intervals, strict=True)
    ]


class _Scored:
    """The counts of an evaluation, each [N, C], ready to be weighted."""

    def __init__(self, correct: Counts, truth: Counts, predicted: Counts) -> None:
        self._correct, self._size = correct.astype(float), (truth + predicted).astype(float)
        self._pixels = truth.sum(axis=1).astype(float)
        self._image_dice = _mean_of_defined(_ratio(2 * self._correct, self._size))  # [N], NaN: undefined

    def __len__(self) -> int:
        return len(self._pixels)

    def measure(self, weights: Values) -> Values:
        """MEASURES [4, B] of B splits in which image n occurs weights[b, n] times; NaN where undefined."""
        correct, size = weights @ self._correct, weights @ self._size  # [B, C]
        has_dice = ~np.isnan(self._image_dice)
        known = np.where(has_dice, self._image_dice, 0.0)
        return np.stack(
            [
                _mean_of_defined(_ratio(2 * correct, size)),
                _ratio(weights @ known, weights @ has_dice.astype(float)),
                _mean_of_defined(_ratio(correct, size - correct)),
                _ratio(correct.sum(axis=1), weights @ self._pixels),
            ]
        )


def _ratio(above: Values, below: Values) -> Values:
    """NaN where there is nothing to divide by."""
    ratio: Values = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio


def _mean_of_defined(values: Values) -> Values:
    """The mean over the last axis of what is not NaN; NaN where all is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(float))


def _percentiles(values: Values, tails: tuple[float, float]) -> tuple[float | None, float | None]:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None, None
    low, high = np.percentile(defined, tails)
    return float(low), float(high)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
