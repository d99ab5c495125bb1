"""One of a few words, all of them in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

GAP = 2


class Choice(Widget, can_focus=True):
    """Words in a line, the chosen one marked; where they do not fit, the chosen one alone."""

    DEFAULT_CSS = """
    Choice {
        height: 1;
        color: $text-muted;
        & > .choice--chosen { color: $foreground; background: $panel; text-style: bold; }
        &:focus > .choice--chosen { color: $block-cursor-foreground; background: $block-cursor-background; }
        &:ansi > .choice--chosen { text-style: bold reverse; }
        &:ansi:focus > .choice--chosen {
            color: $background; background: $primary; text-style: bold reverse underline;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"choice--chosen"}

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "other value", show=False, tooltip="Choose the previous value"),
        Binding("right,space", "step(1)", "other value", show=False, tooltip="Choose the next value"),
    ]

    value: reactive[str] = reactive("", init=False)

    class Changed(Message):
        """Another word was chosen."""

        def __init__(self, choice: Choice, value: str) -> None:
            super().__init__()
            self.choice, self.value = choice, value

        @property
        def control(self) -> Choice:
            return self.choice

    def __init__(self, words: Sequence[str], value: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self.words = tuple(words)
        self.set_reactive(Choice.value, value)

    def watch_value(self, value: str) -> None:
        self.post_message(self.Changed(self, value))

    def action_step(self, step: int) -> None:
        here = self.words.index(self.value) if self.value in self.words else 0
        self.value = self.words[(here + step) % len(self.words)]

    def _fits(self) -> bool:
        return sum(len(word) + GAP for word in self.words) <= self.size.width

    def render(self) -> Text:
        chosen = self.get_component_rich_style("choice--chosen")
        text = Text(no_wrap=True, overflow="ellipsis")
        if not self._fits():
            text.append(f" {self.value} ", chosen)
            return text.append(" ◂ ▸")
        for word in self.words:
            text.append(f" {word} ", chosen if word == self.value else "")
        return text

    def on_click(self, event: events.Click) -> None:
        if not self._fits():
            self.action_step(1)
            return
        right = 0
        for word in self.words:
            right += len(word) + GAP
            if event.x < right:
                self.value = word
                return
