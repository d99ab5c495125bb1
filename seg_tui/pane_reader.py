"""Reading the run under the dashboard's cursor for the pane that shows it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.message import Message
from textual.worker import get_current_worker

from engine.report.waiting import UNDER_WAY
from engine.store import RunSummary, StoreError
from seg_tui.detail import Detail, load_detail
from seg_tui.live import Snapshot
from seg_tui.widgets.run_pane import RunPane

if TYPE_CHECKING:
    from seg_tui.app import SegTui

SETTLE_SECONDS = 0.12
"""How long the cursor rests on a run before that is read."""


class DetailLoaded(Message):
    """The run under the cursor was read; `detail` is None when it could not be, and `problem` says why."""

    def __init__(self, run_id: str, detail: Detail | None, problem: str = "") -> None:
        super().__init__()
        self.run_id, self.detail, self.problem = run_id, detail, problem

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, DetailLoaded)


class PaneReader:
    """Keeps a pane on one run after the other. It reads in threads of the pane, which posts `DetailLoaded`;
    whoever gets that hands it to `show`."""

    def __init__(self, pane: RunPane) -> None:
        self._pane = pane
        self._detail: Detail | None = None
        self._run_id = ""
        self._seen: RunSummary | None = None

    @property
    def _tui(self) -> SegTui:
        return cast("SegTui", self._pane.app)

    def look_at(self, run_id: str) -> None:
        """The cursor is on that run; "" for none."""
        self._run_id = run_id
        self._seen = self._tui.snapshot.runs.get(run_id)
        if not run_id:
            self._detail = None
            self._pane.show(None, "no run selected")
        elif self._detail is None:
            self._pane.screen.call_after_refresh(self._load)  # the runs are to be seen first
        else:
            self._load(SETTLE_SECONDS)

    def see(self, snapshot: Snapshot) -> None:
        """Read the run again where it has changed."""
        run = snapshot.runs.get(self._run_id)
        # Why a run waits depends on others.
        if run is not None and (run is not self._seen or run.status == "queued"):
            self._seen = run
            self._load()

    def tick(self) -> None:
        """Read the run again where time alone changes what is said of it."""
        run = self._tui.snapshot.runs.get(self._run_id)
        if run is not None and (run.status in UNDER_WAY or run.status == "queued"):
            self._load()

    def show(self, message: DetailLoaded) -> None:
        if message.run_id != self._run_id:
            return
        if message.detail is None and self._tui.trouble:
            return  # what is shown stays; the notice says why
        self._detail = message.detail
        self._pane.show(message.detail, message.problem, self._tui.settings.curves, self._tui.now())

    def show_again(self) -> None:
        """Other colours are wanted."""
        if self._detail is not None:
            self._pane.show(self._detail, "", self._tui.settings.curves, self._tui.now())

    def _load(self, wait: float = 0.0) -> None:
        read = partial(self._read, self._run_id, wait)
        self._pane.run_worker(read, thread=True, exclusive=True, group="detail")

    def _read(self, run_id: str, wait: float) -> None:
        worker = get_current_worker()
        if wait:
            time.sleep(wait)
        if worker.is_cancelled:
            return
        tui = self._tui
        before = self._detail if self._detail and self._detail.row.id == run_id else None
        try:
            runs = tui.snapshot.runs
            detail = load_detail(tui.store.get(), tui.workspace, run_id, runs, before, glance=True)
        except (StoreError, OSError) as error:
            self._pane.post_message(DetailLoaded(run_id, None, str(error)))
        else:
            self._pane.post_message(DetailLoaded(run_id, detail))
