"""Reading what visible lines of the table tell besides the summaries of runs: curves, and what differs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from textual.message import Message

from engine.report.tables import sparkline
from engine.store import Sibling, StoreError
from seg_tui.widgets.columns import BAR_CELLS
from seg_tui.widgets.run_table import RunTable

if TYPE_CHECKING:
    from seg_tui.app import SegTui

SETTLE_SECONDS = 0.25
"""How long the same lines are on the screen before more is read of them."""


class RowsRead(Message):
    """Sparklines of some runs by id, "" for one without a curve, and the configs of those not known yet; none
    when the database has `failed` to answer."""

    def __init__(self, curves: Mapping[str, str], siblings: Sequence[Sibling], failed: bool) -> None:
        super().__init__()
        self.curves, self.siblings, self.failed = curves, siblings, failed


class RowReader:
    """Reads in threads of the table, one after the other, which post `RowsRead`; whoever gets that hands it
    to `take`. While one is at work, a further request waits for its end."""

    def __init__(self, table: RunTable) -> None:
        self._table = table
        self._wanted: RunTable.FactsWanted | None = None
        self._reading = False

    def read(self, message: RunTable.FactsWanted) -> None:
        self._wanted = message
        if not self._reading:
            self._reading = True
            self._table.run_worker(self._read, thread=True, group="rows")

    def take(self, message: RowsRead) -> None:
        """Show what was read, and read what was asked for meanwhile."""
        self._reading = False
        if message.failed:
            self._table.ask_again()
        else:
            self._table.take_facts(message.curves, message.siblings)
        if self._wanted is not None:
            self.read(self._wanted)

    def _read(self) -> None:
        time.sleep(SETTLE_SECONDS)
        wanted, self._wanted = self._wanted, None
        curves: dict[str, str] = {}
        siblings: list[Sibling] = []
        failed = wanted is not None
        if wanted is not None:
            with contextlib.suppress(StoreError, OSError):  # the notice says why
                store = cast("SegTui", self._table.app).store.get()
                found = store.results.dice_curves(wanted.curves)
                siblings = store.siblings(wanted.strangers)
                curves = {run_id: sparkline(found.get(run_id, ()), BAR_CELLS) for run_id in wanted.curves}
                failed = False
        self._table.post_message(RowsRead(curves, siblings, failed))
