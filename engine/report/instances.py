"""What was found of the instances of critical classes, by size and distance to the road, as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.report.page import Table, table
from engine.report.tables import Column, score, text_table
from engine.store import MetricRow

COUNT, FOUND, PIXELS = "instances", "instance_recall", "instance_pixel_recall"

GROUPS = {
    "": "all",
    "small": "small, below 32² px",
    "medium": "medium",
    "large": "large, above 96² px",
    "on_road": "on the road, up to 4 px",
    "near_road": "near it, up to 64 px",
    "far_from_road": "far from it",
}
"""What the groups of `engine.metrics.instances` are called; pixels of the original image."""

HEADER = ("class", "instances", "number", "found", "pixels found")
CAPTION = "critical classes; found: at least half of the pixels of an instance"


def is_of_instances(metric: str) -> bool:
    """Whether a metric is one of those that these tables tell."""
    return metric.startswith((COUNT, FOUND, PIXELS))


def newest(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """Those of the newest evaluation among rows in order of time; none where no instances were scored."""
    found = [row for row in rows if row.measured == "result" and is_of_instances(row.metric)]
    return [row for row in found if (row.run_id, row.seq) == (found[-1].run_id, found[-1].seq)]


def instance_lines(rows: Sequence[MetricRow]) -> list[tuple[str, ...]]:
    """The cells of HEADER for each class and group of one evaluation; groups without instances are left
    out."""
    values = {(row.metric, row.class_name): row.value for row in rows}
    lines: list[tuple[str, ...]] = []
    for name in dict.fromkeys(row.class_name for row in rows if row.class_name):
        for group, words in GROUPS.items():
            ending = f"_{group}" if group else ""
            if count := values.get((COUNT + ending, name)):
                found, pixels = (values.get((metric + ending, name)) for metric in (FOUND, PIXELS))
                lines.append((name, words, f"{count:.0f}", score(found), score(pixels)))
    return lines


def instances_table(rows: Sequence[MetricRow], width: int | None = None) -> Text:
    """Instances of one evaluation."""
    lines = instance_lines(rows)
    columns = [
        Column(title, [line[i] for line in lines], right=i > 1, least=8) for i, title in enumerate(HEADER)
    ]
    return Text.assemble((f"{CAPTION}\n", "bold"), text_table(columns, width))


def instances_block(rows: Sequence[MetricRow]) -> Table:
    """The same for a page."""
    return table(list(HEADER), [list(line) for line in instance_lines(rows)], numbers_from=2)
