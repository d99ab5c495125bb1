"""Following thousands of runs: narrow rows, and only those that changed.

Every write to a run gives it a higher number in `changed`. Who remembers up to which one all was seen asks
for what lies above it, and pays for what happened since instead of for all that there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from engine.store.rows import END_STATUSES
from engine.store.schema import runs
from engine.store.selects import OF_RUN, TAG_SEPARATOR
from engine.store.summary_rows import NOTHING_ELSE, RunSummary, Sibling

_OF_SUMMARY: dict[str, sa.ColumnElement[Any]] = OF_RUN | {
    # Who has a Dice is not judged by a loss, and looking it up takes as long as all the rest of a run.
    "best_val_loss": sa.case((runs.c.best_dice.is_(None), OF_RUN["best_val_loss"])),
    # Configs are long, and few runs wait.
    "wish": sa.case((runs.c.status == "queued", runs.c.config["device"].as_string()), else_=""),
    "slot": sa.case(
        (
            runs.c.status.not_in((*END_STATUSES, "queued")),
            sa.func.coalesce(runs.c.claimed_by["slot"].as_string(), ""),
        ),
        else_="",
    ),
}


def _column(name: str) -> sa.ColumnElement[Any]:
    return _OF_SUMMARY[name] if name in _OF_SUMMARY else runs.c[name]


SUMMARY_COLUMNS = {name: _column(name) for name in RunSummary._fields if name != "also"}
SIBLING_COLUMNS = [_column(field.name) for field in fields(Sibling)]
_TAGS = list(SUMMARY_COLUMNS).index("tags")


def run_summary(row: Sequence[Any], also: Sequence[str] = ()) -> RunSummary:
    """`also` names what stands behind the fields of a summary."""
    values = list(row[: len(SUMMARY_COLUMNS)])
    values[_TAGS] = tuple(sorted(values[_TAGS].split(TAG_SEPARATOR))) if values[_TAGS] else ()
    values.append(dict(zip(also, row[len(SUMMARY_COLUMNS) :], strict=True)) if also else NOTHING_ELSE)
    return RunSummary(*values)
