"""What the compare screen shows, as files in the workspace's `exports/`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import EngineError
from engine.report.compare import ComparedRun, Comparison
from engine.report.compare_latex import comparison_latex
from engine.report.compare_page import comparison_markdown
from engine.report.compare_records import comparison_csv
from engine.run.files import replacing

TEXTS: dict[str, Callable[[Comparison], str]] = {
    ".csv": comparison_csv,
    ".md": comparison_markdown,
    ".tex": comparison_latex,
}
"""Ending of a file -> what writes it."""


class ExportError(EngineError):
    """Nothing was written; the message is one line."""


def export_comparison(
    folder: Path, comparison: Comparison, runs: Sequence[ComparedRun], suffix: str, field: str, now: float
) -> Path:
    """Write the tables (CSV, Markdown, LaTeX) or the curves of `field` (PNG); returns the file's path.

    Named by the runs and the time, so that none replaces an earlier one. Raises ExportError.
    """
    ids = [run.row.id for run in runs]
    named = "-".join(ids[:3]) + (f"-and-{len(ids) - 3}-more" if len(ids) > 3 else "")
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    path = folder / f"compare-{named}-{stamp}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if suffix in TEXTS:
            with replacing(path) as stream:
                stream.write(TEXTS[suffix](comparison).encode())
        else:
            _write_curves(path, comparison, runs, field)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _write_curves(path: Path, comparison: Comparison, runs: Sequence[ComparedRun], field: str) -> None:
    from engine.report.figures.curves import curves_figure, entry_curves
    from engine.report.figures.style import FigureError, save_figure

    try:
        figure = curves_figure(entry_curves(comparison, runs), field, 2, comparison.published)
        save_figure(figure, path, "seg-tui compare " + " ".join(run.row.id for run in runs))
    except FigureError as error:
        raise ExportError(str(error)) from error
