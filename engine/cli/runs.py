"""`seg-engine runs`: the runs of a workspace, the best first."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.agent.presence import Presence
from engine.cli.console import notices, output, print_json
from engine.cli.reading import UNFINISHED, first_run, has_database, no_database, open_existing
from engine.report.csv_text import csv_text
from engine.report.run_values import value_column
from engine.report.runs import Beside, run_record, runs_csv, runs_table
from engine.report.siblings import Siblings
from engine.report.tables import sparkline
from engine.report.waiting import Wait, waits_of
from engine.requests.views import (
    SORTED_BY,
    TABLE_COLUMNS,
    View,
    check_columns,
    find_view,
    sort_key,
)
from engine.store import RunRow, Store, StoreError
from engine.store.filters import Filter, unless_archived
from engine.store.query import Term, grouped, parse_text
from engine.store.why_none import why_none
from engine.typed import typed
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.looking import Listing

TABLE_ROWS = 50
"""Rows of the table when --limit does not say how many."""

MOST_DESCRIBED = 500
"""Of more runs it is not read how each came to its score, and in what it differs from others."""


def list_runs(workspace: Workspace, wanted: Listing) -> None:
    """Print the runs that match. `limit` 0 is all; None is all for programs and TABLE_ROWS for people, who
    then see the unfinished runs too. Raises StoreError for filters, sort keys and names that do not exist.
    """
    view = view_of(workspace, wanted)
    filters, sort, limit = shown_only(wanted, view), view.sort, wanted.limit
    experiment, status, for_people = wanted.experiment, wanted.status, wanted.printed.for_people
    found: list[RunRow] = []
    beside, why, values = Beside(), "", []
    if has_database(workspace):
        with open_existing(workspace) as store:
            if experiment is not None:
                check_experiment(store, experiment)
            most = TABLE_ROWS + 1 if limit is None and for_people else limit or None
            found = store.runs(filters, sort, most, experiment, status)
            if limit is None and for_people and len(found) > TABLE_ROWS:
                unfinished = store.runs([*filters, *UNFINISHED], sort, None, experiment, status)
                found = first_and_unfinished(found, unfinished)
            if for_people:
                beside = _beside(workspace, store, found, view.columns)
                if not found and (wanted.filters or view.filter or experiment or status):
                    why = why_none(store, [*filters, *_limits(experiment, status)])
            elif view.columns:
                values = _values(store, found, view.columns)
    elif for_people:
        notices.say(no_database(workspace))
        return
    if wanted.printed.as_json:
        print_json(values if view.columns else [run_record(row) for row in found])
    elif wanted.printed.as_csv:
        fields = dict.fromkeys(["id", *view.columns])
        lines = [[record[name] for name in fields] for record in values]
        print(csv_text([*fields], lines) if view.columns else runs_csv(found), end="")
    elif found:
        output.say(runs_table(found, time.time(), output.table_width, beside, view.columns))
    elif wanted.filters or view.filter or experiment or status:
        notices.say(f"{why or 'no run matches.'} `{typed('runs')}` lists all")
    elif not wanted.archived and has_database(workspace):
        notices.say(nothing_shown(workspace))
    else:
        notices.say(f"{workspace.root}: no runs here yet; {first_run()}")


def view_of(workspace: Workspace, wanted: Listing) -> View:
    """The view that a list has: the saved one, with what else was asked for. Raises ViewError, StoreError."""
    view = find_view(workspace, wanted.view) if wanted.view else View()
    if wanted.columns:
        columns = tuple(name for part in wanted.columns.split(",") if (name := part.strip()))
        check_columns(columns)
        view = replace(view, columns=columns)
    return replace(view, sort=sort_key(wanted.sort or view.sort or "-dice"))


def shown_only(wanted: Listing, view: View) -> list[Filter]:
    """The filters of a list, which leaves out archived runs unless they are asked for."""
    query = parse_text(view.filter)
    filters: list[Filter] = [*grouped(wanted.filters), *([] if query is None else [query])]
    return filters if wanted.archived else unless_archived(filters)


def nothing_shown(workspace: Workspace) -> str:
    """What to say where a list without filters is empty."""
    with open_existing(workspace) as store:
        count = len(store.run_ids())
    if not count:
        return f"{workspace.root}: no runs here yet; {first_run()}"
    if count == 1:
        return f"the only run is archived; `{typed('runs', '--archived')}` lists it"
    return f"all {count} runs are archived; `{typed('runs', '--archived')}` lists them"


def _values(store: Store, rows: Sequence[RunRow], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The id and the chosen columns of each run, as values."""
    names = [SORTED_BY.get(name, name) for name in columns]
    found = store.values(names, [row.id for row in rows])
    return [{"id": row.id, **dict(zip(columns, found[row.id], strict=True))} for row in rows]


def _beside(workspace: Workspace, store: Store, rows: Sequence[RunRow], chosen: Sequence[str]) -> Beside:
    """What a table with the `chosen` columns tells of runs besides what they are; of many only how they wait
    and what was chosen."""
    waits: dict[str, Wait] = {}
    if any(row.status == "queued" for row in rows):
        here = Presence.of(workspace).living() is not None
        runs = {run.id: run for run in store.changes().runs}
        waits = waits_of(runs, store.workspace, here, store.agents.living())
    ids = [row.id for row in rows]
    names = [name for name in chosen if name not in TABLE_COLUMNS]
    values = store.values(names, ids) if names else {}
    more = {
        name: value_column(name, [values[run_id][place] for run_id in ids])
        for place, name in enumerate(names)
    }
    if len(rows) > MOST_DESCRIBED:
        return Beside(waits, more=more)
    siblings, made = Siblings(), store.siblings(ids)
    siblings.learn(made)
    curves = store.results.dice_curves([row.id for row in rows if row.ended])
    return Beside(
        waits,
        {run_id: sparkline(curve, 8) for run_id, curve in curves.items()},
        {one.id: siblings.text(one) for one in made},
        more,
    )


def _limits(experiment: str | None, status: str | None) -> list[Filter]:
    """The options that narrow the list, as terms of a filter: whole ones, as an experiment may be called
    anything that a filter would take apart."""
    given = (("experiment", experiment), ("status", status))
    return [Term(name, "=", value, f"{name}={value}") for name, value in given if value is not None]


def first_and_unfinished(found: Sequence[RunRow], unfinished: Iterable[RunRow]) -> list[RunRow]:
    """The first rows of a long table and, wherever the order puts them, the runs that have not ended."""
    notices.say(f"only the first {TABLE_ROWS} and unfinished runs are shown; --limit 0 shows all")
    shown = list(found[:TABLE_ROWS])
    ids = {row.id for row in shown}
    return shown + [row for row in unfinished if row.id not in ids]


def check_experiment(store: Store, name: str) -> None:
    """Raises StoreError, with the nearest name, when there is no such experiment."""
    names = [experiment.name for experiment in store.experiments()]
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    there = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    hint = f"did you mean {near[0]}?" if near else f"there are: {there or 'none'}"
    raise StoreError(f"{name}: no such experiment; {hint}")
