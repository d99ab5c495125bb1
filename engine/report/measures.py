"""What runs are compared by: their metrics, which way is better, and how each is read off a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from statistics import mean, median, stdev
from typing import Literal

from engine.classes import CRITICAL_RECALL
from engine.report.compare_config import pretraining_epochs
from engine.report.compare_ood import OodResults
from engine.report.instances import FOUND, is_of_instances
from engine.report.tables import windows_told
from engine.store import (
    CorruptionRow,
    CrfRow,
    EnvironmentRow,
    EpochRow,
    EvaluationRow,
    LatencyRow,
    MetricRow,
    RunRow,
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of a run's checkpoint. `external`: on images that took part neither in its training nor in
    choosing its best epoch. `input_size` is what the network saw images at, HEIGHTxWIDTH, and `data` the
    folder's name and the split of the data set, where these are not the training's; so are `weights`, where
    a checkpoint has an average besides."""

    scores: EvaluationRow
    external: bool
    input_size: str = ""
    data: str = ""
    weights: str = ""

    @property
    def kind(self) -> str:
        """What makes two evaluations comparable, in words: "external at original, 500 images, CRF"."""
        return f"{self.scored_on}, CRF" if self.scores.crf else self.scored_on

    @property
    def scored_on(self) -> str:
        """The same but for a CRF."""
        scores = self.scores
        words = [f"{'external' if self.external else scores.split} at {scores.at}", f"{scores.images} images"]
        words += [scores.label_resize] if scores.label_resize == "nearest" else []
        words += [f"tta {scores.tta}"] if scores.tta not in ("", "none") else []
        words += [f"input {self.input_size}"] if self.input_size else []
        words += [f"data {self.data}"] if self.data else []
        words += [windows_told(scores)] if scores.window_size else []
        # A file of elsewhere is none of the run's, whatever its name.
        path = PurePath(scores.checkpoint)
        file = scores.checkpoint if path.is_absolute() else path.name
        words += [file] if file not in ("", "best.pt") else []
        words += [self.weights] if self.weights else []
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run with its curve and what others found out about its network; an evaluation with its own result.
    `ood`, `crf` and `latencies` are in the order of time, `corruptions` and `environments` are of the newest
    run that measured them."""

    row: RunRow
    epochs: Sequence[EpochRow]
    evaluations: Sequence[Evaluation] = ()
    ood: Sequence[OodResults] = ()
    corruptions: Sequence[CorruptionRow] = ()
    metrics: Sequence[MetricRow] = ()
    crf: Sequence[CrfRow] = ()
    latencies: Sequence[LatencyRow] = ()
    environments: Sequence[EnvironmentRow] = ()

    @property
    def best(self) -> EpochRow | None:
        """The validation scores of the epoch with the best Dice."""
        return next((e for e in self.epochs if e.split == "val" and e.epoch == self.row.best_epoch), None)

    @property
    def classes(self) -> dict[str, float | None]:
        """Dice by class at the best epoch, of an evaluation its own; nothing for a run without scores and one
        that learns no classes."""
        if self.row.source:
            return self.evaluations[-1].scores.class_dice if self.evaluations else {}
        return self.best.class_dice if self.best is not None else {}


@dataclass(frozen=True, slots=True)
class Metric:
    """A number by which runs are compared. `better` says which way is up; "neither" has no better."""

    name: str
    title: str
    better: Literal["higher", "lower", "neither"]
    kind: Literal[
        "score", "loss", "epochs", "seconds", "images/s", "latency", "count", "FLOP", "bytes", "number"
    ]
    unit: str = ""

    def verdict(self, difference: float | None) -> Literal["better", "worse", ""]:
        """What a difference to the baseline means."""
        if not difference or self.better == "neither":
            return ""
        return "better" if (difference > 0) == (self.better == "higher") else "worse"


@dataclass(frozen=True, slots=True)
class Value:
    """One number of an entry: of its run, or the mean over the `n` of its runs that have it.

    `missing` is how many of its runs have none.
    `sd` is the sample standard deviation, None for fewer than two; `difference` is to the baseline's mean,
    None for the baseline itself and where it has no such number.
    """

    mean: float
    sd: float | None
    n: int
    difference: float | None = None
    missing: int = 0


def _at_best(name: str) -> Callable[[ComparedRun], float | None]:
    return lambda run: getattr(run.best, name, None)


def _of_row(name: str) -> Callable[[ComparedRun], float | None]:
    return lambda run: getattr(run.row, name)


def _last_dice(run: ComparedRun) -> float | None:
    """The Dice of a training's last epoch; what a run has that looks at a network is no epoch's."""
    return None if run.row.source else run.row.last_dice


def _epochs_done(run: ComparedRun) -> float | None:
    return run.row.epoch or None


def training_seconds(run: ComparedRun) -> float | None:
    """Time spent on training and scoring, pauses between attempts left out."""
    return sum(epoch.seconds or 0.0 for epoch in run.epochs) or None


def _device_seconds(run: ComparedRun) -> float | None:
    """Time that devices were held for the run, pauses between attempts left out."""
    return None if run.row.device_hours is None else 3600 * run.row.device_hours


def _images_per_second(run: ComparedRun) -> float | None:
    """The median over the training epochs, so that neither the first nor a disturbed one counts."""
    speeds = [epoch.images_per_second for epoch in run.epochs if epoch.split == "train"]
    known = [speed for speed in speeds if speed is not None]
    return median(known) if known else None


def _of_evaluation(field: str) -> Callable[[ComparedRun], float | None]:
    """What the latest evaluation measured of the network itself."""
    return lambda run: getattr(run.evaluations[-1].scores, field) if run.evaluations else None


Measure = tuple[Metric, Callable[[ComparedRun], float | None]]

_BEST: Measure = (Metric("best_dice", "best Dice", "higher", "score"), _of_row("best_dice"))

_SCORES: tuple[Measure, ...] = (
    (Metric("best_epoch", "@ epoch", "neither", "epochs"), _of_row("best_epoch")),
    (Metric("best_train_dice", "train Dice", "higher", "score"), _of_row("best_train_dice")),
    (Metric("best_miou", "mIoU", "higher", "score"), _of_row("best_miou")),
    (Metric("dice_image", "image Dice", "higher", "score"), _at_best("dice_image")),
    (Metric("pixel_accuracy", "pixel accuracy", "higher", "score"), _at_best("pixel_accuracy")),
    (Metric("last_dice", "last Dice", "higher", "score"), _last_dice),
    (Metric("val_loss", "val loss", "lower", "loss"), _at_best("loss")),
)

_EPOCHS: Measure = (Metric("epochs", "epochs", "neither", "epochs"), _epochs_done)

_COSTS: tuple[Measure, ...] = (
    (Metric("seconds", "time", "lower", "seconds"), training_seconds),
    (Metric("images_per_second", "images/s", "higher", "images/s"), _images_per_second),
    (Metric("device_seconds", "device time", "lower", "seconds"), _device_seconds),
    (Metric("gpu_kwh", "GPU energy", "lower", "number", "kWh"), _of_row("gpu_kwh")),
    (Metric("cpu_kwh", "CPU energy", "lower", "number", "kWh"), _of_row("cpu_kwh")),
    (Metric("parameters", "parameters", "neither", "count"), _of_row("parameters")),
    (Metric("flops_per_sample", "FLOP/sample", "neither", "FLOP"), _of_row("flops_per_sample")),
    (Metric("latency_seconds", "latency", "lower", "latency"), _of_evaluation("latency_seconds")),
    (Metric("frames_per_second", "frames/s", "higher", "images/s"), _of_evaluation("frames_per_second")),
    (Metric("peak_memory_bytes", "memory", "lower", "bytes"), _of_row("peak_memory_bytes")),
)


def measures_of(runs: Sequence[ComparedRun], common: Sequence[str] | None) -> Iterator[Measure]:
    """What these runs are compared by, in the order in which it is shown. Scores are of validation, at the
    best epoch.

    `common` are the classes that all runs share where their class sets differ: the runs' own means are then
    of different classes, and a mean over the common ones comes beside them. As soon as one run was
    pre-trained, the epochs with pre-training are told of all.
    """
    yield _BEST
    if common:
        metric = Metric("common_dice", "Dice, common classes", "higher", "score")
        yield metric, lambda run: _mean_dice(run.classes, common)
    yield from _SCORES
    yield from _own_metrics(runs)
    yield from _evaluations(runs)
    yield _EPOCHS
    if any(pretraining_epochs(run.row) for run in runs):
        metric = Metric("total_epochs", "epochs with pre-training", "neither", "epochs")
        yield metric, lambda run: run.row.epoch + pretraining_epochs(run.row)
    yield from _COSTS


def _own_metrics(runs: Sequence[ComparedRun]) -> Iterator[Measure]:
    """Each metric of one's own that any run has, at its best epoch."""
    for name, newest in _newest(runs, "epoch").items():
        yield _own_metric(newest, f"metric:{name}", name), partial(_own_at_best, name)


def _newest(runs: Sequence[ComparedRun], measured: str) -> dict[str, MetricRow]:
    """The last row of each metric, which says what its numbers mean; in the order of their names."""
    rows = (row for run in runs for row in run.metrics if row.measured == measured)
    newest = {row.metric: row for row in rows}
    return {name: newest[name] for name in sorted(newest)}


def _own_metric(about: MetricRow, name: str, title: str) -> Metric:
    is_share = (about.low, about.high, about.unit) == (0, 1, "")
    return Metric(name, title, about.better, "score" if is_share else "number", about.unit)


def _own_at_best(name: str, run: ComparedRun) -> float | None:
    best = run.row.best_epoch
    at_best = (row for row in own_metrics(run.metrics, run.row.id, "epoch") if row.epoch == best)
    return next((row.value for row in at_best if row.metric == name and row.split == "val"), None)


def own_metrics(
    rows: Sequence[MetricRow], run_id: str, measured: str, class_name: str = ""
) -> Iterator[MetricRow]:
    """What metrics gave for whole splits, or for one class, in one run."""
    for row in rows:
        if row.run_id == run_id and row.measured == measured and row.class_name == class_name:
            yield row


def _evaluations(runs: Sequence[ComparedRun]) -> Iterator[Measure]:
    """Dice and mean IoU of each kind of evaluation that any run has."""
    kinds = dict.fromkeys(evaluation.kind for run in runs for evaluation in run.evaluations)
    for kind in kinds:
        for field, title in (("dice", "Dice"), ("miou", "mIoU")):
            metric = Metric(f"{field}: {kind}", f"{title}, {kind}", "higher", "score")
            yield metric, partial(_of_kind, kind, field)
        for name, about in _newest(runs, "result").items():
            if not is_of_instances(name):
                metric = _own_metric(about, f"metric:{name}: {kind}", f"{name}, {kind}")
                yield metric, partial(_own_of_kind, kind, name)
        for name, words in ((CRITICAL_RECALL, "recall"), (FOUND, "instances found")):
            for of_class in _classes_of(runs, name):
                metric = Metric(
                    f"metric:{name}:{of_class}: {kind}", f"{of_class} {words}, {kind}", "higher", "score"
                )
                yield metric, partial(_own_of_kind, kind, name, class_name=of_class)


def _of_kind(kind: str, field: str, run: ComparedRun) -> float | None:
    """Of the latest evaluation of that kind."""
    found = [evaluation.scores for evaluation in run.evaluations if evaluation.kind == kind]
    return getattr(found[-1], field) if found else None


def _classes_of(runs: Sequence[ComparedRun], name: str) -> list[str]:
    """The classes that a metric was measured of, in evaluations of any of the runs."""
    rows = (row for run in runs for row in run.metrics if row.measured == "result" and row.metric == name)
    return sorted({row.class_name for row in rows} - {""})


def _own_of_kind(kind: str, name: str, run: ComparedRun, class_name: str = "") -> float | None:
    """What a metric gave in the latest evaluation of that kind, for the whole split or one class."""
    found = [evaluation.scores for evaluation in run.evaluations if evaluation.kind == kind]
    if not found:
        return None
    scores = found[-1]
    place = (name, scores.split, scores.at, scores.epoch)
    rows = own_metrics(run.metrics, scores.run_id, "result", class_name)
    return next((row.value for row in rows if (row.metric, row.split, row.at, row.epoch) == place), None)


def summarised(numbers: Iterable[float | None]) -> Value | None:
    """The numbers that are there as one value, None when there is none."""
    given = list(numbers)
    known = [number for number in given if number is not None]
    if not known:
        return None
    sd = stdev(known) if len(known) > 1 else None
    return Value(mean(known), sd, len(known), missing=len(given) - len(known))


def over_seeds(group: Iterable[ComparedRun], measure: Callable[[ComparedRun], float | None]) -> Value | None:
    """A number of runs that are equal but for the seed; one seed counts once, by the mean of its runs."""
    return of_seeds((run.row.seed, measure(run)) for run in group)


def of_seeds(numbers: Iterable[tuple[int, float | None]]) -> Value | None:
    """The same of numbers that stand beside the seed of their run."""
    found: dict[int, list[float | None]] = {}
    for seed, number in numbers:
        found.setdefault(seed, []).append(number)
    values = (summarised(of_seed) for of_seed in found.values())
    return summarised(None if value is None else value.mean for value in values)


def _mean_dice(scores: Mapping[str, float | None], classes: Sequence[str]) -> float | None:
    known = [dice for name in classes if (dice := scores.get(name)) is not None]
    return mean(known) if known else None
