"""What made some runs better: their score against each config key in which they differ.

Pure functions from rows to one immutable Explanation, which `explain_text`, a figure and the dashboard show.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

from engine.config.stored import recorded
from engine.errors import EngineError
from engine.report.compare import config_but_for_the_seed, replaced
from engine.report.compare_config import SCORED_ON, SEED, differing_keys, keeps_result
from engine.report.measures import Metric, Value, summarised
from engine.report.paired import by_seed
from engine.store import RunRow
from engine.tasks import TASKS, learns_classes

MEASURES: dict[str, Metric] = {
    "dice": Metric("best_dice", "best Dice", "higher", "score"),
    "miou": Metric("best_miou", "mIoU", "higher", "score"),
    "last_dice": Metric("last_dice", "last Dice", "higher", "score"),
    "train_dice": Metric("best_train_dice", "train Dice", "higher", "score"),
    "val_loss": Metric("best_val_loss", "val loss", "lower", "loss"),
    "memory": Metric("peak_memory_bytes", "memory", "lower", "bytes"),
}
"""What can be explained, by the word for it; the metric's name is a field of RunRow."""

METHOD = (
    "Importance: one-way analysis of variance of each key by itself; the share of the runs' variance that "
    "lies between its values, corrected for their number (epsilon squared, Kelley 1935). It assumes that the "
    "other keys vary independently of it, as in a grid or a random search, and equal spread at each value. "
    "What only two keys together bring is nobody's."
)
"""How `Factor.importance` is computed, for whoever reads it."""

MOST_LEVELS = 6
"""A number with more values than these, fewer than two runs at each, is cut into ranges."""
_RANGES = 5
_WIDE = 10.0
"""Positive numbers that are so many times apart are shown on a logarithmic axis."""
_FEWEST = 3
"""Runs below which there is nothing to explain."""
_LEFT_OUT = "left out: "


class ExplainError(EngineError, ValueError):
    """Runs of which nothing can be explained; the message is one line."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One config, folded over its `seeds`, each with one of `scores`: of several runs of a seed their mean.
    `values` are those of the keys that differ, as they would be typed; None where it has no such key."""

    label: str
    ids: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Mapping[str, str | None]
    scores: tuple[float, ...]
    score: Value


@dataclass(frozen=True, slots=True)
class Level:
    """A value of a key, or a range of its values: `low` and `high` are their ends where they are numbers."""

    text: str
    low: float | None
    high: float | None
    score: Value


@dataclass(frozen=True, slots=True)
class Factor:
    """A key that differs. `importance` in [0, 1] is None where each run has a value of its own; `trend` in
    [-1, 1] is Spearman's rank correlation with the score, of numbers only. `same_as` are keys that change
    exactly where this one does: nothing tells them apart. `runs` have the key at all."""

    key: str
    is_number: bool
    is_log: bool
    levels: tuple[Level, ...]
    importance: float | None
    trend: float | None
    runs: int
    same_as: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return " = ".join((self.key, *self.same_as))

    @property
    def in_ranges(self) -> bool:
        """Whether a level is a range of values."""
        return any(level.low != level.high for level in self.levels)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`settings` are the best first, `factors` the most important first. `noise` is the share of the runs'
    variance between seeds of one config, None where no config has two. `constant` counts the keys in which
    the runs do not differ. `notes` are whole sentences on what was left out and what cannot be told."""

    metric: Metric
    settings: tuple[Setting, ...]
    factors: tuple[Factor, ...]
    noise: float | None
    noise_sd: float | None
    constant: int
    notes: tuple[str, ...]

    @property
    def runs(self) -> int:
        return sum(len(setting.ids) for setting in self.settings)

    def number(self, setting: Setting, key: str) -> float | None:
        """The value of a key where it is a number."""
        return as_number(setting.values.get(key))


def explain(rows: Sequence[RunRow], measure: str = "dice", unfinished: bool = False) -> Explanation:
    """What made some of these runs better, by one of MEASURES; those that have not finished count only where
    `unfinished`.

    Raises ExplainError, which says what is missing, where nothing can be explained.
    """
    if measure not in MEASURES:
        raise ExplainError(f"{measure}: is nothing to explain; it must be one of {', '.join(MEASURES)}")
    metric = MEASURES[measure]
    kept, notes = _usable(rows, metric, unfinished)
    if len(kept) < _FEWEST:
        why = "; ".join([*notes[:1], *(note.removeprefix(_LEFT_OUT) for note in notes[1:])])
        raise ExplainError(
            f"explaining takes {_FEWEST} runs, and {len(kept)} of {len(rows)} can be used{why and f': {why}'}"
        )
    groups, repeats = _seeds_once(_folded(kept))
    differing = differing_keys(groups, folded=True)
    varied = [key for key in differing if key.key != SEED]
    settings = [
        _setting(group, {key.key: key.values[place] for key in varied}, metric)
        for place, group in enumerate(groups)
    ]
    factors = [factor for key in varied if (factor := _factor(key.key, settings)) is not None]
    if not factors:
        raise ExplainError(f"these {len(kept)} runs differ in no config key but the seed")
    falling = metric.better == "higher"
    noise, noise_sd = _noise(settings)
    return Explanation(
        metric=metric,
        settings=tuple(sorted(settings, key=lambda setting: setting.score.mean, reverse=falling)),
        factors=tuple(sorted(_told_once(factors, settings), key=lambda f: -(f.importance or 0.0))),
        noise=noise,
        noise_sd=noise_sd,
        constant=len(_keys_of(groups)) - len(varied) - 1,
        notes=(*notes, *repeats, *_cautions(kept, settings, {key.key for key in varied})),
    )


def as_number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# ---------------------------------------------------------------------- which runs


def _usable(rows: Sequence[RunRow], metric: Metric, unfinished: bool) -> tuple[list[RunRow], list[str]]:
    """The runs that count, and for each reason why others do not a sentence that names them."""
    reasons: dict[str, list[str]] = {}
    kept = []
    for row in rows:
        if not learns_classes(row.task, row.classes) and not TASKS[row.task].learns:
            reason = f"of the task {row.task}, which scores the network of another run"
        elif row.status != "finished" and not unfinished:
            has_score = getattr(row, metric.name) is not None
            what = "the score of a part of the training" if has_score else "no score yet"
            reason = f"{row.status}, with {what}"
        elif getattr(row, metric.name) is None:
            reason = f"without a {metric.title}"
        elif not math.isfinite(getattr(row, metric.name)):
            reason = f"with a {metric.title} that is NaN or infinite"
        else:
            kept.append(row)
            continue
        reasons.setdefault(reason, []).append(row.name or row.id)
    return kept, [f"{_LEFT_OUT}{_named(names)}, {reason}" for reason, names in reasons.items()]


def _named(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _folded(rows: Sequence[RunRow]) -> list[list[RunRow]]:
    """Runs that differ only in the seed together."""
    known = recorded(row.stored_config for row in rows)
    groups: dict[tuple[tuple[str, str], ...], list[RunRow]] = {}
    for row in rows:
        groups.setdefault(config_but_for_the_seed(row, known), []).append(row)
    return list(groups.values())


def _keys_of(groups: Sequence[Sequence[RunRow]]) -> set[str]:
    """The keys that any run has; which there are depends on its network and its other components."""
    known = recorded(group[0].stored_config for group in groups)
    return {key for group in groups for key, _ in config_but_for_the_seed(group[0], known)}


def _seeds_once(groups: Sequence[Sequence[RunRow]]) -> tuple[list[list[RunRow]], list[str]]:
    """The groups without runs that were made again, and sentences that name the runs of repeated seeds."""
    left_out = {run_id for group in groups for run_id in replaced(group)}
    kept = [[row for row in group if row.id not in left_out] for group in groups]
    again = [row.name or row.id for group in groups for row in group if row.id in left_out]
    counts = [Counter(row.seed for row in group) for group in kept]
    twice = [
        row.name or row.id
        for group, of_seed in zip(kept, counts, strict=True)
        for row in group
        if of_seed[row.seed] > 1
    ]
    notes = [f"{_LEFT_OUT}{_named(again)}, another of the same seed has finished"] if again else []
    if twice:
        notes.append(f"{_named(twice)}: runs of one seed count once, by their mean")
    return kept, notes


def _setting(group: Sequence[RunRow], values: Mapping[str, str | None], metric: Metric) -> Setting:
    found = by_seed((row.seed, float(getattr(row, metric.name))) for row in group)
    scores = tuple(found.values())
    score = summarised(scores)
    assert score is not None
    return Setting(
        label=group[0].name or group[0].id,
        ids=tuple(row.id for row in group),
        seeds=tuple(found),
        values=values,
        scores=scores,
        score=score,
    )


# ---------------------------------------------------------------------- how much a key matters


def _factor(key: str, settings: Sequence[Setting]) -> Factor | None:
    """A key among the settings that have it; None where it has but one value there."""
    having = [setting for setting in settings if setting.values[key] is not None]
    texts = list(dict.fromkeys(setting.values[key] or "" for setting in having))
    if len(texts) < 2:
        return None
    numbers = [as_number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    is_number = len(known) == len(texts)
    runs = sum(len(setting.ids) for setting in having)
    if is_number:
        levels = _number_levels(key, having, sorted(set(known)), runs)
    else:
        levels = [_level(text, None, None, [s for s in having if s.values[key] == text]) for text in texts]
        levels.sort(key=lambda level: level.score.mean)
    parts = [
        [score for setting in having if _is_at(setting, key, level) for score in setting.scores]
        for level in levels
    ]
    pairs = [(as_number(s.values[key]), score) for s in having for score in s.scores]
    return Factor(
        key=key,
        is_number=is_number,
        is_log=is_number and min(known) > 0 and max(known) >= _WIDE * min(known),
        levels=tuple(levels),
        importance=epsilon_squared(parts),
        trend=spearman([(x, y) for x, y in pairs if x is not None]) if is_number else None,
        runs=runs,
    )


def _number_levels(key: str, having: Sequence[Setting], values: Sequence[float], runs: int) -> list[Level]:
    """Each value, or where they are too many for the runs, ranges with about as many values each."""
    count = len(values)
    if count > MOST_LEVELS and runs < 2 * count:
        edges = [round(i * count / _RANGES) for i in range(_RANGES + 1)]
        ranges = [(values[a], values[b - 1]) for a, b in pairwise(edges)]
    else:
        ranges = [(value, value) for value in values]
    levels = []
    for low, high in ranges:
        members = [s for s in having if low <= (as_number(s.values[key]) or 0.0) <= high]
        ends = [
            next(s.values[key] or "" for s in members if as_number(s.values[key]) == x) for x in (low, high)
        ]
        levels.append(_level(ends[0] if low == high else " to ".join(ends), low, high, members))
    return levels


def _level(text: str, low: float | None, high: float | None, members: Sequence[Setting]) -> Level:
    score = summarised(score for setting in members for score in setting.scores)
    assert score is not None
    return Level(text or '""', low, high, score)


def _is_at(setting: Setting, key: str, level: Level) -> bool:
    text = setting.values[key]
    if level.low is None or level.high is None:
        return (text or '""') == level.text
    number = as_number(text)
    return number is not None and level.low <= number <= level.high


def epsilon_squared(parts: Sequence[Sequence[float]]) -> float | None:
    """The share of variance between `parts`, corrected for chance: Kelley, "An unbiased correlation ratio
    measure", 1935. In [0, 1]; None where no part has two values, 0 where nothing varies."""
    values = [value for part in parts for value in part]
    within_freedom = len(values) - len(parts)
    if within_freedom < 1:
        return None
    if min(values) == max(values):  # whose mean may differ from them by rounding
        return 0.0
    middle = fmean(values)
    total = sum((value - middle) ** 2 for value in values)
    within = sum((value - fmean(part)) ** 2 for part in parts for value in part)
    return max(0.0, 1 - (within / within_freedom) / (total / (len(values) - 1)))


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Rank correlation, ties at their mean rank; None where either side is constant."""
    if len(pairs) < 2:
        return None
    ranks = [_ranks([pair[side] for pair in pairs]) for side in (0, 1)]
    middle = (len(pairs) + 1) / 2
    x, y = ([rank - middle for rank in each] for each in ranks)
    size = math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
    return sum(a * b for a, b in zip(x, y, strict=True)) / size if size else None


def _ranks(values: Sequence[float]) -> list[float]:
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values), 1):
        places.setdefault(value, []).append(place)
    return [fmean(places[value]) for value in values]


def _noise(settings: Sequence[Setting]) -> tuple[float | None, float | None]:
    """Of the seeds: their share of the variance, and the standard deviation within a config."""
    values = [score for setting in settings for score in setting.scores]
    freedom = len(values) - len(settings)
    if freedom < 1:
        return None, None
    if min(values) == max(values):
        return 0.0, 0.0
    middle = fmean(values)
    total = sum((value - middle) ** 2 for value in values) / (len(values) - 1)
    within = sum((score - s.score.mean) ** 2 for s in settings for score in s.scores) / freedom
    return min(1.0, within / total), math.sqrt(within)


def _told_once(factors: Sequence[Factor], settings: Sequence[Setting]) -> list[Factor]:
    """Keys that change exactly where another does stand with it, those that make no difference last."""
    first: dict[tuple[int, ...], Factor] = {}
    for factor in sorted(factors, key=lambda factor: keeps_result(factor.key)):
        seen: dict[str | None, int] = {}
        cut = tuple(seen.setdefault(setting.values[factor.key], len(seen)) for setting in settings)
        same = first.get(cut)
        first[cut] = factor if same is None else replace(same, same_as=(*same.same_as, factor.key))
    return list(first.values())


# ---------------------------------------------------------------------- what to beware of


def _cautions(rows: Sequence[RunRow], settings: Sequence[Setting], varied: set[str]) -> Iterable[str]:
    if all(len(setting.seeds) == 1 for setting in settings):
        yield "one seed for each config: how much of a difference is chance cannot be told"
    on = [key for key in SCORED_ON if key in varied]
    if on:
        yield f"not scored on the same pixels: {', '.join(on)} {'differs' if len(on) == 1 else 'differ'}"
    if len({row.classes for row in rows}) > 1:
        yield "class sets differ: each mean Dice is of a run's own classes"
    tasks = sorted({row.task for row in rows})
    if len(tasks) > 1:
        yield f"runs of several tasks: {', '.join(tasks)}"
