"""Dice against frames a second: which networks are fast, which are good, and which no other beats in both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich.text import Text

from engine.report.latency import frames, machine_of, milliseconds, size_of
from engine.report.page import Block, Bullets, Cell, Marked, table, text
from engine.report.tables import Column, score, text_table
from engine.store import LatencyRow, RunRow
from engine.tasks import learns_classes
from engine.typed import typed
from engine.visible import one_line

SPEED_TITLE = "Dice against frames a second"
FRONT = "●"
"""The mark of a network on the Pareto front."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A trained run: its Dice, or why it has none, and the input size (height, width) that this is of."""

    run_id: str
    label: str
    size: tuple[int, int]
    dice: float | None
    without: str = "has no validation Dice yet"


def contender(row: RunRow, label: str = "") -> Contender:
    """A run by its best validation Dice."""
    return Contender(row.id, label or row.name or row.id, tuple(row.config["data"]["size"]), row.best_dice)


@dataclass(frozen=True, slots=True)
class SpeedChoice:
    """Which measurements count. `precision` "": that which most runs were measured in; `size` None: each run
    at its own input size, which its Dice is of."""

    protocol: str = "engine"
    precision: str = ""
    size: tuple[int, int] | None = None
    compiled: bool = False
    runtime: str = "torch"


@dataclass(frozen=True, slots=True)
class SpeedPoint:
    """A network, and whether it is on the Pareto front: no other has as much of both, and more of one."""

    run_id: str
    label: str
    dice: float
    latency: LatencyRow
    on_front: bool = False

    @property
    def frames_per_second(self) -> float:
        return self.latency.frames_per_second or 0.0


@dataclass(frozen=True, slots=True)
class SpeedPlot:
    """All points, the fastest first, measured in the same way on the same machine, as `conditions` tell; and
    the label of each run that is left out, with the reason."""

    points: tuple[SpeedPoint, ...]
    left_out: tuple[tuple[str, str], ...]
    conditions: str

    @property
    def front(self) -> list[SpeedPoint]:
        return [point for point in self.points if point.on_front]

    @property
    def notes(self) -> list[str]:
        """What is left out, in whole lines: runs of the same reason together."""
        reasons: dict[str, list[str]] = {}
        for label, reason in self.left_out:
            reasons.setdefault(reason, []).append(one_line(label))
        return [f"left out: {', '.join(labels)}: {reason}" for reason, labels in reasons.items()]


def speed_plot(
    contenders: Sequence[Contender], latencies: Iterable[LatencyRow], choice: SpeedChoice = SpeedChoice()
) -> SpeedPlot:
    """The contenders with a Dice and a measurement of the chosen kind, on the machine and in the precision
    that most of them have, the newest of equally many. `latencies` are in the order of time, of any runs."""
    measured: dict[str, list[LatencyRow]] = {}
    for row in latencies:
        if row.frames_per_second is not None:
            measured.setdefault(row.source or row.run_id, []).append(row)
    fitting = {one.run_id: _fitting(one, measured.get(one.run_id, ()), choice) for one in contenders}
    kinds: dict[tuple[str, str], list[LatencyRow]] = {}
    for one in contenders:
        for kind, row in fitting[one.run_id].items() if one.dice is not None else ():
            kinds.setdefault(kind, []).append(row)
    best = max(kinds, key=lambda kind: (len(kinds[kind]), max(row.t for row in kinds[kind])), default=None)
    points, left_out = [], []
    for one in contenders:
        chosen = fitting[one.run_id].get(best) if best is not None else None
        if one.dice is not None and chosen is not None:
            points.append(SpeedPoint(one.run_id, one.label, one.dice, chosen))
        else:
            left_out.append((one.label, _why(one, measured.get(one.run_id, ()), choice, best)))
    points.sort(key=lambda point: (-point.frames_per_second, -point.dice))
    return SpeedPlot(with_front(points), tuple(left_out), _conditions(choice, best))


def with_front(points: Sequence[SpeedPoint]) -> tuple[SpeedPoint, ...]:
    """The points, those on the Pareto front marked."""

    def beats(other: SpeedPoint, point: SpeedPoint) -> bool:
        there, here = (other.frames_per_second, other.dice), (point.frames_per_second, point.dice)
        return there != here and all(a >= b for a, b in zip(there, here, strict=True))

    return tuple(
        replace(point, on_front=not any(beats(other, point) for other in points)) for point in points
    )


def _fitting(
    one: Contender, rows: Sequence[LatencyRow], choice: SpeedChoice
) -> dict[tuple[str, str], LatencyRow]:
    """The newest measurement of the chosen kind for each precision and machine."""
    wanted = (choice.protocol, choice.runtime, choice.compiled, *(choice.size or one.size))
    return {
        (row.precision, machine_of(row)): row
        for row in rows
        if (row.protocol, row.runtime, row.compiled, row.height, row.width) == wanted
        and choice.precision in ("", row.precision)
    }


def _why(
    one: Contender, rows: Sequence[LatencyRow], choice: SpeedChoice, best: tuple[str, str] | None
) -> str:
    if one.dice is None:
        return one.without
    if not rows:
        return f"no latency measured, which `{typed('bench', one.run_id, '--latency')}` does"
    height, width = choice.size or one.size
    missing = f"measured otherwise, not at {height}x{width} by the protocol {choice.protocol}"
    if best is not None:
        precision, machine = best
        missing += f" in {choice.runtime} {precision} on {machine}"
    return missing


def _conditions(choice: SpeedChoice, best: tuple[str, str] | None) -> str:
    if best is None:
        return ""
    precision, machine = best
    at = "each at its input size" if choice.size is None else "{}x{}".format(*choice.size)
    compiled = ", compiled" if choice.compiled else ""
    return f"protocol {choice.protocol}, {choice.runtime} {precision}{compiled}, {at}, {machine}"


def speed_among(rows: Iterable[RunRow], latencies: Sequence[LatencyRow]) -> SpeedPlot | None:
    """The plot of those runs whose latency was measured; None where it was of none. `latencies` are of any
    runs, in the order of time."""
    measured = {row.source or row.run_id for row in latencies}
    contenders = [
        contender(row) for row in rows if row.id in measured and learns_classes(row.task, row.classes)
    ]
    return speed_plot(contenders, latencies) if contenders else None


def speed_table(plot: SpeedPlot, width: int | None = None) -> Text:
    """A line for each point, the fastest first, below what they have in common; then what is left out."""
    points = plot.points
    columns = [
        Column("", [(FRONT, "green") if point.on_front else "" for point in points]),
        Column("run", [point.label for point in points], least=12),
        Column("Dice", [score(point.dice) for point in points], right=True),
        Column("frames/s", [frames(point.latency) for point in points], right=True),
        Column(
            "median", [milliseconds(point.latency.median_seconds) for point in points], right=True, rank=1
        ),
        Column("p95", [milliseconds(point.latency.p95_seconds) for point in points], right=True, rank=2),
        Column("size", [size_of(point.latency) for point in points], rank=1),
    ]
    about = f"{plot.conditions}; {FRONT} Pareto front"
    parts = [Text(about, "dim"), text_table(columns, width)] if points else []
    return Text("\n", no_wrap=True, overflow="ignore").join(
        [*parts, *(Text(note, "yellow") for note in plot.notes)]
    )


def speed_blocks(plot: SpeedPlot) -> list[Block]:
    """The same for a page."""
    if not plot.points:
        return [Bullets(tuple(plot.notes))]
    rows: list[list[Cell]] = [
        [
            Marked(point.label, "strong") if point.on_front else point.label,
            score(point.dice),
            f"{point.frames_per_second:.4g}",
            milliseconds(point.latency.median_seconds),
            milliseconds(point.latency.p95_seconds),
            milliseconds(point.latency.p99_seconds),
            size_of(point.latency),
        ]
        for point in plot.points
    ]
    header = ["run", "Dice", "frames/s", "median", "p95", "p99", "size"]
    about = f"{SPEED_TITLE}: {plot.conditions}. Bold: the Pareto front, which no other run beats in both."
    blocks: list[Block] = [text(about), table(header, rows, numbers_from=1)]
    return blocks + ([Bullets(tuple(plot.notes))] if plot.notes else [])
