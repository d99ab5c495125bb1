"""Small questions over a screen: a line of text, yes or no, one of some. Escape answers none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.input import Selection
from textual.widgets.option_list import Option

from seg_tui.on_top import WaitsForTop
from seg_tui.widgets.panes import box

_BOX = """
    align: center middle;
    & > Vertical, & > VerticalScroll { width: 70; max-width: 95%; height: auto; max-height: 90%; }
    & .hint { color: $text-muted; }
    & .problem { color: $text-error; }
"""


class Ask(ModalScreen[str | None], WaitsForTop):
    """One line of text; None when it was left with escape. `problem` says why an earlier one was not kept."""

    DEFAULT_CSS = f"Ask {{ {_BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "back")]

    def __init__(self, title: str, hint: str, value: str = "", problem: str = "") -> None:
        super().__init__()
        self._title, self._hint, self._value, self._problem = title, hint, value, problem

    def compose(self) -> ComposeResult:
        with box(VerticalScroll(can_focus=False), self._title, "enter: do it · escape: cancel"):
            # A key that was meant for the screen below must not replace all of what comes back.
            yield Input(self._value, compact=True, select_on_focus=not self._problem)
            if self._problem:  # below, as it may have more lines than there is room for
                yield Static(f"not done: {self._problem}", classes="problem", markup=False)
            yield Static(self._hint, classes="hint", markup=False)

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_beginning)

    def _show_beginning(self) -> None:
        """Of a text that is selected and longer than its line: the cursor is in sight, so it goes there."""
        field = self.query_one(Input)
        begin, end = Selection(0, len(field.value))
        if cell_len(field.value) > field.size.width and field.selection == (begin, end):
            field.selection = Selection(end, begin)

    @on(Input.Submitted)
    def answer(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())


class Confirm(ModalScreen[bool], WaitsForTop):
    """Whether to do what cannot be undone; only `y` says yes. Each of `lines` stays one line; `note` stands
    below them, whole."""

    DEFAULT_CSS = f"Confirm {{ {_BOX} & .lines {{ text-wrap: nowrap; text-overflow: ellipsis; }} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,q", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str, lines: Sequence[str], note: str = "") -> None:
        super().__init__()
        self._question, self._lines, self._note = question, lines, note

    def compose(self) -> ComposeResult:
        with box(VerticalScroll(), self._question, "y: yes · n or escape: cancel"):
            yield Static("\n".join(self._lines), classes="lines", markup=False)
            if self._note:
                yield Static(f"\n{self._note}", markup=False)


class Pick(ModalScreen[str | None], WaitsForTop):
    """One of some; None when it was left with escape."""

    DEFAULT_CSS = (
        f"Pick {{ {_BOX} & > Vertical {{ width: 52; }} & OptionList {{ height: auto; max-height: 70vh; }} }}"
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "back")]

    def __init__(self, title: str, options: Sequence[tuple[str, str]], current: str = "") -> None:
        """`options` are pairs of what is returned and what is shown."""
        super().__init__()
        self._title, self._options, self._current = title, options, current

    def compose(self) -> ComposeResult:
        with box(Vertical(), self._title, "enter: choose · escape: cancel"):
            yield OptionList(
                *(Option(text, id=key) for key, text in self._options), markup=False, compact=True
            )

    def on_mount(self) -> None:
        keys = [key for key, _ in self._options]
        if self._current in keys:
            self.query_one(OptionList).highlighted = keys.index(self._current)

    @on(OptionList.OptionSelected)
    def answer(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)


class Menu(ModalScreen[str | None], WaitsForTop):
    """What can be done, each by its letter; None when it was left with escape."""

    DEFAULT_CSS = (
        f"Menu {{ {_BOX} & > Vertical {{ width: 66; }} & OptionList {{ height: auto; max-height: 70vh; }} }}"
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "back")]

    def __init__(self, title: str, choices: Sequence[tuple[str, str, str]]) -> None:
        """`choices` are triples of a letter, what is returned, and what is shown."""
        super().__init__()
        self._title, self._choices = title, choices

    def compose(self) -> ComposeResult:
        options = (Option(f"{letter or ' '}  {text}", id=name) for letter, name, text in self._choices)
        with box(Vertical(), self._title, "its letter, or enter: choose · escape: cancel"):
            yield OptionList(*options, markup=False, compact=True)

    def on_key(self, event: events.Key) -> None:
        for letter, name, _ in self._choices:
            if event.character == letter:
                event.stop()
                self.dismiss(name)

    @on(OptionList.OptionSelected)
    def answer(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)
