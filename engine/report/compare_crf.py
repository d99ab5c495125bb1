"""What CRFs made of the predictions of compared runs: scores with and without one, overall and by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from engine.report.crf import parameters
from engine.report.detection import mean_of
from engine.report.measures import ComparedRun, Metric, Value, of_seeds
from engine.store import CrfRow

CRF_TITLE = "with and without a CRF"
CRF_IOU = Metric("crf_class_iou", "IoU", "higher", "score")
"""The metric that the rows of a table of classes are of, and whose verdict holds for the other scores too."""


@dataclass(frozen=True, slots=True)
class Refined(Value):
    """A score with a CRF; `before` is that of the same predictions without it, to which the difference is."""

    before: Value = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class CrfLine:
    """The scores of one entry on some images, with a CRF; of several seeds the means, each counted once. None
    where there is no score with it or without it. `seconds` is the time of the CRF for one image."""

    letter: str
    scored_on: str
    parameters: str
    seconds: float | None
    dice: Refined | None
    miou: Refined | None
    class_iou: Mapping[str, Refined | None]


_OfRun = tuple[int, Sequence[CrfRow]]
"""What the CRF made of the predictions of a run, beside its seed."""
_Pair = tuple[float | None, float | None]
"""A score without and with the CRF."""


def crf_lines(entries: Sequence[tuple[str, Sequence[ComparedRun]]]) -> tuple[CrfLine, ...]:
    """The lines of entries, each a letter and its runs. Those that were scored on the same images stand
    together. A CRF of predictions without labels has no line."""
    found: dict[str, dict[str, list[_OfRun]]] = {}
    for letter, runs in entries:
        refined = [(run.row.seed, _newest_of_each(run)) for run in runs]
        for scored_on in dict.fromkeys(name for _, each in refined for name in each):
            rows = [(seed, each.get(scored_on, ())) for seed, each in refined]
            found.setdefault(scored_on, {})[letter] = rows
    return tuple(
        _line(letter, scored_on, runs) for scored_on in found for letter, runs in found[scored_on].items()
    )


def by_images(lines: Iterable[CrfLine]) -> list[list[CrfLine]]:
    """The lines in groups that were scored on the same images."""
    return [list(group) for _, group in groupby(lines, key=lambda line: line.scored_on)]


def classes_of(lines: Sequence[CrfLine]) -> list[str]:
    """The classes of lines scored on the same images, the largest loss by the CRF first."""

    def worst(name: str) -> float:
        values = [line.class_iou.get(name) for line in lines]
        return min((v.difference for v in values if v and v.difference is not None), default=float("inf"))

    return sorted(dict.fromkeys(name for line in lines for name in line.class_iou), key=worst)


def without(value: Refined | None) -> Value | None:
    """The score of the same predictions without the CRF."""
    return None if value is None else value.before


def _newest_of_each(run: ComparedRun) -> dict[str, Sequence[CrfRow]]:
    """What the images are -> what the last CRF made of their predictions. Of a run of the task `robustness`
    the images as they are, and all that were corrupted."""
    evaluated = {evaluation.scores.run_id: evaluation.scored_on for evaluation in run.evaluations}
    found: dict[str, Sequence[CrfRow]] = {}
    scored = [row for row in run.crf if row.class_iou_after is not None]
    for run_id, group in groupby(scored, key=lambda row: row.run_id):
        rows = list(group)
        if run_id in evaluated:
            found[evaluated[run_id]] = rows
            continue
        about = f"{rows[0].split} at {rows[0].at}, {rows[0].images} images"
        clean = [row for row in rows if row.strength == 0]
        corrupted = [row for row in rows if row.strength]
        if clean:
            found[f"{about}, clean"] = clean
        if corrupted:
            kinds = len({row.corruption for row in corrupted})
            found[f"{about}, mean of {kinds} corruptions"] = corrupted
    return found


def _line(letter: str, scored_on: str, runs: Sequence[_OfRun]) -> CrfLine:
    rows = [row for _, of_run in runs for row in of_run]
    told = list(dict.fromkeys(parameters(row) for row in rows))
    names = dict.fromkeys(name for row in rows for name in row.class_iou_after or {})
    seconds = of_seeds((seed, mean_of([row.seconds for row in of_run])) for seed, of_run in runs)
    return CrfLine(
        letter,
        scored_on,
        parameters=told[0] if len(told) == 1 else "each seed its own",
        seconds=None if seconds is None else seconds.mean,
        dice=_compared(runs, lambda row: (row.dice_before, row.dice_after)),
        miou=_compared(runs, lambda row: (row.miou_before, row.miou_after)),
        class_iou={name: _compared(runs, partial(_of_class, name)) for name in names},
    )


def _of_class(name: str, row: CrfRow) -> _Pair:
    return (row.class_iou_before or {}).get(name), (row.class_iou_after or {}).get(name)


def _compared(runs: Sequence[_OfRun], score: Callable[[CrfRow], _Pair]) -> Refined | None:
    """A score without and with a CRF as one value; a run with several pairs counts by their mean."""
    whole = [
        (seed, [(b, a) for b, a in map(score, rows) if b is not None and a is not None])
        for seed, rows in runs
    ]
    after = of_seeds((seed, mean_of([a for _, a in pairs])) for seed, pairs in whole)
    before = of_seeds((seed, mean_of([b for b, _ in pairs])) for seed, pairs in whole)
    if after is None or before is None:
        return None
    return Refined(after.mean, after.sd, after.n, after.mean - before.mean, after.missing, before=before)
