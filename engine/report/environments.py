"""How networks do in environments that they have not seen: a line for each, of one run or of several."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from rich.text import Text

from engine.report.folders import by_path
from engine.report.measures import Metric, Value, of_seeds
from engine.report.page import Cell as PageCell
from engine.report.page import Table, table
from engine.report.tables import Cell, Column, score, text_table, windows_told
from engine.store import EnvironmentRow

TITLE = "unseen environments"

ABOUT = (
    "Differences are to the images that the run held out, with 95 % intervals by bootstrap over images: "
    "paired for corruptions, which are of the same images, and unpaired for other data sets."
)
DICE = Metric("environment_dice", "Dice", "higher", "score")
"""The metric whose verdict a line's scores follow."""


def told_apart(runs: Sequence[Sequence[EnvironmentRow]]) -> list[list[EnvironmentRow]]:
    """The environments of some runs, in which no two data sets have the same name: where folders in different
    places share it, each is called by as much of its path as it takes."""
    named = [[(row, _own_name(row, rows)) for row in rows] for rows in runs]
    places: dict[str, set[str]] = {}
    for row, name in (each for rows in named for each in rows):
        if row.kind == "data":
            places.setdefault(name, set()).add(row.root)
    told = {name: by_path(name, roots) for name, roots in places.items() if len(roots) > 1}
    return [
        [
            replace(row, environment=told[name][row.root]) if row.kind == "data" and name in told else row
            for row, name in rows
        ]
        for rows in named
    ]


def _own_name(row: EnvironmentRow, beside: Sequence[EnvironmentRow]) -> str:
    """What a data set is called, without the number that tells it from another folder of that name."""
    folder = PurePath(row.root).name
    is_numbered = re.fullmatch(rf"{re.escape(folder)} \d+", row.environment) is not None
    twice = sum(other.kind == "data" and other.root == row.root for other in beside) > 1
    taken = any(other.kind != "data" and other.environment == folder for other in beside)
    return folder if is_numbered and not (twice or taken) else row.environment


def environment_text(rows: Sequence[EnvironmentRow], width: int | None = None) -> Text:
    """The environments of one run of the task `generalise`, with what was merged and is not labelled."""
    (rows,) = told_apart([rows])
    return Text("\n", no_wrap=True, overflow="ignore").join(
        [environment_table(rows, width), *(Text(line, "dim") for line in footnotes(rows))]
    )


def environment_table(rows: Sequence[EnvironmentRow], width: int | None = None) -> Text:
    """A line for each environment. A difference whose interval leaves 0 out is bold."""
    columns = [
        Column("environment", [row.environment for row in rows], least=12),
        Column("images", [str(row.images) for row in rows], right=True, rank=2),
        *_measured("Dice", rows, "dice", rank=0),
        *_measured("mIoU", rows, "miou", rank=1),
    ]
    return text_table(columns, width)


def _measured(title: str, rows: Sequence[EnvironmentRow], measure: str, rank: int) -> Iterator[Column]:
    intervals = [_interval(row, measure) for row in rows]
    yield Column(title, [score(getattr(row, measure)) for row in rows], right=True, rank=rank)
    differences: list[Cell] = [
        (score(getattr(row, f"{measure}_difference"), "+"), "bold" * _is_sure(row, measure))
        if row.kind != "own"
        else ""
        for row in rows
    ]
    yield Column("to own", differences, right=True, rank=rank)
    yield Column("95 % interval", intervals, rank=rank + 3)


def _interval(row: EnvironmentRow, measure: str) -> str:
    low, high = getattr(row, f"{measure}_low"), getattr(row, f"{measure}_high")
    if low is None or high is None:
        return ""
    return f"{score(low, '+')} to {score(high, '+')}{'' if is_paired(row) else ' *'}"


def _is_sure(row: EnvironmentRow, measure: str) -> bool:
    low, high = getattr(row, f"{measure}_low"), getattr(row, f"{measure}_high")
    return low is not None and high is not None and low * high > 0


def is_paired(row: EnvironmentRow) -> bool:
    """Whether it has the same images as the run's own."""
    return row.kind == "corruption"


def footnotes(rows: Sequence[EnvironmentRow]) -> list[str]:
    """What the numbers do not say: the unpaired intervals, what was merged or left out, which classes no
    label has, and windows."""
    lines = []
    if any(row.kind == "data" and row.dice_low is not None for row in rows):
        lines.append("* other images than the run's own: the interval is not paired")
    lines += [f"merged before scoring: {told}" for told in dict.fromkeys(row.merged for row in rows) if told]
    lines += [
        f"{row.environment}: no label is {', '.join(row.never_labelled)}; predicting "
        f"{'it' if len(row.never_labelled) == 1 else 'one of them'} counts as a class with Dice 0"
        for row in rows
        if row.never_labelled and row.kind != "corruption"
    ]
    lines += [windows_told(row) for row in rows[:1] if row.window_size]
    return lines


def environment_block(runs: Sequence[tuple[str, Sequence[EnvironmentRow]]]) -> Table:
    """The same for a page: a row for each run, by its name, and environment."""
    lines: list[list[PageCell]] = []
    for (name, _), rows in zip(runs, told_apart([rows for _, rows in runs]), strict=True):
        for row in rows:
            numbers = [
                cell
                for measure in ("dice", "miou")
                for cell in (
                    score(getattr(row, measure)),
                    "" if row.kind == "own" else score(getattr(row, f"{measure}_difference"), "+"),
                    _interval(row, measure),
                )
            ]
            lines.append([name, row.environment, str(row.images), *numbers])
    header = ["run", "environment", "images", "Dice", "to own", "95 % interval"]
    return table([*header, "mIoU", "to own", "95 % interval"], lines, numbers_from=2)


@dataclass(frozen=True, slots=True)
class EnvironmentLine:
    """One entry of a comparison in one environment; of several seeds the means, each counted once. The
    differences are to the entry's own images."""

    letter: str
    environment: str
    kind: str
    images: int
    dice: Value | None
    miou: Value | None


def environment_lines(
    entries: Sequence[tuple[str, Sequence[tuple[int, Sequence[EnvironmentRow]]]]],
) -> tuple[EnvironmentLine, ...]:
    """The lines of entries, each a letter and the environments of each of its runs beside the run's seed: by
    environment, so that what is to be compared stands together. Environments count as one that have the same
    name, data and merging of classes."""
    found: dict[tuple[object, ...], dict[str, list[_OfRun]]] = {}
    whose = [(letter, seed) for letter, runs in entries for seed, _ in runs]
    told = told_apart([rows for _, runs in entries for _, rows in runs])
    for (letter, seed), rows in zip(whose, told, strict=True):
        for row in rows:
            found.setdefault(measured_alike(row), {}).setdefault(letter, []).append((seed, row))
    return tuple(_line(letter, rows) for by_letter in found.values() for letter, rows in by_letter.items())


_OfRun = tuple[int, EnvironmentRow]
"""What a run measured in an environment, beside its seed."""


def measured_alike(row: EnvironmentRow) -> tuple[object, ...]:
    """What scores have in common that can be compared: name, data and merging of classes."""
    windows = (row.window_size, row.window_stride)
    return row.environment, row.kind, row.root, row.split, row.merged, row.images, windows


def _line(letter: str, rows: Sequence[_OfRun]) -> EnvironmentLine:
    _, first = rows[0]
    return EnvironmentLine(
        letter,
        first.environment,
        first.kind,
        first.images,
        _against_own(rows, "dice"),
        _against_own(rows, "miou"),
    )


def _against_own(rows: Sequence[_OfRun], measure: str) -> Value | None:
    value = of_seeds((seed, getattr(row, measure)) for seed, row in rows)
    change = of_seeds((seed, getattr(row, f"{measure}_difference")) for seed, row in rows)
    return value if value is None or change is None else replace(value, difference=change.mean)
