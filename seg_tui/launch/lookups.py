"""Looking things up for the form in threads, once nobody has typed for a moment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from textual.timer import Timer
from textual.widget import Widget

from engine.config.run_config import RunConfig
from seg_tui.launch.messages import DataSeen, RunEstimated
from seg_tui.launch.queueing import Look, estimate, looker
from seg_tui.widgets.config_form import ConfigForm

if TYPE_CHECKING:
    from seg_tui.app import SegTui

PAUSE_SECONDS = 0.3
"""How long nobody types before a folder is looked at and earlier runs are asked."""


class Lookups:
    """What the data folder has and what earlier runs took. The answers, `DataSeen` and `RunEstimated`, go to
    `owner`."""

    def __init__(self, owner: Widget) -> None:
        self._owner = owner
        self._wait: Timer | None = None
        self._asked: RunConfig | None = None

    def soon(self, form: ConfigForm, seconds: float = PAUSE_SECONDS) -> None:
        """Look things up for what the form has then, unless this is called again before."""
        if self._wait is not None:
            self._wait.stop()
        self._wait = self._owner.set_timer(max(seconds, 0.001), partial(self._ask, form))

    def is_newest(self, config: RunConfig) -> bool:
        """Whether an estimate is for the config that was asked for last."""
        return config == self._asked

    def _ask(self, form: ConfigForm) -> None:
        self._start("data", partial(self._look_at, looker(form.draft), form.draft.data))
        config = form.checked.config
        if config is not None and config != self._asked:
            self._asked = config
            self._start("estimate", partial(self._estimate, config))

    def _start(self, group: str, ask: partial[None]) -> None:
        self._owner.run_worker(ask, thread=True, exclusive=True, group=group, exit_on_error=False)

    def _look_at(self, look: Look, folder: str) -> None:
        self._owner.post_message(DataSeen(folder, look(folder)))

    def _estimate(self, config: RunConfig) -> None:
        from seg_tui.actions import words_of

        tui = cast("SegTui", self._owner.app)
        try:
            line = estimate(tui.store.get(), tui.snapshot, config)
        except Exception as error:
            words_of(error)  # what ails the store is told elsewhere; nothing is known here
            line = ""
        self._owner.post_message(RunEstimated(config, line))
