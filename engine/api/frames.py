"""Tables for programs: as a DataFrame of pandas or polars, or as the rows of the store."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from engine.errors import EngineError
from engine.report.records import columns_of

Kind: TypeAlias = Literal["auto", "pandas", "polars", "rows"]

Frame: TypeAlias = Any
"""A `pandas.DataFrame`, a `polars.DataFrame` or a list of frozen rows, by the workspace's kind of frames.
Neither package is needed, so their types cannot be named."""

Row = TypeVar("Row")


class FramesError(EngineError, ValueError):
    """Tables cannot be made in the way that was asked for."""


def chosen_kind(kind: Kind) -> Kind:
    """`auto` is pandas, else polars, else rows, by what is installed. Raises FramesError for a kind that does
    not exist or is not installed."""
    if kind not in get_args(Kind):
        raise FramesError(f"frames: {kind!r} is not allowed; it must be one of {', '.join(get_args(Kind))}")
    if kind == "auto":
        packages: tuple[Kind, ...] = ("pandas", "polars")
        return next((each for each in packages if importlib.util.find_spec(each) is not None), "rows")
    if kind != "rows" and importlib.util.find_spec(kind) is None:
        raise FramesError(f"frames: {kind} is not installed; `pip install {kind}`, or choose frames='rows'")
    return kind


def as_frame(rows: Sequence[Row], record: Callable[[Row], Mapping[str, Any]], kind: Kind) -> Frame:
    """Rows as a table of `columns_of` their records; rows themselves where the kind is `rows`."""
    if kind == "rows":
        return list(rows)
    columns = columns_of([record(row) for row in rows])
    package = importlib.import_module(kind)
    return package.DataFrame(columns) if kind == "pandas" else package.DataFrame(columns, strict=False)
