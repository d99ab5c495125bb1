"""Runs as tables in files: CSV for spreadsheets, JSON, Parquet."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.report.csv_text import csv_text
from engine.report.outside.recorded import TABLES, Recorded
from engine.report.records import columns_of
from engine.run.files import replacing


def write_csv(folder: Path, runs: Sequence[Recorded]) -> list[Path]:
    """`runs.csv`, `epochs.csv` and so on, each with a header. Nothing stands for a missing value."""
    made = []
    for name, records in _tables(runs).items():
        columns = columns_of(records)
        text = csv_text(list(columns), zip(*columns.values(), strict=True))
        made.append(_written(folder / f"{name}.csv", text.encode()))
    return made


def write_json(folder: Path, runs: Sequence[Recorded]) -> list[Path]:
    """`runs.json` and so on, each a list of objects."""
    return [
        _written(folder / f"{name}.json", (json.dumps(records, indent=1, default=str) + "\n").encode())
        for name, records in _tables(runs).items()
    ]


def write_parquet(folder: Path, runs: Sequence[Recorded]) -> list[Path]:
    """`runs.parquet` and so on, by polars, or by pandas where that is not installed."""
    made = []
    for name, records in _tables(runs).items():
        values = columns_of(records)
        path = folder / f"{name}.parquet"
        with replacing(path) as stream:
            if importlib.util.find_spec("polars") is not None:
                import polars

                polars.DataFrame(values, strict=False).write_parquet(stream)
            else:
                import pandas

                pandas.DataFrame(values).to_parquet(stream)
        made.append(path)
    return made


def _tables(runs: Sequence[Recorded]) -> dict[str, list[dict[str, Any]]]:
    return {name: [record for run in runs for record in lines(run)] for name, lines in TABLES.items()}


def _written(path: Path, content: bytes) -> Path:
    with replacing(path) as stream:
        stream.write(content)
    return path
