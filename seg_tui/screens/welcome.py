"""The first screen in an empty workspace: what there is to do, and the demo by one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import ProgressBar, Static
from textual.worker import get_current_worker

from seg_tui.actions import Abandoned, make_demo, words_of
from seg_tui.live import Snapshot
from seg_tui.on_top import WaitsForTop
from seg_tui.widgets.panes import box

if TYPE_CHECKING:
    from seg_tui.app import SegTui


class DemoAdvanced(Message):
    """So many images of the demo data are drawn."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__()
        self.done, self.total = done, total

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, DemoAdvanced)


class DemoEnded(Message):
    """The demo is queued as run `run_id`, or `problem` says why it is not."""

    def __init__(self, run_id: str, problem: str = "") -> None:
        super().__init__()
        self.run_id, self.problem = run_id, problem


class Welcome(ModalScreen[str], WaitsForTop):
    """Offers the demo, a new run, or the empty dashboard. Answers with the id of the demo's run, else ""."""

    DEFAULT_CSS = """
    Welcome {
        align: center middle;
        & > VerticalScroll {
            width: 74; max-width: 98%; height: auto; max-height: 98%;
        }
        & ProgressBar { display: none; margin: 1 0 0 0; }
        & Bar { width: 40; }
        & #demo-says { height: auto; color: $text-muted; }
        & #demo-says.wrong { color: $text-error; text-style: bold; }
        &.busy ProgressBar { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "tour", "tour"),
        Binding("d", "demo", "demo"),
        Binding("n", "new", "new run"),
        Binding("escape", "leave", "dashboard"),
        Binding("question_mark", "app.help", "help"),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, at_once: bool = False) -> None:
        """With `at_once` the tour needs no key."""
        super().__init__()
        self._at_once, self._tours = at_once, False

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    def compose(self) -> ComposeResult:
        with box(VerticalScroll(), "No runs in this workspace yet", ""):
            yield Static(self._text(), markup=False)
            yield ProgressBar(show_eta=True)
            yield Static("", id="demo-says", markup=False)

    def _text(self) -> Text:
        text = Text(f"{self.tui.workspace.root}\n\n", style="dim")
        for key, what, more in (
            ("t", "take the tour", "two minutes, on demo data: what to press, step by step"),
            ("d", "try it with demo data", "draws 120 street scenes into demo-data/ and trains on them"),
            ("n", "start your own run", "recipe, data folder, settings: a form"),
            ("esc", "go to the dashboard", "runs started elsewhere appear there automatically"),
            ("q", "leave", ""),
        ):
            text.append(f"{key:>4}  ", "bold not dim")
            text.append(f"{what}\n", "not dim")
            if more:
                text.append(f"      {more}\n", "dim")
        text.rstrip()
        return text

    def on_mount(self) -> None:
        self.watch(self.app, "snapshot", self._look, init=False)
        if self._at_once:
            self.action_tour()

    def _look(self, snapshot: Snapshot) -> None:
        """Somebody else has started a run: there is something to see now."""
        if snapshot.runs and not self.has_class("busy"):
            self.once_on_top(lambda: self.dismiss(""))

    def action_new(self) -> None:
        self.dismiss("")
        self.tui.go_to.launch()

    def action_leave(self) -> None:
        self.workers.cancel_group(self, "demo")
        self.dismiss("")

    def action_tour(self) -> None:
        """The demo, with what to press."""
        self._tours = True
        self.action_demo()

    def action_demo(self) -> None:
        if not self.has_class("busy"):
            self.add_class("busy")
            self._say("drawing street scenes; escape cancels")
            self._make()

    @work(thread=True, group="demo")
    def _make(self) -> None:
        worker = get_current_worker()
        try:
            run_id = make_demo(
                self.tui.workspace,
                self.tui.store.get(make=True),
                lambda done, total: self._advanced(done, total),
                lambda: worker.is_cancelled,
            )
        except Abandoned:
            return
        except Exception as error:
            self.post_message(DemoEnded("", words_of(error)))
        else:
            self.post_message(DemoEnded(run_id))

    def _advanced(self, done: int, total: int) -> None:
        self.post_message(DemoAdvanced(done, total))

    @on(DemoAdvanced)
    def _show_progress(self, message: DemoAdvanced) -> None:
        self.query_one(ProgressBar).update(total=message.total, progress=message.done)

    @on(DemoEnded)
    def _end(self, message: DemoEnded) -> None:
        if message.problem:
            self.remove_class("busy")
            self._say(message.problem, wrong=True)
            return
        self.tui.live.nudge()
        self.once_on_top(lambda: self._leave_for(message.run_id))

    def _leave_for(self, run_id: str) -> None:
        self.dismiss(run_id)
        if self._tours:
            self.tui.tour.start()

    def _say(self, text: str, wrong: bool = False) -> None:
        says = self.query_one("#demo-says", Static)
        says.set_class(wrong, "wrong")
        says.update(text)
        self.call_after_refresh(says.scroll_visible, animate=False)  # on a low screen it is out of sight
