"""Folding the events of a journal into the rows of its run.

`fold` is called within a transaction and leaves what a reader of the whole journal would find: the rows of
the last attempt's curve, the scores of the best and the last epoch, the status the worker last told. What
each event does is in `engine.store.folds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from engine.run.events import AnyEvent
from engine.store.folds.costs import cost_summary
from engine.store.folds.curves import summary
from engine.store.folds.folding import Folding
from engine.store.folds.status import begin_attempt
from engine.store.schema import costs, epochs, runs
from engine.tasks import learns_classes


def fold(connection: sa.Connection, before: dict[str, Any], new: Sequence[AnyEvent], offset: int) -> None:
    """Write `new` events, and `offset` behind the last of them, for the run whose columns are `before`.

    Events up to the run's `journal_seq` are left out: they are there already.
    """
    run = dict(before, journal_offset=offset)
    folding = Folding(run)
    for event in new:
        if event.seq <= run["journal_seq"]:
            continue
        run["journal_seq"] = event.seq
        if event.attempt > run["attempt"]:
            begin_attempt(run, event)
        folding.fold(event)
    folding.write(connection)
    if not run["source"] and folding.changes(epochs):
        by_dice = learns_classes(run["task"], run["classes"])
        run |= summary(connection, run["id"], by_loss=not by_dice)
    if folding.changes(costs):
        run |= cost_summary(connection, run["id"])
    changed = {name: value for name, value in run.items() if value != before[name]}
    if changed:
        connection.execute(runs.update().where(runs.c.id == run["id"]).values(changed))
