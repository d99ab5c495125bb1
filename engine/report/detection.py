"""Out-of-distribution scores and robustness as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.report.tables import Column, score, text_table, windows_told
from engine.store import CorruptionRow, OodRow

LEVELS = {"pixel": "pixels", "image": "whole images"}

UNDEFINED = "undefined"
"""Said of a measure where a class is missing."""


def ood_text(rows: Sequence[OodRow], width: int | None = None) -> Text:
    """The results of one run of the task `ood`: a table for pixels, where there were masks, and for
    images."""
    parts = []
    for level, told in LEVELS.items():
        chosen = [row for row in rows if row.level == level]
        if chosen:
            out, inside = chosen[0].positives, chosen[0].negatives
            windows = f", {windows_told(chosen[0])}" if chosen[0].window_size else ""
            head = f"{told}: {out:,} out-of-distribution, {inside:,} in-distribution{windows}\n"
            parts.append(Text.assemble((head, "bold"), ood_table(chosen, width)))
    return Text("\n\n", no_wrap=True, overflow="ignore").join(parts)


def ood_table(rows: Sequence[OodRow], width: int | None = None) -> Text:
    """A line for each score of one level."""
    columns = [
        Column("score", [row.score for row in rows]),
        Column("AUROC", [measure(row.auroc) for row in rows], right=True),
        Column("AP", [measure(row.average_precision) for row in rows], right=True),
        Column("FPR95", [measure(row.fpr95) for row in rows], right=True),
        Column("± at most", [f"{row.error:.1e}" if row.error else "0" for row in rows], right=True, rank=2),
        Column("threshold", [f"{row.threshold:.4g}" for row in rows], right=True, rank=1),
        Column("rejected in", [share(row.rejected_in) for row in rows], right=True),
        Column("out", [share(row.rejected_out) for row in rows], right=True),
    ]
    if any(row.level == "pixel" for row in rows):
        columns += [
            Column("F1*", [score(row.component_f1) for row in rows], right=True),
            Column("best F1*", [score(row.best_component_f1) for row in rows], right=True, rank=1),
        ]
    if any(row.aurc is not None for row in rows):
        columns.append(Column("AURC", [score(row.aurc) for row in rows], right=True))
    return text_table(columns, width)


def corruption_table(rows: Sequence[CorruptionRow], width: int | None = None) -> Text:
    """Dice against strength: a line for each corruption of one run."""
    by_place = {(row.corruption, row.strength): row.dice for row in rows}
    clean = next((row.dice for row in rows if row.strength == 0), None)
    names = corruptions_of(rows)
    strengths = sorted({row.strength for row in rows if row.strength})
    lines = [[clean, *(by_place.get((name, strength)) for strength in strengths)] for name in names]
    # Of a run that is at work some strengths are not there yet, and the mean of the mild ones would flatter.
    means = [mean_of(line[1:]) if None not in line[1:] else None for line in lines]
    columns = [
        Column("corruption", names),
        Column("clean", [score(line[0]) for line in lines], right=True),
        *(
            Column(str(strength), [score(line[place]) for line in lines], right=True)
            for place, strength in enumerate(strengths, start=1)
        ),
        Column(mean_title(strengths), [score(mean) for mean in means], right=True),
        Column("kept", [share(kept(mean, clean)) for mean in means], right=True, rank=1),
    ]
    return text_table(columns, width)


def mean_title(strengths: Sequence[int]) -> str:
    return f"mean {strengths[0]}-{strengths[-1]}" if len(strengths) > 1 else "mean"


def corruptions_of(rows: Sequence[CorruptionRow]) -> list[str]:
    """The kinds of corruption, in the order in which they were measured."""
    return list(dict.fromkeys(row.corruption for row in rows if row.strength))


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of those that there are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def kept(corrupted: float | None, clean: float | None) -> float | None:
    """Which share of the clean score is left."""
    return corrupted / clean if corrupted is not None and clean else None


def measure(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.4f}"


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
