"""Runs side by side: their numbers against a pinned baseline, their classes, the config keys that differ.

Pure functions from the store's snapshots to one immutable Comparison, which `compare_formats` and the
dashboard show.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from engine.config.stored import recorded
from engine.errors import EngineError
from engine.report.compare_config import (
    SEED,
    KeyRow,
    comparable_config,
    differing_keys,
    scored_otherwise,
)
from engine.report.compare_crf import CrfLine, crf_lines
from engine.report.compare_ood import OodLine, ood_lines
from engine.report.environments import EnvironmentLine, environment_lines
from engine.report.measures import ComparedRun as ComparedRun
from engine.report.measures import Measure, Metric, Value, measures_of, over_seeds
from engine.report.published import (
    LiteratureResult,
    PublishedResult,
    literature_results,
    published_results,
)
from engine.report.runs import done, outcome
from engine.report.speed import SpeedPlot, contender, speed_plot
from engine.store import RunRow
from engine.tasks import TASKS, learns_classes

MOST_RUNS = 12
"""More than this many runs are no comparison a person can read; `seg-engine runs` lists any number."""


class CompareError(EngineError, ValueError):
    """Runs that cannot be compared; the message is one line."""


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
        return self.label if self.seeds == 1 else f"{self.label}, {self.seeds} seeds"

    @property
    def seeds(self) -> int:
        """How many seeds its runs have: those of one seed count as one."""
        return len({row.seed for row in self.rows})


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
    `published` are the study's own numbers, `literature` those of other networks: reference, not entries.
    """

    entries: tuple[Entry, ...]
    baseline: int
    metrics: tuple[Metric, ...]
    classes: tuple[ClassRow, ...]
    config: tuple[KeyRow, ...]
    notes: tuple[str, ...]
    published: tuple[PublishedResult, ...] = ()
    literature: tuple[LiteratureResult, ...] = ()
    ood: tuple[OodLine, ...] = ()
    environments: tuple[EnvironmentLine, ...] = ()
    crf: tuple[CrfLine, ...] = ()
    speed: SpeedPlot | None = None
    """Dice against frames a second, a point for each run with its entry's letter; None where no run has a
    latency."""


def compare(
    runs: Sequence[ComparedRun],
    baseline: str = "",
    fold_seeds: bool = False,
    with_published: bool = False,
) -> Comparison:
    """Compare 1 to MOST_RUNS runs with the run whose id is `baseline`, by default the first.

    With `fold_seeds`, runs equal in all but their seed become one entry, without those that were made again;
    `with_published`, the numbers of others that these runs can be held against are in it. Raises CompareError
    for a run that is named twice, too many or no runs, and a baseline that is not among them.
    """
    ids = [run.row.id for run in runs]
    baseline = baseline or (ids[0] if ids else "")
    _check(ids, baseline)
    groups = same_but_for_the_seed(runs) if fold_seeds else [[run] for run in runs]
    if len(groups) > MOST_RUNS:
        raise CompareError(f"{len(groups)} runs are too many to compare; at most {MOST_RUNS}")
    pinned = next(i for i, group in enumerate(groups) if any(run.row.id == baseline for run in group))
    again = {run.row.id for run in made_again(groups)}
    groups = [[run for run in group if run.row.id not in again] for group in groups]
    common = _common_classes(runs)
    measures = list(measures_of(runs, common))
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
    lettered = [(entry.letter, group) for entry, group in zip(entries, groups, strict=True)]
    return Comparison(
        entries=entries,
        baseline=pinned,
        metrics=tuple(m for m, _ in measures if any(m.name in entry.values for entry in entries)),
        classes=_class_rows(groups, pinned, common),
        config=differing_keys([entry.rows for entry in entries], fold_seeds),
        notes=tuple(_notes(runs, common, again)),
        published=published_results([run.row.recipe for run in runs]) if with_published else (),
        literature=literature_results(_class_names(runs)) if with_published else (),
        ood=ood_lines([(letter, [(run.row.seed, run.ood) for run in group]) for letter, group in lettered]),
        environments=environment_lines(
            [(letter, [(run.row.seed, run.environments) for run in group]) for letter, group in lettered]
        ),
        crf=crf_lines(lettered),
        speed=_speed(entries, groups),
    )


def _check(ids: Sequence[str], baseline: str) -> None:
    if not ids:
        raise CompareError("give at least one run")
    twice = next((run_id for run_id in ids if ids.count(run_id) > 1), None)
    if twice is not None:
        raise CompareError(f"{twice}: is given twice")
    if baseline not in ids:
        raise CompareError(f"--baseline {baseline}: is not among the runs compared: {', '.join(ids)}")


# ---------------------------------------------------------------------- the numbers


def _speed(entries: Sequence[Entry], groups: Sequence[Sequence[ComparedRun]]) -> SpeedPlot | None:
    runs = [(entry, run) for entry, group in zip(entries, groups, strict=True) for run in group]
    if not any(run.latencies for _, run in runs):
        return None
    contenders = [
        contender(run.row, f"{entry.letter} {run.row.name or run.row.id}")
        for entry, run in runs
        if learns_classes(run.row.task, run.row.classes)
    ]
    return speed_plot(contenders, [row for _, run in runs for row in run.latencies])


def _measured(group: Sequence[ComparedRun], measures: Sequence[Measure]) -> dict[str, Value]:
    values = {metric.name: over_seeds(group, measure) for metric, measure in measures}
    return {name: value for name, value in values.items() if value is not None}


def _against(own: Mapping[str, Value], base: Mapping[str, Value], pinned: bool) -> dict[str, Value]:
    if pinned:
        return dict(own)
    return {name: _minus(value, base.get(name)) for name, value in own.items()}


def _minus(value: Value, base: Value | None) -> Value:
    difference = None if base is None else value.mean - base.mean
    return replace(value, difference=difference)


# ---------------------------------------------------------------------- classes


def _common_classes(runs: Sequence[ComparedRun]) -> list[str] | None:
    """The classes that all runs with scores have, None when they all have the same ones."""
    sets = [list(run.classes) for run in runs if run.classes]
    if not sets or all(set(names) == set(sets[0]) for names in sets):
        return None
    return [name for name in sets[0] if all(name in names for names in sets)]


def _class_names(runs: Sequence[ComparedRun]) -> Sequence[str]:
    return next((run.row.classes for run in runs if run.row.classes), ())


def _class_dice(name: str, run: ComparedRun) -> float | None:
    return run.classes.get(name)


def _class_rows(
    groups: Sequence[Sequence[ComparedRun]], pinned: int, common: Sequence[str] | None
) -> tuple[ClassRow, ...]:
    scored = next((run for group in groups for run in group if run.classes), None)
    if scored is None:
        return ()
    names = list(scored.classes) if common is None else common
    colors = dict(zip(scored.row.classes, scored.row.colors, strict=False))
    rows = []
    for name in names:
        values = [over_seeds(group, partial(_class_dice, name)) for group in groups]
        base = values[pinned]
        dice = tuple(
            value if value is None or i == pinned else _minus(value, base) for i, value in enumerate(values)
        )
        rows.append(ClassRow(name, colors.get(name, ""), dice))
    # Python's sort is stable: classes on which nobody lost or won stay in the order of the class set.
    return tuple(sorted(rows, key=lambda row: float("inf") if row.worst is None else row.worst))


# ---------------------------------------------------------------------- seeds


_Config = tuple[tuple[str, str], ...]
"""What runs share that are equal but for the seed: their config by dotted key."""


def same_but_for_the_seed(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Groups of runs that differ in nothing but their seed, in the order of their first.

    A run that has not opened its data, as it waits or failed before, knows neither its images nor its
    classes. It counts as one of those of its config that have.
    """
    known = recorded(run.row.stored_config for run in runs)
    configs = [(run, config_but_for_the_seed(run.row, known)) for run in runs]
    opened: dict[_Config, _Config] = {}
    for run, config in configs:
        if run.row.train_images is not None:
            opened.setdefault(_as_asked_for(run.row, config), config)
    groups: dict[_Config, list[ComparedRun]] = {}
    for run, config in configs:
        if run.row.train_images is None:
            config = opened.get(_as_asked_for(run.row, config), config)
        groups.setdefault(config, []).append(run)
    return list(groups.values())


def _as_asked_for(row: RunRow, config: _Config) -> _Config:
    """A config without what was found in the data."""
    data = row.config["data"]
    asked = {"data.root": str(data["root"]), "data.classes": str(data["classes"])}
    return tuple((key, asked.get(key, value)) for key, value in config)


def made_again(groups: Iterable[Sequence[ComparedRun]]) -> list[ComparedRun]:
    """The runs of groups over seeds that have not finished while another of the same group and seed has: a
    seed that failed and was made again counts once, by the run that finished."""
    known = list(groups)
    again = {run_id for group in known for run_id in replaced(run.row for run in group)}
    return [run for group in known for run in group if run.row.id in again]


def replaced(rows: Iterable[RunRow]) -> set[str]:
    """The ids of runs equal but for the seed that have not finished while another of the same seed has."""
    group = list(rows)
    finished = {row.seed for row in group if row.status == "finished"}
    return {row.id for row in group if row.status != "finished" and row.seed in finished}


def config_but_for_the_seed(row: RunRow, known: Mapping[str, Any]) -> _Config:
    """What two runs share that differ in nothing but their seed; `known` as in `comparable_config`.

    Records of another program tell of a config what it calls as this one does. Those of an export of this
    program tell all of it, and where they lie makes no other run of them.
    """
    config = comparable_config(row, known) | {SEED: ""}
    if all(key in config for key in _ONLY_OURS):
        config.pop("imported.source", None)
    return tuple(sorted(config.items()))


_ONLY_OURS = ("data.root", "optimizer.name", "runtime.threads")
"""Keys that no other program has all of."""


# ---------------------------------------------------------------------- labels and notes


def _labels(groups: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """Names as people gave them, with the id where two entries would be called the same."""
    names = [group_name(group) for group in groups]
    return [
        f"{name} ({group[0].row.id})" if names.count(name) > 1 else name
        for name, group in zip(names, groups, strict=True)
    ]


def group_name(group: Sequence[ComparedRun]) -> str:
    """The words that all names have, such as "wide" of "wide seed=0" and "wide seed=1"."""
    names = [run.row.name or run.row.id for run in group]
    words = [word for word in names[0].split() if all(word in name.split() for name in names)]
    return " ".join(words) or names[0]


def _notes(
    runs: Sequence[ComparedRun], common: Sequence[str] | None, again: Collection[str]
) -> Iterable[str]:
    """What a reader has to know before believing a difference; `again` are runs that do not count."""
    scored = [run for run in runs if run.classes]
    if common is not None:
        count = f"the {len(common)} that all share are" if common else "none is shared and none is"
        yield f"class sets differ: {count} compared by class, and each mean Dice is of a run's own classes"
    differing = scored_otherwise([run.row for run in scored])
    if differing:
        verb = "differs" if len(differing) == 1 else "differ"
        yield f"not scored on the same pixels: {', '.join(differing)} {verb}"
    devices = {run.row.device_name or run.row.device for run in runs if run.row.device}
    if len(devices) > 1:
        yield f"time, images/s and memory are of different devices: {', '.join(sorted(devices))}"
    for run in runs:
        row = run.row
        if row.status != "finished":
            far = f"epoch {done(row)}" if TASKS[row.task].learns else done(row)
            counts = ", and left out: another of its seed has finished" if row.id in again else ""
            yield f"{row.name or row.id} ({row.id}) is {row.status}, {far}{counts}"
        elif run.best is None and outcome(row) is None:
            yield f"{row.name or row.id} ({row.id}) has no scores"
