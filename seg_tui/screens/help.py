"""Help: every key of the screen one came from, and the words one meets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

FILTER_HELP = """\
dice>0.6            best validation Dice above 0.6; also >= < <= = !=
status=failed       a field of a run: status, cause, experiment, recipe, epoch, seed, host, ...
model.name=unet     a config key, as in `seg-engine config`
note~night          contains, upper and lower case alike
tag:night           runs with that tag
word                runs whose name contains it
Terms are separated by blanks, and all must hold; quotes keep blanks together."""

STATUS_HELP = """\
queued  starting  running  stopping    on their way
finished  failed  stopped  lost        ended; a bad end shows its cause, and r resumes it"""


class HelpScreen(ModalScreen[None]):
    """The keys of a screen with what they do."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > VerticalScroll {
            width: 92; max-width: 98%; height: auto; max-height: 96%;
            background: $surface; border: round $primary; padding: 0 2;
        }
        & .title { text-style: bold; margin-top: 1; }
        & .title:first-child { margin-top: 0; }
        & .body { padding-left: 2; }
        & .hint { color: $text-muted; margin-top: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "back")]

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        """`keys` are pairs of the key as it is shown and what it does."""
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static("Keys", classes="title")
            yield Static(_pairs(self._keys), markup=False)
            for title, body in (("Filter", FILTER_HELP), ("Statuses", STATUS_HELP)):
                yield Static(title, classes="title")
                yield Static(body, classes="body", markup=False)
            yield Static(
                "Quitting stops no run: agents and workers are processes of their own.  Escape closes this.",
                classes="hint",
            )


def _pairs(pairs: Sequence[tuple[str, str]]) -> Table:
    """Words and what they mean, in two columns."""
    table = Table.grid(padding=(0, 2), pad_edge=True)
    table.add_column(style="bold", justify="right", no_wrap=True, min_width=12)
    table.add_column()
    for word, meaning in pairs:
        table.add_row(word, meaning)
    return table
