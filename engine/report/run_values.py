"""What runs have under a name that filters know, as text for a cell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from engine.report.tables import Cell, Column, data_size, duration, moment, score
from engine.store.filters import column_of
from engine.visible import one_line


def is_number(kind: str) -> bool:
    """Whether values of a kind stand at the right of a cell."""
    return kind in ("number", "share", "duration", "bytes", "whole number")


def told_value(kind: str, value: Any) -> str:
    """A value of a kind (`engine.store.filters.column_of`) in a cell; "-" where there is none."""
    if value is None or value == "":
        return "-"
    match kind:
        case "share":
            return score(value)
        case "duration":
            return duration(value)
        case "bytes":
            return data_size(value)
        case "time":
            return moment(value, "%Y-%m-%d %H:%M")
        case "size":
            return "x".join(map(str, json.loads(value)))
        case "true/false":
            return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else one_line(str(value))


def value_column(name: str, values: Sequence[Any]) -> Column:
    """A column of values, None where a run has none. Raises StoreError for a name that means nothing."""
    kind = column_of(name)[1]
    cells: list[Cell] = [told_value(kind, value) for value in values]
    return Column(name, cells, right=is_number(kind), rank=1)
