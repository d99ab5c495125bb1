"""The guided tour: a line over each screen says what to do next, and sees whether it was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

if TYPE_CHECKING:
    from seg_tui.app import SegTui

LOOK_SECONDS = 0.2
"""How often it is looked whether a step is done."""


@dataclass(frozen=True)
class Step:
    """`says` what to do; `is_done` judges by what is on the screen and what there is. So does `can_be_done`:
    whoever has gone where a step cannot be done is to do the step before once more."""

    says: str
    is_done: Callable[[SegTui], bool]
    can_be_done: Callable[[SegTui], bool] = lambda app: True


def _shows(name: str) -> Callable[[SegTui], bool]:
    """Whether the screen of a class of that name is shown."""
    return lambda app: type(app.screen).__name__ == name


def _classes_are_open(app: SegTui) -> bool:
    from seg_tui.screens.run import RunScreen

    return isinstance(app.screen, RunScreen) and app.screen.tab == "classes"


def _is_in_a_run(app: SegTui) -> bool:
    return any(type(screen).__name__ == "RunScreen" for screen in app.screen_stack)


def _is_in_the_form(app: SegTui) -> bool:
    """Of a run like another one: `n` opens a screen of that class, too."""
    forms = (screen for screen in app.screen_stack if type(screen).__name__ == "LaunchScreen")
    return any(getattr(form, "like", None) is not None for form in forms)


def _has_another_run(app: SegTui) -> bool:
    return len(app.snapshot.runs) > 1


def _two_are_marked(app: SegTui) -> bool:
    from seg_tui.screens.dashboard import Dashboard

    return isinstance(app.screen, Dashboard) and len(app.screen.table.runs.marked) > 1


STEPS = (
    Step("This is a run, as one line. Press enter to open it.", _shows("RunScreen")),
    Step(
        "Its curves grow with each epoch. Press v for the next tab: the classes.",
        _classes_are_open,
        _is_in_a_run,
    ),
    Step("Press p: what does the network see by now?", _shows("PreviewScreen")),
    Step("[ and ] move through epochs, escape goes back. Go back to all runs.", _shows("Dashboard")),
    Step(
        "Press R: a new run like this one, in a form.",
        lambda app: _is_in_the_form(app) or _has_another_run(app),
    ),
    Step(
        "Go down to seed, make it 1, and press ctrl+t: it is queued.",
        _has_another_run,
        _is_in_the_form,
    ),
    Step("Mark both runs with space.", _two_are_marked),
    Step("Press c to compare them.", _shows("CompareScreen")),
    Step("Go back with escape, and press x: all else that can be done to runs.", _shows("Menu")),
    Step("The last one: escape, then ? shows every key of a screen.", _shows("HelpScreen")),
)

END = "That was the tour. Press q to quit: the runs go on, and `seg-tui` shows them again."


class TourLine(Static):
    """What to do next, at the upper edge of the screen."""

    DEFAULT_CSS = """
    TourLine {
        dock: top; height: auto; padding: 0 1;
        background: $accent; color: auto; text-style: bold;
        &:ansi { color: $background; text-style: reverse; }
    }
    """

    def __init__(self, text: Text) -> None:
        super().__init__(text, markup=False)


class Tour:
    """Goes through the steps over whatever screen is shown, until the last is done or somebody leaves."""

    def __init__(self, app: SegTui) -> None:
        self._app = app
        self._timer: Timer | None = None
        self.step: int | None = None
        """The position of the step that is to be done; None before and after the tour."""

    def start(self) -> None:
        self.step = 0
        if self._timer is None:
            self._timer = self._app.set_interval(LOOK_SECONDS, self._look)
        self._look()

    def skip(self) -> None:
        """Go on as if the step were done, to the next one that can be."""
        if self.step is None:
            return
        self.step += 1
        while self.step < len(STEPS) and not STEPS[self.step].can_be_done(self._app):
            self.step += 1
        self._look()

    def leave(self) -> None:
        self.step = None
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        for screen in self._app.screen_stack:
            screen.query(TourLine).remove()

    def _look(self) -> None:
        if self.step is None:
            return
        while self.step < len(STEPS) and STEPS[self.step].is_done(self._app):
            self.step += 1
        if 0 < self.step < len(STEPS) and not STEPS[self.step].can_be_done(self._app):
            self.step -= 1
        self._show(self._app.screen)

    def _show(self, screen: Screen[object]) -> None:
        text = self._text()
        lines = screen.query(TourLine)
        if not lines:
            screen.mount(TourLine(text))
        elif str(lines.first().content) != text.plain:
            lines.first().update(text)

    def _text(self) -> Text:
        assert self.step is not None
        if self.step >= len(STEPS):
            return Text(f"tour  {END}  f9 closes this line")
        return Text(
            f"tour {self.step + 1}/{len(STEPS)}  {STEPS[self.step].says}  (f8 skips, f9 leaves the tour)"
        )
