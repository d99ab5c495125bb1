"""Help: every key of the screen one came from, and the words one meets there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from seg_tui.keys import Section
from seg_tui.widgets.panes import box

Body = str | Sequence[tuple[str, str]]
"""What stands below a title: lines, or words with what they mean."""

FILTER_HELP: Body = (
    ("dice>0.6", "best validation Dice above 0.6; also >= < <= = !="),
    ("status=failed", "a field of a run: status, cause, experiment, recipe, epoch, seed, host, ..."),
    ("model.name=unet", "a config key, as in `seg-engine config`"),
    (
        "dice.person<0.5",
        "what was measured; also iou.CLASS, evaluate.dice, ood.auroc, metric.NAME",
    ),
    ("duration>1h30m", "how long it took; created>2026-03-01"),
    ("name~^unet-(a|b)$", "a regular expression, found anywhere, ignoring case"),
    ("tag:night", "runs with that tag; also tag~ and tag!="),
    ("word", "runs whose name contains it"),
    ("a b, a or b, not a", "both, either, its opposite; group with parentheses: (a or b) not c"),
    ("", "Quote values that contain spaces or parentheses."),
)

STATUS_HELP: Body = (
    ("queued", "waits for its turn and a device"),
    ("starting, running, stopping", "a worker is at it"),
    ("finished", "all that it was to do is done"),
    ("failed, stopped, lost", "ended early; r resumes it. Failures show their cause"),
)

FORM_HELP = """\
Fields are the keys of `seg-engine config`; ● marks those that differ from the initial values.
Errors appear below their fields. The run can be queued once there are none.
"Start now" puts it ahead of all waiting runs, "queue" by its priority; both wait for a free device."""


class HelpScreen(ModalScreen[None]):
    """The keys of a screen with what they do."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > VerticalScroll {
            width: 96; max-width: 98%; height: auto; max-height: 96%;
        }
        & .title { text-style: bold; margin-top: 1; }
        & .title:first-child { margin-top: 0; }
        & .body { padding-left: 2; }
        & .hint { color: $text-muted; margin-top: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1", "dismiss", "back")]

    def __init__(self, sections: Sequence[Section], topics: Sequence[tuple[str, Body]] = ()) -> None:
        """`sections` are of keys; `topics` are titles with what stands below them."""
        super().__init__()
        self._sections, self._topics = sections, topics

    def compose(self) -> ComposeResult:
        with box(VerticalScroll(), "Help", "escape: back"):
            for title, keys in self._sections:
                yield Static(title, classes="title", markup=False)
                yield Static(_pairs(keys), markup=False)
            for title, body in self._topics:
                yield Static(title, classes="title", markup=False)
                if isinstance(body, str):
                    yield Static(body, classes="body", markup=False)
                else:
                    yield Static(_pairs(body), markup=False)
            yield Static(
                "Runs continue after you quit: agents and workers are separate processes.",
                classes="hint",
                markup=False,
            )


def _pairs(pairs: Sequence[tuple[str, str]]) -> Table:
    """Words and what they mean, in two columns."""
    table = Table.grid(padding=(0, 2), pad_edge=True)
    table.add_column(style="bold", justify="right", no_wrap=True, min_width=12)
    table.add_column()
    for word, meaning in pairs:
        table.add_row(word, meaning)
    return table
