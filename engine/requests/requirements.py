"""What an evaluation must reach: `evaluate --require "person.recall>=0.9"`."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.classes import CRITICAL_RECALL
from engine.config.keys import ConfigError
from engine.metrics.boundary import RADII
from engine.metrics.builtin import METRICS
from engine.metrics.instances import GROUPS
from engine.store import EvaluationRow, MetricRow

Scores = Mapping[str, float | None]
"""Score by the name that it is required by: "dice", "person.recall"."""

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_TERM = re.compile(r"\s*(.+?)\s*(>=|<=|>|<)\s*(\S+)\s*")

OF_SPLIT = ("dice", "dice_image", "miou", "pixel_accuracy")
OF_SPEED = ("frames_per_second", "latency_seconds")
OF_CLASS = ("dice", "iou", "recall", "precision")

BOUNDARY = (
    "boundary_iou",
    *(f"{name}_{radius}px" for name in ("boundary_f", "trimap_iou") for radius in RADII),
)


@dataclass(frozen=True)
class Requirement:
    """A bound that a score must keep."""

    name: str
    sign: str
    bound: float

    def met(self, scores: Scores) -> bool:
        """Whether the score is there and keeps the bound."""
        value = scores.get(self.name)
        return value is not None and _COMPARE[self.sign](value, self.bound)

    def told(self, scores: Scores) -> str:
        """A line on whether it is met, and by what."""
        value = scores.get(self.name)
        found = "undefined: no pixel or image of this split says" if value is None else f"{value:.5g}"
        verdict = "met" if self.met(scores) else "not met"
        return f"required {self.name} {self.sign} {self.bound:g}: {found}, {verdict}"

    def record(self, scores: Scores) -> dict[str, Any]:
        """The same for programs."""
        told = {"event": "requirement", "name": self.name, "sign": self.sign, "bound": self.bound}
        return told | {"value": scores.get(self.name), "met": self.met(scores)}


@dataclass(frozen=True)
class Known:
    """What an evaluation will tell: of which classes, of the instances of which, and whether of outlines."""

    classes: Sequence[str]
    critical: Sequence[str]
    boundary: bool

    def requirements(self, texts: Sequence[str]) -> list[Requirement]:
        """What people typed, read. Raises ConfigError with a line for each that cannot be judged."""
        found, problems = [], []
        for text in texts:
            try:
                found.append(self._read(text))
            except ValueError as error:
                problems.append(f"--require {text}: {error}")
        if problems:
            raise ConfigError(problems)
        return found

    def _read(self, text: str) -> Requirement:
        match = _TERM.fullmatch(text)
        if match is None:
            raise ValueError(
                'needs a bound, such as "person.recall>=0.9", in quotes: shells read > themselves'
            )
        name, sign, typed = match.groups()
        known = list(self._names())
        if name not in known:
            raise ValueError(self._unknown(name, known))
        try:
            bound = float(typed)
        except ValueError:
            raise ValueError(f"{typed} is no number") from None
        measure = name.rpartition(".")[2]
        if math.isnan(bound) or (_is_share(measure) and not 0 <= bound <= 1):
            raise ValueError(f"{name} is from 0 to 1")
        return Requirement(name, sign, bound)

    def _names(self) -> Iterator[str]:
        yield from (*OF_SPLIT, *OF_SPEED, *METRICS.all())
        for name in self.classes:
            yield from (f"{name}.{measure}" for measure in (*OF_CLASS, *METRICS.all()))
        if self.boundary:
            yield from BOUNDARY
            yield from (f"{name}.{measure}" for name in self.classes for measure in BOUNDARY)
        if self.critical:
            yield from (CRITICAL_RECALL, *_of_instances(), "iiou")
            yield from (f"{name}.{measure}" for name in self.critical for measure in _of_instances())
            yield from (f"{name}.iiou" for name in self.classes)

    def _unknown(self, name: str, known: Sequence[str]) -> str:
        measure = name.rpartition(".")[2]
        if measure in BOUNDARY and not self.boundary:
            return "boundaries are scored with --boundary"
        if measure in _of_instances() and not self.critical:
            return "instances are scored of critical classes; --critical NAMES names some"
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(OF_SPLIT)} and CLASS.recall"
        return f"there is no score {name}; {hint}"


def scores_of(row: EvaluationRow, metrics: Sequence[MetricRow]) -> Scores:
    """All that an evaluation has found, by the names that are required."""
    scores: dict[str, float | None] = {name: getattr(row, name) for name in (*OF_SPLIT, *OF_SPEED)}
    for place, (name, dice) in enumerate(row.class_dice.items()):
        true = sum(row.confusion[place])
        predicted = sum(line[place] for line in row.confusion)
        correct = row.confusion[place][place]
        scores |= {
            f"{name}.dice": dice,
            f"{name}.iou": row.class_iou.get(name),
            f"{name}.recall": correct / true if true else None,
            f"{name}.precision": correct / predicted if predicted else None,
        }
    for metric in metrics:
        name = f"{metric.class_name}.{metric.metric}" if metric.class_name else metric.metric
        scores[name] = metric.value
    return scores


def _of_instances() -> list[str]:
    kinds = ("instance_recall", "instance_pixel_recall", "instances")
    return [f"{kind}_{group}" if group else kind for kind in kinds for group in GROUPS]


def _is_share(measure: str) -> bool:
    about = METRICS.all().get(measure)
    if about is not None:
        return (about.low, about.high) == (0, 1)
    return measure not in OF_SPEED and not measure.startswith("instances")
