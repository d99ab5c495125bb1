"""A line of a form: what it is, where it is typed, what it was; below it what is wrong with it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.message import Message
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input

from seg_tui.widgets.choice import Choice
from seg_tui.widgets.column_widths import shorten

LABEL_WIDTH = 24
EDITOR_WIDTH = 38


class FieldRow(Widget):
    """One field. The label, the remark behind it and the lines below it are its own; only the editor is a
    widget, so that a form of sixty fields is there at once."""

    DEFAULT_CSS = """
    FieldRow {
        height: 1;
        layout: horizontal;
        color: $text-muted;
        & > Input, & > Choice { margin-left: 24; width: 38; height: 1; }
        &.wide > Input { width: 1fr; max-width: 100; }
        & > Input { background: transparent; color: $foreground; }
        & > Input:focus { background: $panel; }
        &.hidden { display: none; }
    }
    """

    class Typed(Message):
        """The text of a field is another now."""

        def __init__(self, row: FieldRow, text: str) -> None:
            super().__init__()
            self.row, self.text = row, text

    def __init__(
        self,
        key: str,
        label: str,
        help: str,
        text: str,
        choices: Sequence[str] = (),
        placeholder: str = "",
        suggester: Suggester | None = None,
        wide: bool = False,
    ) -> None:
        """`help` is the line that is shown while the field has the focus. A `wide` one is for
        text that people edit and not only replace: it takes the room of the remark, and keeps its text when
        typing begins."""
        super().__init__()
        self.key, self.label, self.help = key, label, help
        self.editor: Input | Choice
        if choices:
            self.editor = Choice(choices, text)
        else:
            self.editor = Input(
                text, placeholder=placeholder, compact=True, suggester=suggester, select_on_focus=not wide
            )
        self.set_class(wide, "wide")
        self._changed, self._wrong = False, False
        self._remarks: tuple[str, ...] = ()
        self._below = ""

    def compose(self) -> ComposeResult:
        yield self.editor

    @property
    def text(self) -> str:
        return self.editor.value

    @property
    def is_wrong(self) -> bool:
        return self._wrong

    @property
    def is_told(self) -> bool:
        """Whether there is something to be said about it: it differs, or it is wrong."""
        return self._changed or self._wrong

    def put(self, text: str) -> None:
        """Show another text without anybody having typed it."""
        if self.editor.value != text:
            with self.prevent(Input.Changed, Choice.Changed):
                self.editor.value = text

    def say(self, changed: bool, remarks: Sequence[str], below: str, wrong: bool) -> None:
        """Whether it differs; what stands behind it, as many of `remarks` as fit; what stands below it and
        whether that is a fault."""
        said = (changed, tuple(remark for remark in remarks if remark), below, wrong)
        if said != (self._changed, self._remarks, self._below, self._wrong):
            self._changed, self._remarks, self._below, self._wrong = said
            self._fit()
            self.refresh()

    def _remark(self) -> str:
        room = self.size.width - LABEL_WIDTH - EDITOR_WIDTH - 3
        for count in range(len(self._remarks), 1, -1):
            whole = " · ".join(self._remarks[:count])
            if len(whole) <= room:
                return whole
        return shorten(self._remarks[0], room) if self._remarks else ""

    def _lines_below(self) -> list[str]:
        return textwrap.wrap(self._below, max(20, self.size.width - LABEL_WIDTH)) if self._below else []

    def _fit(self) -> None:
        self.styles.height = 1 + len(self._lines_below())

    def on_resize(self, event: events.Resize) -> None:
        self._fit()

    def render(self) -> Text:
        label = self._style("changed" if self._changed else "label")
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("●" if self._changed else " ", label)
        text.append("▸" if self.has_focus_within else " ", label)
        text.append(shorten(self.label, LABEL_WIDTH - 4).ljust(LABEL_WIDTH - 4), label)
        # Where rows lie close together, a line before the fields: backgrounds would fuse into one block.
        text.append(" " if self.screen.has_class("airy") else "│", self._style("rule"))
        text.append(" " * (EDITOR_WIDTH + 3))
        text.append(self._remark())
        wrong = self._style("wrong") if self._wrong else ""
        for line in self._lines_below():
            text.append("\n" + " " * LABEL_WIDTH)
            text.append(line, wrong)
        return text

    def _style(self, part: str) -> Style:
        """How a part looks: the form has the styles, once for all rows."""
        form = self.parent
        assert isinstance(form, Widget)
        return form.get_component_rich_style(f"config-form--{part}")

    def on_descendant_focus(self) -> None:
        self.refresh()

    def on_descendant_blur(self) -> None:
        self.refresh()

    def on_click(self) -> None:
        self.editor.focus()

    @on(Input.Changed)
    @on(Choice.Changed)
    def _tell(self, event: Input.Changed | Choice.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(self, event.value))
