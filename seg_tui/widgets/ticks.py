"""Some of several, each with a tick before it that needs no colour to be seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option


class Ticks(OptionList):
    """Enter, space or a click gives the line under the cursor a tick or takes it away."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "select", "tick", show=False, tooltip="Select or deselect")
    ]

    class Changed(Message):
        """Other lines have a tick now; `chosen` are their keys, from the top."""

        def __init__(self, ticks: Ticks, chosen: tuple[str, ...]) -> None:
            super().__init__()
            self.ticks, self.chosen = ticks, chosen

        @property
        def control(self) -> Ticks:
            return self.ticks

    def __init__(self, lines: Sequence[tuple[str, str]], chosen: Iterable[str], id: str) -> None:
        """`lines` are pairs of a key and what is shown."""
        self._titles = dict(lines)
        self._chosen = set(chosen)
        options = [Option(self._prompt(key), id=key) for key in self._titles]
        super().__init__(*options, id=id, compact=True, markup=False)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all lines, from the top."""
        return tuple(self._titles)

    def _prompt(self, key: str) -> str:
        return f"{'✓' if key in self._chosen else ' '} {self._titles[key]}"

    @on(OptionList.OptionSelected)
    def _toggle(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        key = str(event.option.id)
        self._chosen ^= {key}
        self.replace_option_prompt(key, self._prompt(key))
        self.post_message(self.Changed(self, tuple(key for key in self._titles if key in self._chosen)))
