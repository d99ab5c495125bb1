"""What compared runs do not know: their out-of-distribution scores and their robustness, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from engine.report.detection import corruptions_of, kept, mean_of, mean_title, measure, share
from engine.report.folders import by_path
from engine.report.page import Cell, Table, table
from engine.report.paired import by_seed
from engine.report.tables import Column, score, text_table, told_counts, windows_told
from engine.store import CorruptionRow, OodRow

OOD_TITLE = "out-of-distribution detection"


@dataclass(frozen=True, slots=True)
class OodResults:
    """What one run of the task `ood` measured; `data` says of what, `folder` is that of the images that had
    it."""

    data: str
    rows: Sequence[OodRow]
    folder: str = ""


@dataclass(frozen=True, slots=True)
class OodLine:
    """One score of one entry on one data set; of several seeds the means of those that are defined, each seed
    counted once."""

    letter: str
    data: str
    level: str
    score: str
    auroc: float | None
    average_precision: float | None
    fpr95: float | None
    seeds: int = 1
    """How many seeds the entry has."""
    counts: tuple[int, int, int] = (1, 1, 1)
    """Of how many seeds each of the three means is."""

    @property
    def told(self) -> list[str]:
        """The three as people read them, with how many seeds they are of where that is not all."""
        means = (self.auroc, self.average_precision, self.fpr95)
        return [
            measure(mean) + (told_counts([count], self.seeds) if count else "")
            for mean, count in zip(means, self.counts, strict=True)
        ]


def what_was_out(config: dict[str, Any]) -> str:
    """What stood for out-of-distribution in a run of the task `ood`, by its config: a folder's name, or which
    pixels."""
    about = config.get("ood") or {}
    told = Path(about["out_root"]).name if about.get("out_root") else f"{about.get('pseudo')} pixels"
    window = about.get("window", "none")
    return told if window == "none" else f"{told}, windows {window}"


def where_it_was(config: dict[str, Any]) -> str:
    """The folder of the images that had what `what_was_out` tells."""
    about = config.get("ood") or {}
    return str(about.get("out_root") or about.get("in_root") or "")


def newest_of_each(found: Iterable[OodResults]) -> list[OodResults]:
    """The last results on each data set, of results in the order of time."""
    return list({(results.data, results.folder): results for results in found}.values())


def told_apart(found: Iterable[OodResults]) -> dict[tuple[str, str], str]:
    """What to call the data of results, by `data` and `folder`: where folders in different places are called
    alike, each by as much of its path as it takes."""
    folders: dict[str, set[str]] = {}
    for results in found:
        folders.setdefault(results.data, set()).add(results.folder)
    return {
        (data, folder): called
        for data, alike in folders.items()
        for folder, called in (by_path(data, alike) if len(alike) > 1 else dict.fromkeys(alike, data)).items()
    }


def ood_lines(
    entries: Sequence[tuple[str, Sequence[tuple[int, Sequence[OodResults]]]]],
) -> tuple[OodLine, ...]:
    """The lines of entries, each a letter and the results of each of its runs beside the run's seed: by data,
    level and score, so that what is to be compared stands together. Data of one name in different folders is
    told apart."""
    found: dict[tuple[str, str, str], dict[str, list[tuple[int, OodRow]]]] = {}
    called = told_apart(results for _, runs in entries for _, run in runs for results in run)
    seeds = {letter: len({seed for seed, _ in runs}) for letter, runs in entries}
    for letter, runs in entries:
        for seed, results in ((seed, results) for seed, run in runs for results in newest_of_each(run)):
            for row in results.rows:
                key = (called[results.data, results.folder], row.level, row.score)
                found.setdefault(key, {}).setdefault(letter, []).append((seed, row))
    order = {key: place for place, key in enumerate(found)}
    by_data = sorted(found, key=lambda key: (key[0], key[1] != "pixel", order[key]))
    return tuple(
        _line(letter, key, rows, seeds[letter]) for key in by_data for letter, rows in found[key].items()
    )


def _line(letter: str, key: tuple[str, str, str], rows: Sequence[tuple[int, OodRow]], seeds: int) -> OodLine:
    auroc, precision, fpr95 = (
        by_seed((seed, getattr(row, name)) for seed, row in rows)
        for name in ("auroc", "average_precision", "fpr95")
    )
    return OodLine(
        letter,
        *key,
        auroc=mean_of([*auroc.values()]),
        average_precision=mean_of([*precision.values()]),
        fpr95=mean_of([*fpr95.values()]),
        seeds=seeds,
        counts=(len(auroc), len(precision), len(fpr95)),
    )


def ood_lines_table(
    lines: Sequence[OodLine], width: int | None, styles: Mapping[str, str] | None = None
) -> Text:
    """A line for each, for a terminal; `styles` are those of the letters, where they have any."""
    columns = [
        Column("data", [line.data for line in lines], least=10),
        Column("of", [line.level for line in lines]),
        Column("score", [line.score for line in lines]),
        Column("", [(line.letter, (styles or {}).get(line.letter, "")) for line in lines]),
        *(
            Column(title, [line.told[place] for line in lines], right=True)
            for place, title in enumerate(("AUROC", "AP", "FPR95"))
        ),
    ]
    return text_table(columns, width)


def ood_block(lines: Sequence[OodLine]) -> Table:
    """The same, for a page."""
    rows: list[list[Cell]] = [[line.data, line.level, line.score, line.letter, *line.told] for line in lines]
    return table(["data", "of", "score", "run", "AUROC", "AP", "FPR95"], rows, numbers_from=4)


_IMAGES = {"train": "training", "val": "validation"}
"""What the images of a split are called."""


def corruptions_told(runs: Sequence[tuple[str, Sequence[CorruptionRow]]]) -> str:
    """What the scores of `corruption_block` are of."""
    splits = dict.fromkeys(row.split for _, rows in runs for row in rows)
    images = " and ".join(_IMAGES.get(split, split) for split in splits)
    return f"Dice on {images} images corrupted at five strengths, at the labels' own size."


def corruption_block(runs: Sequence[tuple[str, Sequence[CorruptionRow]]]) -> Table:
    """Dice against strength: a row for each run, by its name, and corruption. Where runs were scored on
    several splits, the name has its own."""
    strengths = sorted({row.strength for _, rows in runs for row in rows if row.strength})
    splits = {row.split for _, rows in runs for row in rows}
    lines: list[list[Cell]] = []
    for name, rows in runs:
        scored_on = f", {rows[0].split}" if rows and len(splits) > 1 else ""
        dice = {(row.corruption, row.strength): row.dice for row in rows}
        clean = next((row.dice for row in rows if row.strength == 0), None)
        for corruption in corruptions_of(rows):
            values = [dice.get((corruption, strength)) for strength in strengths]
            mean = mean_of(values) if None not in values else None  # as in `corruption_table`
            told = map(score, (clean, *values, mean))
            windows = next((f", {windows_told(row)}" for row in rows if row.window_size), "")
            lines.append([f"{name}{scored_on}{windows}", corruption, *told, share(kept(mean, clean))])
    header = ["run", "corruption", "clean", *map(str, strengths), mean_title(strengths), "kept"]
    return table(header, lines, numbers_from=2)
