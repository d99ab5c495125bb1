"""Which runs a table shows, in which order and in which groups: pure, and cheap for ten thousand runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

from engine.report.tables import score
from engine.report.waiting import UNDER_WAY, in_line, place_of
from engine.store import RunSummary
from seg_tui.widgets.columns import column_named

Grouping = Literal["", "experiment", "variant"]
GROUPINGS: tuple[Grouping, ...] = ("", "experiment", "variant")


@dataclass(frozen=True)
class Order:
    """How runs are ordered: by a column, falling or rising, under way and waiting ones on top if wanted."""

    column: str = "best"
    falling: bool = True
    active_first: bool = True

    def by(self, column: str) -> Order:
        """Ordered by that column, its better end first; the other way round when it was that already."""
        if column == self.column:
            return self.inverted()
        return Order(column, column_named(column).falling, self.active_first)

    def inverted(self) -> Order:
        return Order(self.column, not self.falling, self.active_first)

    def with_active(self, first: bool) -> Order:
        """The same with runs under way and waiting ones on top, or not."""
        return Order(self.column, self.falling, first)

    def sort(self, runs: Iterable[RunSummary]) -> list[RunSummary]:
        """Empty values last in either direction, ties newest first. Waiting runs on top are in the order in
        which they start, whatever the column."""
        value = column_named(self.column).value
        ordered = sorted(runs, key=lambda run: (-run.created_at, run.id))
        known = [run for run in ordered if value(run) is not None]
        known.sort(key=value, reverse=self.falling)
        if len(known) < len(ordered):
            known += [run for run in ordered if value(run) is None]
        if not self.active_first:
            return known
        activity: tuple[list[RunSummary], ...] = ([], [], [])
        for run in known:
            activity[_activity(run)].append(run)
        under_way, waiting, rest = activity
        return [*under_way, *in_line(waiting), *rest]

    def place(self, run: RunSummary) -> tuple[Any, ...]:
        """All that the place of a run depends on; when it stays equal the run does not move."""
        line = place_of(run) if run.status == "queued" else ()
        return column_named(self.column).value(run), _activity(run), line


def _activity(run: RunSummary) -> int:
    if run.status in UNDER_WAY:
        return 0
    return 1 if run.status == "queued" else 2


@dataclass(frozen=True)
class Spread:
    """A score over some runs: how many have it, its mean, the sample deviation of two or more, and how many
    of the runs have none."""

    count: int
    mean: float
    deviation: float | None
    missing: int = 0

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        given = list(values)
        known = [value for value in given if value is not None]
        if not known:
            return None
        missing = len(given) - len(known)
        mean = math.fsum(known) / len(known)
        if len(known) == 1:
            return cls(1, mean, None, missing)
        squares = math.fsum((value - mean) ** 2 for value in known)
        return cls(len(known), mean, math.sqrt(squares / (len(known) - 1)), missing)

    def text(self, width: int, name: str = "") -> str:
        """The mean behind its name, with as much beside it as `width` has room for. A mean of some runs
        says of how many, or is left out where not even that fits: "0.6123 ± 0.0040 (n=2)", "n=2"."""
        number, deviation = score(self.mean), "" if self.deviation is None else f" ± {score(self.deviation)}"
        before, told = f"{name} " if name else "", f" (n={self.count})" if self.missing else ""
        texts = [f"{before}{number}{deviation}{told}", f"{before}{number}{told}"]
        if self.missing:
            texts += [f"{before}{self.mean:.3f} n={self.count}"] * (len(number) == 6)
            texts.append(f"n={self.count}")
        return next((text for text in texts if len(text) <= width), texts[-1])


@dataclass(frozen=True)
class Group:
    """Runs of one experiment, or equal but for their seed, in the order of the table."""

    key: str
    label: str
    runs: tuple[RunSummary, ...]

    @property
    def size(self) -> str:
        return "1 run" if len(self.runs) == 1 else f"{len(self.runs)} runs"

    @property
    def n(self) -> int:
        """How many seeds of how many variants there are together: no run counts twice that was made again."""
        return len(set(map(_variant_and_seed, self.runs)))

    def seeds_once(self, values: Sequence[float | None]) -> list[float | None]:
        """A value for each seed of each variant from one for each run: of several runs of a seed the mean of
        those that have finished, or of all where none has."""
        of_seed: dict[tuple[str, int], list[tuple[bool, float | None]]] = {}
        for run, value in zip(self.runs, values, strict=True):
            of_seed.setdefault(_variant_and_seed(run), []).append((run.status == "finished", value))
        return [_of_one_seed(found) for found in of_seed.values()]

    def statuses(self, width: int) -> str:
        """How many runs are of each status, the liveliest first: "2 running, 3 finished"; where there is no
        room for all of that, "2 running of 5"."""
        counts = Counter(run.status for run in self.runs)
        order = ("running", "starting", "stopping", "queued", "failed", "lost", "stopped", "finished")
        told = [f"{counts[status]} {status}" for status in order if status in counts]
        whole = ", ".join(told)
        return whole if len(whole) <= width else f"{told[0]} of {len(self.runs)}"


def _variant_and_seed(run: RunSummary) -> tuple[str, int]:
    return run.variant, run.seed


def _of_one_seed(found: Sequence[tuple[bool, float | None]]) -> float | None:
    """The mean of the values of one seed's runs, each with whether its run has finished."""
    some_finished = any(finished for finished, _ in found)
    known = [value for finished, value in found if value is not None and (finished or not some_finished)]
    return math.fsum(known) / len(known) if known else None


@dataclass(frozen=True)
class Line:
    """One line of the table: a run, or the head of a group. `key` stays the same while others come and go."""

    key: str
    run: RunSummary | None = None
    group: Group | None = None
    indented: bool = False


def lines_of(ordered: Sequence[RunSummary], grouping: Grouping, collapsed: AbstractSet[str]) -> list[Line]:
    """The lines of the table for runs in order. Groups come in the order of their first run."""
    if not grouping:
        return [Line(run.id, run) for run in ordered]
    members: dict[str, list[RunSummary]] = {}
    for run in ordered:
        members.setdefault(getattr(run, grouping), []).append(run)
    lines: list[Line] = []
    for value, runs in members.items():
        key = f"{grouping}:{value}"
        lines.append(Line(key, group=Group(key, _label(grouping, value, runs), tuple(runs))))
        if key not in collapsed:
            lines += [Line(run.id, run, indented=True) for run in runs]
    return lines


def _label(grouping: Grouping, value: str, runs: Sequence[RunSummary]) -> str:
    """The experiment, or what the names of the runs of a variant begin with."""
    if grouping == "experiment":
        return value
    first, last = min(run.name for run in runs), max(run.name for run in runs)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    shared = first[:length].rstrip(" -_.,=:/#")
    shared = shared.removesuffix("seed").rstrip(" -_.,=:/#")
    return shared or runs[0].name


def neighbour(before: Sequence[Line], position: int, now: Mapping[str, int]) -> int:
    """Where the cursor goes when the line at `position` is gone: to the next line that is still there, else
    to the one before; `now` has the positions of the lines that there are."""
    for key in (line.key for line in before[position:]):
        if key in now:
            return now[key]
    for line in reversed(before[:position]):
        if line.key in now:
            return now[line.key]
    return 0
