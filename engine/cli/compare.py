"""`seg-engine compare`: runs side by side, against a pinned baseline."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.cli.console import output
from engine.cli.reading import open_existing
from engine.config.keys import ConfigError
from engine.report.compare import Comparison, compare
from engine.report.compare_formats import comparison_text
from engine.report.compare_latex import comparison_latex
from engine.report.compare_page import comparison_markdown
from engine.report.compare_records import comparison_csv, comparison_record
from engine.report.compared_runs import compared_run
from engine.store import Store, StoreError
from engine.store.filters import unless_archived
from engine.store.query import parse_text
from engine.store.why_none import why_none
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.looking import SideBySide

FORMATS: dict[str, Callable[[Comparison], str]] = {
    "csv": comparison_csv,
    "md": comparison_markdown,
    "latex": comparison_latex,
    "json": lambda comparison: json.dumps(comparison_record(comparison), indent=1) + "\n",
}
"""The formats that are text of no particular width; "table" is the other one."""


def compare_runs(workspace: Workspace, wanted: SideBySide) -> None:
    """Print the comparison. Raises StoreError, CompareError, and ConfigError for a format that is none."""
    form = wanted.form
    if form != "table" and form not in FORMATS:
        raise ConfigError(
            [f"--format: {form!r} is not allowed; it must be one of table, {', '.join(FORMATS)}"]
        )
    with open_existing(workspace) as store:
        runs = [compared_run(store, run_id) for run_id in chosen(store, wanted.runs, wanted.where)]
        pinned = store.resolve(wanted.baseline) if wanted.baseline else ""
    comparison = compare(runs, pinned, wanted.fold_seeds, wanted.published)
    if form == "table":
        output.say(comparison_text(comparison, output.table_width))
    else:
        print(FORMATS[form](comparison), end="")


def chosen(store: Store, prefixes: Sequence[str], where: str) -> list[str]:
    """The ids of runs that were named, then of those that match a filter, the best first and without archived
    ones unless it asks for them. Raises StoreError, also where there are none."""
    ids = [store.resolve(prefix) for prefix in prefixes]
    if not where:
        if not ids:
            raise StoreError("give the runs to compare, or --where FILTER")
        return ids
    query = parse_text(where)
    filters = unless_archived([] if query is None else [query])
    found = store.run_ids(filters, "-dice")
    if not found:
        raise StoreError(f"--where: {why_none(store, filters)}")
    return list(dict.fromkeys([*ids, *found]))
