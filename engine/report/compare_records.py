"""A Comparison as JSON and CSV, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.report.compare import Comparison
from engine.report.compare_formats import PUBLISHED_SCORES
from engine.report.csv_text import csv_text
from engine.report.published import PUBLISHED


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    letters = [entry.letter for entry in comparison.entries]
    return {
        "baseline": letters[comparison.baseline],
        "metrics": [asdict(metric) for metric in comparison.metrics],
        "entries": [
            {
                "letter": entry.letter,
                "label": entry.label,
                "runs": list(entry.ids),
                "seeds": [row.seed for row in entry.rows],
                "status": [row.status for row in entry.rows],
                "values": {name: asdict(value) for name, value in entry.values.items()},
            }
            for entry in comparison.entries
        ],
        "classes": [
            {
                "name": row.name,
                "color": row.color,
                "dice": {
                    letter: asdict(value) if value else None
                    for letter, value in zip(letters, row.dice, strict=True)
                },
            }
            for row in comparison.classes
        ],
        "config": {row.key: dict(zip(letters, row.values, strict=True)) for row in comparison.config},
        "notes": list(comparison.notes),
        "ood": [asdict(line) for line in comparison.ood],
        "environments": [asdict(line) for line in comparison.environments],
        "speed": None if comparison.speed is None else asdict(comparison.speed),
        "crf": [asdict(line) for line in comparison.crf],
        "published": [asdict(result) for result in comparison.published],
        "literature": [asdict(result) for result in comparison.literature],
    }


def comparison_csv(comparison: Comparison) -> str:
    """One line an entry, `source` "measured": every number with its deviation and difference, the Dice of
    each class, each key that differs. Published lines have columns of their own: no mean can mix them."""
    lines: list[dict[str, object]] = []
    for i, entry in enumerate(comparison.entries):
        line: dict[str, object] = {
            "source": "measured",
            "letter": entry.letter,
            "label": entry.label,
            "runs": " ".join(entry.ids),
            "baseline": int(i == comparison.baseline),
        }
        for metric in comparison.metrics:
            value = entry.values.get(metric.name)
            line[metric.name] = value.mean if value else None
            line[f"{metric.name}_sd"] = value.sd if value else None
            line[f"{metric.name}_n"] = value.n if value else 0
            line[f"{metric.name}_difference"] = value.difference if value else None
        for row in comparison.classes:
            value = row.dice[i]
            line[f"dice:{row.name}"] = value.mean if value else None
        line |= {key.key: key.values[i] for key in comparison.config}
        lines.append(line)
    for result in comparison.published:
        scores = {f"{PUBLISHED}_{name}": getattr(result, name) for name in PUBLISHED_SCORES.values()}
        told = {"source": PUBLISHED, "label": result.label, f"{PUBLISHED}_epochs": result.epochs}
        lines.append({**told, **scores})
    for found in comparison.literature:
        lines.append({"source": PUBLISHED, "label": found.label, f"{PUBLISHED}_miou": found.miou})
    columns = list(dict.fromkeys(name for line in lines for name in line))
    return csv_text(columns, ([line.get(name) for name in columns] for line in lines))
