"""seg-tui: the dashboard. Starts runs, follows them, compares them, shows what they predict.

It writes intentions into the database and reads snapshots of it, as `seg-engine` does; agents and workers
do the work in processes of their own. Leaving it, or losing it, stops no run.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from rich.terminal_theme import TerminalTheme
from textual import on, work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.reactive import var
from textual.screen import Screen

from engine.cli.console import Stream
from engine.errors import EngineError
from engine.report.waiting import UNDER_WAY
from engine.store import StoreError
from engine.visible import one_line
from engine.workspace import Workspace
from seg_tui.keys_in_turn import KeysInTurn
from seg_tui.live import Live, LiveFailed, Snapshot, SnapshotTaken, StoreRecovered, StoreTroubled
from seg_tui.messages import ActionEnded, DraftKey, WordsRead
from seg_tui.navigation import Navigation
from seg_tui.palette import with_legible_text
from seg_tui.safe_lines import SafeLines
from seg_tui.settings import Settings, load_settings, rings
from seg_tui.stores import SharedStore
from seg_tui.terminal_colors import TerminalColors
from seg_tui.tour import Tour

if TYPE_CHECKING:
    from engine.store import RunSummary, Store
    from seg_tui.changes import Done, Undo
    from seg_tui.first_look import FirstLook
    from seg_tui.graphics import Graphics

NOTICE_SECONDS = 6.0

READ_ONLY = "this dashboard was started with --read-only: it changes nothing"
NOTHING_TO_UNDO = "there is nothing to undo: tags, notes, names, moves, archiving and protection can be"


class SegTui(KeysInTurn):
    """The app: owns the snapshot of all runs, and does what people request of them."""

    TITLE = "seg-tui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q,ctrl+c", "quit", "quit", show=False, priority=True, tooltip="Quit; runs continue"),
        Binding("ctrl+p", "command_palette", "palette", show=False, tooltip="Find an action by name"),
        Binding("f1", "help", "help", show=False, tooltip="All keys, also where ? is a letter"),
        Binding("f8", "skip_step", "skip", show=False, priority=True, tooltip="Skip a step of the tour"),
        Binding("f9", "leave_tour", "leave tour", show=False, priority=True, tooltip="Leave the tour"),
    ]

    # Not `reactive`, which repaints the whole screen when it is set: who watches repaints what has changed.
    snapshot: var[Snapshot] = var(Snapshot, init=False)
    """All runs as they are now. Screens `watch(self.app, "snapshot", ...)`."""
    trouble: var[str] = var("", init=False)
    """A line on why the database cannot be read, empty when it can."""
    settings: var[Settings] = var(Settings, init=False)
    """What the person likes; `change_settings` changes and keeps it."""

    def __init__(
        self,
        workspace: Workspace,
        now: Callable[[], float] = time.time,
        look_after: bool = True,
        demo: bool = False,
        first_look: FirstLook | None = None,
    ) -> None:
        """`now` tells UTC seconds; with `look_after` what runs have written is folded in that nobody looks
        after. Of a workspace that is `unchanged` it offers nothing that writes. With
        `demo` it makes the demo where there are no runs, and gives the tour. A `first_look` at the workspace
        may have begun earlier."""
        # Under NO_COLOR Textual would make greys of its themes, of which some cannot be read; of the
        # terminal's own colours nothing but bold, dim and reverse is left.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self._variables = self.get_css_variables()
        """Those with which the styles were parsed."""
        self._safe_lines = SafeLines()
        self.error_console = Stream(stderr=True)
        self.workspace = workspace
        self.store = SharedStore(workspace)
        self.now = now
        self.graphics: Graphics | None = None
        """Shows pictures in pixels; None: in cells. Settled before the app runs."""
        settings, self._settings_problem = load_settings(workspace)
        self.set_reactive(SegTui.settings, settings)
        self.read_only, self._demo = bool(workspace.read_only), demo
        self.live = Live(
            workspace, self.post_message, settings.refresh, look_after and not self.read_only, first_look
        )
        self._welcomed = False
        self._rings = True
        self.fault: BaseException | None = None
        """What ended the app, when it did not end by itself."""
        self.go_to = Navigation(self)
        self.tour = Tour(self)
        self._colors = TerminalColors(self)
        self._undos: list[Undo] = []
        self._undoing, self._keeping = threading.Lock(), threading.Lock()
        self.drafts: dict[DraftKey, str] = {}
        """What was typed and is not kept yet: it outlives a database that is locked, and is told at the end.
        """
        self.untold: list[ActionEnded] = []
        """What became of actions and was not told yet: of one that outlives the app, `main` tells it."""
        self._at_work: list[object] = []
        """An entry for each action that has not ended."""
        self.tags_asked: dict[str, Sequence[str]] = {}
        """The tags that stood in the last question for those of a run, by its id."""

    def get_css_variables(self) -> dict[str, str]:
        return with_legible_text(super().get_css_variables())

    def refresh_css(self, animate: bool = True) -> None:
        """Textual parses all styles anew when it starts, too, when their variables are what they were."""
        variables = self.get_css_variables()
        if variables != self._variables:
            self._variables = variables
            super().refresh_css(animate)

    @property
    def ansi_theme(self) -> TerminalTheme:
        return self._colors.named or super().ansi_theme

    def open_graphics(self) -> None:
        """Ask the terminal for what the setting `images` wants; only before the app runs can it answer."""
        from seg_tui.graphics import open_graphics

        self.graphics, problem = open_graphics(self.settings.images)
        self._settings_problem = self._settings_problem or problem

    async def run_async(self, **options: Any) -> Any:
        """Textual's, which ends before what is at work in threads does, and its caller after that."""
        try:
            return await super().run_async(**options)
        finally:
            if self._at_work:
                print("what was asked for last is being finished…", file=sys.stderr, flush=True)

    def on_load(self) -> None:
        self.live.start()  # so that the runs are there when the dashboard is drawn first

    def on_mount(self) -> None:
        self.sub_title = str(self.workspace.root)
        try:
            self._rings = rings(self.workspace)
        except EngineError as error:
            self._notify(str(error), "warning")
        problem = self._colors.take_theme(self.settings.theme)
        self._colors.take_nearest()
        self.go_to.dashboard()
        if self._settings_problem or problem:
            self._notify(self._settings_problem or problem, "warning")
        if hint := self._colors.hint(self.settings.theme):
            self._notify(hint, "information")

    def on_unmount(self) -> None:
        self.live.stop()
        self.store.close()

    # ------------------------------------------------------------------ what comes from outside

    def _fatal_error(self) -> None:
        """Keep the fault for `main`, which tells it once the terminal is as it was.

        Textual would show the local variables of every frame, which may hold the database's URL.
        """
        self.fault = self.fault or sys.exception()
        self.bell()
        self._close_messages_no_wait()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, and the one that lets no control sequence of somebody else's through."""
        return [*super().get_line_filters(), self._safe_lines]

    def notify(self, message: str, *, markup: bool = False, **options: Any) -> None:
        """Say in passing what `message` says, word for word: names may look like markup."""
        super().notify(message, markup=False, **options)

    # ------------------------------------------------------------------ what the database says

    @on(SnapshotTaken)
    def keep_snapshot(self, message: SnapshotTaken) -> None:
        before, self.snapshot = self.snapshot, message.snapshot
        self._tell_ends(before)
        if not self._welcomed:
            self._welcomed = True
            if message.snapshot.read_only and not self.read_only:
                self._notify(f"read-only: {message.snapshot.read_only}", "warning")
            elif not message.snapshot.runs and not self.read_only:
                self.go_to.welcome(self._demo)
            elif self._demo:
                self.tour.start()

    def _tell_ends(self, before: Snapshot) -> None:
        """Say what has ended since, with the terminal's bell and its notification."""
        if not before.at:
            return
        ended = [
            run
            for run_id in self.snapshot.changed_since(before)
            if run_id in before.runs and _has_ended(before.runs[run_id], run := self.snapshot.runs[run_id])
        ]
        if not ended:
            return
        from engine.agent.message import sentence
        from engine.host.terminal_notice import terminal_notice

        self.tell("\n".join(one_line(sentence(run)) for run in ended))
        if self._rings:
            more = f" and {len(ended) - 1} more" if len(ended) > 1 else ""
            self.ring(terminal_notice(sentence(ended[0]) + more, os.environ))

    def ring(self, sequences: str) -> None:
        """Send control sequences that draw nothing to the terminal."""
        if self._driver is not None:
            self._driver.write(sequences)

    @on(StoreTroubled)
    def tell_trouble(self, message: StoreTroubled) -> None:
        self.trouble = message.problem

    @on(StoreRecovered)
    def forget_trouble(self) -> None:
        self.trouble = ""

    @on(LiveFailed)
    def end_by_fault(self, message: LiveFailed) -> None:
        """Nothing on the screen would be true any more."""
        raise message.fault

    # ------------------------------------------------------------------ what people want done

    @work(thread=True, group="actions")
    def act(self, action: Callable[..., str | Done], *arguments: Any, draft: DraftKey | None = None) -> None:
        """Do one of `seg_tui.actions`, `changes` or `commands` in a thread, and tell what became of it in the
        engine's own words. A `draft` that it keeps is forgotten; one that it could not keep is given back to
        be edited, for the runs that are left."""
        from seg_tui.actions import words_of
        from seg_tui.changes import Done
        from seg_tui.commands import PartlyDone

        if self.read_only:
            self.post_message(ActionEnded(READ_ONLY, refused=True))
            return
        typed = None if draft is None else self.drafts.get(draft)
        self._at_work.append(action)
        try:
            ended = action(self.workspace, self.store.get(), *arguments)
        except Exception as error:
            if isinstance(error, PartlyDone):
                if error.undo is not None:
                    self._undos.append(error.undo)
                if draft is not None:
                    text = self.drafts.pop(draft, "")
                    draft = (draft[0], error.left)
                    self.drafts[draft] = text
            message = ActionEnded(words_of(error), refused=True, draft=draft)
        else:
            if draft is not None and self.drafts.get(draft) == typed:  # else there are newer words by now
                self.drafts.pop(draft, None)
            done = ended if isinstance(ended, Done) else Done(ended)
            if done.undo is not None:
                self._undos.append(done.undo)
            message = ActionEnded(done.line + ("; z undoes it" if done.undo else ""), refused=False)
        finally:
            self._at_work.remove(action)
        self.untold.append(message)
        self.post_message(message)
        self.live.nudge()

    @work(thread=True, group="actions")
    def undo(self) -> None:
        """Take back the last change that can be; one that could not be taken back now can be again."""
        from seg_tui.actions import words_of

        with self._undoing:  # one after the other, the newest first: an older one is looked for below it
            if not self._undos:
                self.post_message(ActionEnded(NOTHING_TO_UNDO, refused=False))
                return
            undo = self._undos.pop()
            place = len(self._undos)
            try:
                line = undo(self.workspace, self.store.get())
            except Exception as error:
                self._undos.insert(place, undo)  # what was changed since is undone first
                self.post_message(ActionEnded(f"not undone: {words_of(error)}", refused=True))
            else:
                self.post_message(ActionEnded(line, refused=False))
        self.live.nudge()

    @on(ActionEnded)
    def _tell_end(self, message: ActionEnded) -> None:
        from seg_tui.acting import Acting

        if message in self.untold:
            self.untold.remove(message)
        if message.draft is None:
            self.tell(message.line, message.refused)
        elif isinstance(self.screen, Acting):
            self.screen.give_back(message.draft, message.line)
        else:  # something else is typed or read just now
            what, _ = message.draft
            self.tell(
                f"{message.line}\nwhat you typed is kept: open the {what} again to save it", refused=True
            )

    def tell(self, text: str, refused: bool = False) -> None:
        """Say in passing what became of something, or why it was refused; of many lines the first five."""
        lines = text.splitlines() or [""]
        shown = lines[:5] + ([f"… and {len(lines) - 5} more"] if len(lines) > 5 else [])
        self._notify("\n".join(shown), "error" if refused else "information")

    def read_words(self, read: Callable[[Store], str], then: Callable[[str], None]) -> None:
        """`read` words that a question needs in a thread, then hand them to `then`, which asks it, with what
        is typed meanwhile."""
        self._read_words(read, then, self.hold_keys())

    @work(thread=True, group="actions")
    def _read_words(self, read: Callable[[Store], str], then: Callable[[str], None], asked: object) -> None:
        try:
            words = read(self.store.get())
        except (StoreError, OSError) as error:
            self.call_from_thread(self.release_keys, came=False)
            self.post_message(ActionEnded(str(error), refused=True))
        else:
            self.post_message(WordsRead(words, then, asked))

    @on(WordsRead)
    def _hand_over_words(self, message: WordsRead) -> None:
        if not self.holds_keys_for(message.asked):
            return  # somebody has pressed escape meanwhile
        before = self.screen
        message.then(message.words)
        self.release_keys(came=self.screen is not before)

    def _notify(self, text: str, severity: Any) -> None:
        # A refusal stays longer: it has to be read, and nothing else says it.
        timeout = NOTICE_SECONDS * (2 if severity == "error" else 1)
        self.notify(text, severity=severity, timeout=timeout, markup=False)

    # ------------------------------------------------------------------ settings

    def change_settings(self, **changes: Any) -> None:
        """Take other settings at once and keep them in the workspace."""
        self.settings = replace(self.settings, **changes)
        self.live.interval = self.settings.refresh
        if "theme" in changes:
            self._colors.take_theme(self.settings.theme)
        if "images" in changes:
            self._notify("images: restart seg-tui to apply this to the preview", "information")
        if not self.read_only:
            self._keep_settings(tuple(changes))

    @work(thread=True, group="settings")
    def _keep_settings(self, changed: Sequence[str]) -> None:
        from seg_tui.settings import SettingsError, save_settings

        try:
            with self._keeping:  # whoever is last writes the newest
                save_settings(self.workspace, self.settings, changed)
        except (OSError, SettingsError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or error
            told = f"the setting applies until you quit; it cannot be saved: {reason}"
            self.post_message(ActionEnded(told, refused=True))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every key of the screen that does something, by its name; then what Textual itself offers."""
        from seg_tui.keys import keys_of, sentence

        for key in keys_of(self, screen):
            if key.action != "command_palette" and not key.moves:
                yield SystemCommand(
                    sentence(key.name), f"{key.shown}  {sentence(key.meaning)}", self._presser(key.key)
                )
        # Textual's own choice of a theme would not be kept, that of the settings is; and there is one help.
        others = ("Theme", "Keys")
        yield from (more for more in super().get_system_commands(screen) if more.title not in others)

    def _presser(self, key: str) -> Callable[[], None]:
        return lambda: self.simulate_key(key)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of the tour are none before and after it."""
        return action not in ("skip_step", "leave_tour") or self.tour.step is not None

    def action_skip_step(self) -> None:
        self.tour.skip()

    def action_leave_tour(self) -> None:
        self.tour.leave()

    def action_help(self) -> None:
        """The keys of the screen that is shown."""
        self.go_to.help()


def _has_ended(before: RunSummary, run: RunSummary) -> bool:
    """Whether a run was at work since `before` and is no more: it may have begun after that."""
    if not run.ended or run.cause == "preempted":
        return False
    left_queue = before.status == "queued" and run.status != "stopped"
    return before.status in UNDER_WAY or run.attempt > before.attempt or left_queue
