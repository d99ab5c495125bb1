"""The line that narrows the table: a query typed, asked of the database, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from engine.store import StoreError
from engine.store.query import parse_text
from seg_tui.live import Snapshot

if TYPE_CHECKING:
    from engine.store import Store

EXAMPLE = "dice>0.6 (tag:night or name~^unet) not status=failed"

HINT = "enter: back to the table   escape: all runs"

SETTLE_SECONDS = 0.12
"""How long nobody types before the database is asked."""


class FilterLine(Vertical):
    """Hidden until it is opened. What is wrong with a query is said beside it, in the engine's words; the
    last one that was right holds meanwhile.

    It is one line whatever is said: what has no room beside the query lies over what is below while the query
    is typed, so that the table stays where it is."""

    DEFAULT_CSS = """
    FilterLine {
        height: 1; display: none; background: $surface;
        &.shown { display: block; }
        & > #filter-line { height: 1; padding: 0 1; }
        & #filter-label { width: auto; text-style: bold; }
        & #filter-query { width: 2fr; border: none; height: 1; padding: 0; background: $surface; }
        & #filter-says { width: 3fr; height: 1; padding: 0 0 0 2; color: $text-muted; }
        & #filter-says { text-wrap: nowrap; text-overflow: ellipsis; }
        & > #filter-more {
            overlay: screen; display: none; height: auto; max-height: 3; padding: 0 1 0 3;
            background: $surface; color: $text-muted;
        }
        & > #filter-more.needed { display: block; }
        & #filter-says.wrong, & > #filter-more.wrong { color: $text-error; text-style: bold; }
    }
    """

    class Changed(Message):
        """Other runs meet the query now, or there is none any more: see `matching`."""

    class Left(Message):
        """Whoever typed is done."""

    class _Answered(Message):
        """`why_none` is what emptied the list, when no run meets the query; `notes` tell of old names."""

        def __init__(
            self,
            query: str,
            ids: frozenset[str] | None,
            problem: str = "",
            why_none: str = "",
            notes: Sequence[str] = (),
        ) -> None:
            super().__init__()
            self.query, self.ids, self.problem, self.why_none = query, ids, problem, why_none
            self.notes = notes

    def __init__(self, store: Callable[[], Store], id: str | None = None) -> None:
        """`store` opens the database; it is called in a thread and may raise StoreError or OSError."""
        super().__init__(id=id)
        self.matching: frozenset[str] | None = None
        """The ids of the runs that meet the query; None while nothing is filtered."""
        self.why_none = ""
        """Which term of the query emptied the list, and how to see runs again; "" while some meet it."""
        self._store = store
        self._snapshot = Snapshot()
        self._query = ""
        self._said = HINT

    def compose(self) -> ComposeResult:
        with Horizontal(id="filter-line"):
            yield Static("/ ", id="filter-label", markup=False)
            yield Input(id="filter-query", compact=True, placeholder=EXAMPLE)
            yield Static(HINT, id="filter-says", markup=False)
        yield Static(id="filter-more", markup=False)

    @property
    def is_open(self) -> bool:
        return self.has_class("shown")

    def open(self) -> None:
        self.add_class("shown")
        self.screen.set_focus(self.query_one(Input))  # now, not when the keys that wait were dealt with

    @property
    def query_text(self) -> str:
        """What is typed."""
        return self._query

    def put(self, query: str) -> None:
        """Show the runs that a query picks, all with ""; the focus stays where it is seen."""
        self.set_class(bool(query), "shown")
        self.query_one(Input).value = query
        if not query and self.has_focus_within:
            self.post_message(self.Left())

    def close(self) -> None:
        """Show all runs again."""
        self.query_one(Input).value = ""
        self.remove_class("shown")
        self.post_message(self.Left())

    def refresh_matches(self, snapshot: Snapshot) -> None:
        """Runs have changed, so others may match the query."""
        self._snapshot = snapshot
        if self._query:
            self._ask(self._query)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._query = event.value.strip()
        if self._query:
            self._ask(self._query, SETTLE_SECONDS)
        else:
            self.workers.cancel_group(self, "filter")
            self._take(None)
            self._say(HINT)

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        event.stop()
        self.set_class(bool(self._query), "shown")
        self.post_message(self.Left())

    @work(thread=True, exclusive=True, group="filter")
    def _ask(self, query: str, wait: float = 0.0) -> None:
        worker = get_current_worker()
        if wait:
            time.sleep(wait)
        if worker.is_cancelled:
            return
        from engine.store.filters import notes_on  # imports SQLAlchemy
        from engine.store.why_none import why_none

        try:
            store, parsed = self._store(), parse_text(query)
            filters = [] if parsed is None else [parsed]
            ids = frozenset(store.run_ids(filters))
            why = "" if ids else why_none(store, filters)
        except (StoreError, OSError) as error:
            self.post_message(self._Answered(query, None, str(error)))
        else:
            self.post_message(self._Answered(query, ids, why_none=why, notes=notes_on(filters)))

    @on(_Answered)
    def _answered(self, message: _Answered) -> None:
        if message.query != self._query:
            return
        if message.ids is None:
            self._say(message.problem, wrong=True)
            return
        self._take(message.ids, message.why_none)
        runs = self._snapshot.runs
        found = message.ids & runs.keys()
        archived = sum(runs[run_id].archived for run_id in found)
        told = f"{len(found):,} of {len(runs):,} runs"
        told += f", {archived:,} of them archived" if archived else ""
        self._say("; ".join([told, *message.notes]))

    def _take(self, ids: frozenset[str] | None, why_none: str = "") -> None:
        if (ids, why_none) != (self.matching, self.why_none):
            self.matching, self.why_none = ids, why_none
            self.post_message(self.Changed())

    def _say(self, text: str, wrong: bool = False) -> None:
        self._said = text
        for says in ("#filter-says", "#filter-more"):
            self.query_one(says).set_class(wrong, "wrong")
        self._find_room()

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    @on(events.Resize)
    def _find_room(self) -> None:
        """Say it beside the query, or below it while the query is typed and there is no room beside it."""
        beside, below = self.query_one("#filter-says", Static), self.query_one("#filter-more", Static)
        is_short = cell_len(self._said) <= beside.content_size.width
        goes_below = self.query_one(Input).has_focus and not is_short
        beside.update("" if goes_below else self._said)
        below.update(self._said)
        below.set_class(goes_below, "needed")
