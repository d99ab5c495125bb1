"""Runs side by side: their numbers against a pinned baseline, their classes, the config keys that differ.

Pure functions from the store's snapshots to one immutable Comparison, which `compare_formats` and the
dashboard show.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median, stdev
from typing import Literal

from engine.report.compare_config import (
    SCORED_ON,
    SEED,
    KeyRow,
    comparable_config,
    differing_keys,
    pretraining_epochs,
)
from engine.report.published import PublishedResult
from engine.store import EpochRow, RunRow

MOST_RUNS = 12
"""More than this many runs are no comparison a person can read; `seg-engine runs` lists any number."""


class CompareError(ValueError):
    """Runs that cannot be compared; the message is one line."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run with its curve; only the rows of its best epoch and its speeds are looked at."""

    row: RunRow
    epochs: Sequence[EpochRow]

    @property
    def best(self) -> EpochRow | None:
        """The validation scores of the epoch with the best Dice."""
        return next((e for e in self.epochs if e.split == "val" and e.epoch == self.row.best_epoch), None)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number by which runs are compared. `better` says which way is up; "neither" has no better."""

    name: str
    title: str
    better: Literal["higher", "lower", "neither"]
    kind: Literal["score", "loss", "epochs", "seconds", "images/s", "count", "FLOP", "bytes"]

    def verdict(self, difference: float | None) -> Literal["better", "worse", ""]:
        """What a difference to the baseline means."""
        if not difference or self.better == "neither":
            return ""
        return "better" if (difference > 0) == (self.better == "higher") else "worse"


@dataclass(frozen=True, slots=True)
class Value:
    """One number of an entry: of its run, or the mean over the `n` of its runs that have it.

    `sd` is the sample standard deviation, None for fewer than two; `difference` is to the baseline's mean,
    None for the baseline itself and where it has no such number.
    """

    mean: float
    sd: float | None
    n: int
    difference: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the comparison: a run, or several that are equal but for the seed."""

    letter: str
    label: str
    rows: tuple[RunRow, ...]
    values: Mapping[str, Value]
    """Metric's name -> value; a metric without a value is left out."""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(row.id for row in self.rows)

    @property
    def title(self) -> str:
        """The label, with the number of seeds where there are several."""
        return self.label if len(self.rows) == 1 else f"{self.label}, {len(self.rows)} seeds"


@dataclass(frozen=True, slots=True)
class ClassRow:
    """Dice of one class, a value for each entry (None: in neither truth nor prediction, or no scores)."""

    name: str
    color: str
    dice: tuple[Value | None, ...]

    @property
    def worst(self) -> float | None:
        """The lowest difference to the baseline: below 0 when an entry lost on this class."""
        return min((v.difference for v in self.dice if v and v.difference is not None), default=None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All there is to say of some runs side by side.

    `metrics` are those that any entry has. `classes` are those that all entries with scores share, the
    biggest loss against the baseline first. `notes` are whole sentences on what is not comparable.
    `published` are the study's own numbers: reference, not entries.
    """

    entries: tuple[Entry, ...]
    baseline: int
    metrics: tuple[Metric, ...]
    classes: tuple[ClassRow, ...]
    config: tuple[KeyRow, ...]
    notes: tuple[str, ...]
    published: tuple[PublishedResult, ...] = field(default=())


def compare(
    runs: Sequence[ComparedRun],
    baseline: str = "",
    fold_seeds: bool = False,
    published: Sequence[PublishedResult] = (),
) -> Comparison:
    """Compare 1 to MOST_RUNS runs with the run whose id is `baseline`, by default the first.

    With `fold_seeds`, runs equal in all but their seed become one entry. Raises CompareError for a run that
    is named twice, too many or no runs, and a baseline that is not among them.
    """
    ids = [run.row.id for run in runs]
    baseline = baseline or (ids[0] if ids else "")
    _check(ids, baseline)
    groups = same_but_for_the_seed(runs) if fold_seeds else [[run] for run in runs]
    if len(groups) > MOST_RUNS:
        raise CompareError(f"{len(groups)} runs are too many to compare; at most {MOST_RUNS}")
    pinned = next(i for i, group in enumerate(groups) if any(run.row.id == baseline for run in group))
    common = _common_classes(runs)
    measures = _measures(runs, common)
    measured = [_measured(group, measures) for group in groups]
    labels = _labels(groups)
    entries = tuple(
        Entry(
            letter=string.ascii_uppercase[i],
            label=labels[i],
            rows=tuple(run.row for run in group),
            values=_against(measured[i], measured[pinned], i == pinned),
        )
        for i, group in enumerate(groups)
    )
    return Comparison(
        entries=entries,
        baseline=pinned,
        metrics=tuple(m for m in METRICS if any(m.name in entry.values for entry in entries)),
        classes=_class_rows(groups, pinned, common),
        config=differing_keys([entry.rows for entry in entries], fold_seeds),
        notes=tuple(_notes(runs, common)),
        published=tuple(published),
    )


def _check(ids: Sequence[str], baseline: str) -> None:
    if not ids:
        raise CompareError("which runs? name at least one")
    twice = next((run_id for run_id in ids if ids.count(run_id) > 1), None)
    if twice is not None:
        raise CompareError(f"{twice}: is named twice; a run is compared with others")
    if baseline not in ids:
        raise CompareError(f"--baseline {baseline}: is not among the runs compared: {', '.join(ids)}")


# ---------------------------------------------------------------------- the numbers


def _at_best(name: str) -> Callable[[ComparedRun], float | None]:
    return lambda run: getattr(run.best, name, None)


def _of_row(name: str) -> Callable[[ComparedRun], float | None]:
    return lambda run: getattr(run.row, name)


def _epochs_done(run: ComparedRun) -> float | None:
    return run.row.epoch or None


def _seconds(run: ComparedRun) -> float | None:
    """Time spent on training and scoring, pauses between attempts left out."""
    return sum(epoch.seconds for epoch in run.epochs) or None


def _images_per_second(run: ComparedRun) -> float | None:
    """The median over the training epochs, so that neither the first nor a disturbed one counts."""
    speeds = [epoch.images_per_second for epoch in run.epochs if epoch.split == "train"]
    return median(speeds) if speeds else None


Measure = tuple[Metric, Callable[[ComparedRun], float | None]]

_MEASURES: tuple[Measure, ...] = (
    (Metric("best_dice", "best Dice", "higher", "score"), _of_row("best_dice")),
    (Metric("best_epoch", "@ epoch", "neither", "epochs"), _of_row("best_epoch")),
    (Metric("best_train_dice", "train Dice", "higher", "score"), _of_row("best_train_dice")),
    (Metric("best_miou", "mIoU", "higher", "score"), _of_row("best_miou")),
    (Metric("dice_image", "image Dice", "higher", "score"), _at_best("dice_image")),
    (Metric("pixel_accuracy", "pixel accuracy", "higher", "score"), _at_best("pixel_accuracy")),
    (Metric("last_dice", "last Dice", "higher", "score"), _of_row("last_dice")),
    (Metric("val_loss", "val loss", "lower", "loss"), _at_best("loss")),
    (Metric("epochs", "epochs", "neither", "epochs"), _epochs_done),
    (Metric("seconds", "time", "lower", "seconds"), _seconds),
    (Metric("images_per_second", "images/s", "higher", "images/s"), _images_per_second),
    (Metric("parameters", "parameters", "neither", "count"), _of_row("parameters")),
    (Metric("flops_per_sample", "FLOP/sample", "neither", "FLOP"), _of_row("flops_per_sample")),
    (Metric("peak_memory_bytes", "memory", "lower", "bytes"), _of_row("peak_memory_bytes")),
)
COMMON_DICE = Metric("common_dice", "Dice, common classes", "higher", "score")
"""Mean over the classes that all runs have, when their class sets differ: their own means are of others."""

TOTAL_EPOCHS = Metric("total_epochs", "epochs with pre-training", "neither", "epochs")
"""For all runs as soon as one of them was pre-trained: what its score cost is more than its own epochs."""

METRICS = (
    *(_MEASURES[0][0], COMMON_DICE, *(metric for metric, _ in _MEASURES[1:9])),
    *(TOTAL_EPOCHS, *(metric for metric, _ in _MEASURES[9:])),
)
"""Every metric, in the order in which they are shown. Scores are of validation, at the best epoch."""


def _measures(runs: Sequence[ComparedRun], common: Sequence[str] | None) -> list[Measure]:
    """What is measured of these runs."""
    measures = list(_MEASURES)
    if common:
        measures.append((COMMON_DICE, lambda run: _mean_dice(run.best, common)))
    if any(pretraining_epochs(run.row) for run in runs):
        measures.append((TOTAL_EPOCHS, lambda run: run.row.epoch + pretraining_epochs(run.row)))
    return measures


def _measured(group: Sequence[ComparedRun], measures: Sequence[Measure]) -> dict[str, Value]:
    values = {metric.name: _value(map(measure, group)) for metric, measure in measures}
    return {name: value for name, value in values.items() if value is not None}


def _value(numbers: Iterable[float | None]) -> Value | None:
    known = [number for number in numbers if number is not None]
    if not known:
        return None
    return Value(mean(known), stdev(known) if len(known) > 1 else None, len(known))


def _mean_dice(scores: EpochRow | None, classes: Sequence[str]) -> float | None:
    known = [dice for name in classes if scores and (dice := scores.class_dice.get(name)) is not None]
    return mean(known) if known else None


def _against(own: Mapping[str, Value], base: Mapping[str, Value], pinned: bool) -> dict[str, Value]:
    if pinned:
        return dict(own)
    return {name: _minus(value, base.get(name)) for name, value in own.items()}


def _minus(value: Value, base: Value | None) -> Value:
    difference = None if base is None else value.mean - base.mean
    return Value(value.mean, value.sd, value.n, difference)


# ---------------------------------------------------------------------- classes


def _common_classes(runs: Sequence[ComparedRun]) -> list[str] | None:
    """The classes that all runs with scores have, None when they all have the same ones."""
    sets = [list(run.best.class_dice) for run in runs if run.best is not None]
    if not sets or all(set(names) == set(sets[0]) for names in sets):
        return None
    return [name for name in sets[0] if all(name in names for names in sets)]


def _class_rows(
    groups: Sequence[Sequence[ComparedRun]], pinned: int, common: Sequence[str] | None
) -> tuple[ClassRow, ...]:
    scored = next((run for group in groups for run in group if run.best is not None), None)
    if scored is None or scored.best is None:
        return ()
    names = list(scored.best.class_dice) if common is None else common
    colors = dict(zip(scored.row.classes, scored.row.colors, strict=False))
    rows = []
    for name in names:
        values = [_value(run.best.class_dice.get(name) for run in group if run.best) for group in groups]
        base = values[pinned]
        dice = tuple(
            value if value is None or i == pinned else _minus(value, base) for i, value in enumerate(values)
        )
        rows.append(ClassRow(name, colors.get(name, ""), dice))
    # Python's sort is stable: classes on which nobody lost or won stay in the order of the class set.
    return tuple(sorted(rows, key=lambda row: float("inf") if row.worst is None else row.worst))


# ---------------------------------------------------------------------- seeds


def same_but_for_the_seed(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Groups of runs that differ in nothing but their seed, in the order of their first."""
    groups: dict[tuple[tuple[str, str], ...], list[ComparedRun]] = {}
    for run in runs:
        config = comparable_config(run.row) | {SEED: ""}
        groups.setdefault(tuple(sorted(config.items())), []).append(run)
    return list(groups.values())


# ---------------------------------------------------------------------- labels and notes


def _labels(groups: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """Names as people gave them, with the id where two entries would be called the same."""
    names = [_shared_words([run.row.name or run.row.id for run in group]) for group in groups]
    return [
        f"{name} ({group[0].row.id})" if names.count(name) > 1 else name
        for name, group in zip(names, groups, strict=True)
    ]


def _shared_words(names: Sequence[str]) -> str:
    """The words that all names have, such as "wide" of "wide seed=0" and "wide seed=1"."""
    words = [word for word in names[0].split() if all(word in name.split() for name in names)]
    return " ".join(words) or names[0]


def _notes(runs: Sequence[ComparedRun], common: Sequence[str] | None) -> Iterable[str]:
    """What a reader has to know before believing a difference."""
    scored = [run for run in runs if run.best is not None]
    if common is not None:
        count = f"the {len(common)} that all share are" if common else "none is shared and none is"
        yield f"class sets differ: {count} compared by class, and each mean Dice is of a run's own classes"
    configs = [comparable_config(run.row) for run in scored]
    differing = [key for key in SCORED_ON if len({config.get(key) for config in configs}) > 1]
    if differing:
        yield f"not scored on the same pixels: {', '.join(differing)} differ"
    devices = {run.row.device_name or run.row.device for run in runs if run.row.device}
    if len(devices) > 1:
        yield f"time, images/s and memory are of different devices: {', '.join(sorted(devices))}"
    for run in runs:
        row = run.row
        if row.status != "finished":
            yield f"{row.name or row.id} ({row.id}) is {row.status}, epoch {row.epoch}/{row.epochs}"
        elif run.best is None:
            yield f"{row.name or row.id} ({row.id}) has no scores"
