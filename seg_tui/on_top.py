"""Screens that go when they are to, and take no other away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.await_complete import AwaitComplete
from textual.screen import Screen


class WaitsForTop(Screen[Any]):
    """A screen that goes, or shows another, only while it lies on top. Textual takes away whatever does: a
    question, help, a form with all that is typed in it, or, for a key that is pressed twice, the screen
    below."""

    _waiting: Callable[[], object] | None = None

    def dismiss(self, result: Any = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def once_on_top(self, do: Callable[[], object]) -> None:
        """Do it now, or when no other screen lies over this one any more; the last that was asked for
        counts."""
        if self.is_active:
            do()
        else:
            self._waiting = do

    def on_screen_resume(self) -> None:
        do, self._waiting = self._waiting, None
        if do is not None:
            do()
