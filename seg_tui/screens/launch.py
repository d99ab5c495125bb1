"""A new run: choose a recipe, change what is to be different, queue it.

The form is made of `config_keys()`; what may be typed, and what is wrong with it, is the engine's word.
All that is wrong stands at its field, and nothing is queued before it is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Button, ContentSwitcher, Input, Static

from engine.config.run_config import RunConfig
from engine.workspace import find_workspace
from seg_tui.launch.draft import Card, Draft, command_line
from seg_tui.launch.messages import DataSeen, OriginRead, RunEstimated, RunQueued, RunRefused
from seg_tui.launch.queueing import Look, Origin, estimate, looker, queue_run, read_origin
from seg_tui.screens.dialogs import Confirm
from seg_tui.screens.folder_picker import FolderPicker
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.clipped import Clipped
from seg_tui.widgets.config_form import ConfigForm
from seg_tui.widgets.field_row import FieldRow
from seg_tui.widgets.recipe_chooser import RecipeChooser

if TYPE_CHECKING:
    from seg_tui.app import SegTui

PAUSE_SECONDS = 0.3
"""How long nobody types before a folder is looked at and earlier runs are asked."""

SMALL_LINES = 30
"""Below this height no line is left empty but between sections."""

MOST_NOTICES = 5
"""More problems that belong to no field are counted: notices would cover the form."""

IN_FORM = {"queue", "folder", "search", "changed", "copy", "restore", "focus_beside"}
"""Actions of the form; there are none before a recipe is chosen."""


class LaunchScreen(Screen[str | None]):
    """Returns the id of the run that was queued, None when it was left."""

    DEFAULT_CSS = """
    LaunchScreen {
        ContentSwitcher { height: 1fr; }
        #tools { height: 1; margin: 1 1 0 1; }
        #search { width: 30; background: $surface; }
        #count { width: 1fr; color: $text-muted; text-align: right; }
        #count { text-wrap: nowrap; text-overflow: ellipsis; }
        #foot { height: auto; padding: 0 1; background: $surface; }
        #help { min-height: 2; }
        &.small #tools { margin-top: 0; }
        #estimate, #command { color: $text-muted; }
        #buttons { height: 1; }
        #buttons Button { margin-right: 2; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", tooltip="Leave the form; asks if you changed something"),
        Binding(
            "ctrl+s", "queue(True)", "start now", priority=True, tooltip="Queue it ahead of all waiting runs"
        ),
        Binding("ctrl+t", "queue(False)", "queue", priority=True, tooltip="Queue it at its priority"),
        Binding("ctrl+o", "folder", "data folder", priority=True, tooltip="Browse for the folder"),
        Binding("ctrl+f", "search", "search", priority=True, tooltip="Search the keys"),
        Binding("ctrl+g", "changed", "only changed", priority=True, tooltip="Show only changed keys"),
        Binding("ctrl+y", "copy", "copy command", priority=True, tooltip="Copy the seg-engine command"),
        Binding("ctrl+r", "restore", "restore", priority=True, tooltip="Reset the field"),
        Binding("down", "focus_beside(1)", "next field", show=False, tooltip="The field below"),
        Binding("up", "focus_beside(-1)", "previous field", show=False, tooltip="The field above"),
        Binding("f1", "app.help", "help", tooltip="All keys"),
    ]

    def __init__(self, like: str | None = None) -> None:
        super().__init__()
        self.like = like
        self.origin = Origin()
        self.only_changed = False
        self._wait: Timer | None = None
        self._asked: RunConfig | None = None

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    @property
    def form(self) -> ConfigForm:
        return self.query_one(ConfigForm)

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        with ContentSwitcher(initial="recipes"):
            yield RecipeChooser(id="recipes")
            with Vertical(id="form"):
                with Horizontal(id="tools"):
                    yield Input(placeholder="search the keys", compact=True, id="search")
                    yield Static(id="count", markup=False)
                yield ConfigForm()
                with Vertical(id="foot"):
                    yield Clipped(3, id="help")
                    yield Clipped(2, id="estimate")
                    yield Clipped(3, "… ctrl+y copies all of it", id="command")
                    with Horizontal(id="buttons"):
                        yield Button("Start now", variant="primary", id="start", compact=True)
                        yield Button("Queue", id="queue", compact=True)
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(TitleBar).say("new run: which recipe?" if self.like is None else "new run", "")
        if self.like is None:
            self.query_one(RecipeChooser).take_focus()
        self.read_origin()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.height < SMALL_LINES, "small")

    # ------------------------------------------------------------------ what it begins with

    @work(thread=True, group="origin", exit_on_error=False)
    def read_origin(self) -> None:
        """The config of the run to be like; without one, the data folder of the newest run."""
        from seg_tui.actions import words_of

        newest = max(self.tui.snapshot.runs.values(), key=lambda run: run.created_at, default=None)
        try:
            origin = read_origin(self.tui.workspace, self.tui.store, self.like, newest)
        except Exception as error:
            self.post_message(OriginRead(Origin(), words_of(error)))
        else:
            self.post_message(OriginRead(origin))

    @on(OriginRead)
    async def begin(self, message: OriginRead) -> None:
        self.origin = message.origin
        if self.like is None:
            return
        if message.origin.config is None:
            self.notify(message.problem, severity="error", timeout=10, markup=False)
            self.dismiss(None)
            return
        card = message.origin.card
        await self._fill(Draft(message.origin.config, self.like), card)
        self.query_one(TitleBar).say(f"new run from {card.name} ({self.like})", "")

    @on(RecipeChooser.Chosen)
    async def choose_recipe(self, message: RecipeChooser.Chosen) -> None:
        await self._fill(Draft.of_recipe(message.recipe), Card())

    async def _fill(self, draft: Draft, card: Card) -> None:
        self.query_one(TitleBar).say(f"new run from {draft.title}", "")
        await self.form.fill(draft, card, self.origin.data)
        self.query_one(ContentSwitcher).current = "form"
        self.call_after_refresh(self.form.rows()["data"].editor.focus)
        self._ask_soon(0.0)

    # ------------------------------------------------------------------ what is said around the fields

    @on(ConfigForm.Judged)
    def tell(self, message: ConfigForm.Judged) -> None:
        self._tell()
        if message.typed:
            self._ask_soon(PAUSE_SECONDS)

    def _tell(self) -> None:
        """The command, the numbers, and what is wrong with no field in particular."""
        form = self.form
        count = len(form.draft.changes())
        wrong = len([row for row in form.rows().values() if row.is_wrong])
        parts = [f"{count} {'key differs' if count == 1 else 'keys differ'} from {form.draft.title}"]
        parts += [f"{wrong} to fix"] if wrong else []
        parts += ["showing only changed"] if self.only_changed else []
        self.query_one("#count", Static).update(" · ".join(parts))
        text = Text()
        general = form.checked.problems.get("")
        if general:
            text.append(general, self.app.theme_variables.get("text-error", "red"))
        elif form.checked.config is None:
            text.append("the command appears once all fields are valid")
        else:
            text.append("$ ", "dim").append(self._command())
        self.query_one("#command", Clipped).say(text)

    def _command(self) -> str:
        """The equal `seg-engine` line; "" while something is wrong."""
        form, root = self.form, self.tui.workspace.root
        if form.checked.config is None:
            return ""
        elsewhere = "" if find_workspace().root == root else str(root)
        return command_line(form.draft, form.checked.config, form.card, form.first_card, elsewhere)

    @on(events.DescendantFocus)
    def tell_help(self, event: events.DescendantFocus) -> None:
        row = event.widget.parent
        if isinstance(row, FieldRow):
            self.query_one("#help", Clipped).say(Text(f"{row.key}  ", "bold").append(row.help, "not bold"))

    # ------------------------------------------------------------------ looking things up

    def _ask_soon(self, seconds: float) -> None:
        """Look at the data and at earlier runs when nobody has typed for a moment."""
        if self._wait is not None:
            self._wait.stop()
        self._wait = self.set_timer(max(seconds, 0.001), self._ask)

    def _ask(self) -> None:
        config = self.form.checked.config
        self.look_at(looker(self.form.draft), self.form.draft.data)
        if config is not None and config != self._asked:
            self._asked = config
            self.estimate(config)

    @work(thread=True, exclusive=True, group="data", exit_on_error=False)
    def look_at(self, look: Look, folder: str) -> None:
        self.post_message(DataSeen(folder, look(folder)))

    @on(DataSeen)
    def tell_data(self, message: DataSeen) -> None:
        self.form.see_data(message.folder, message.look)

    @work(thread=True, exclusive=True, group="estimate", exit_on_error=False)
    def estimate(self, config: RunConfig) -> None:
        from seg_tui.actions import words_of

        try:
            line = estimate(self.tui.store.get(), self.tui.snapshot, config)
        except Exception as error:
            words_of(error)  # what ails the store is told elsewhere; nothing is known here
            line = ""
        self.post_message(RunEstimated(config, line))

    @on(RunEstimated)
    def tell_estimate(self, message: RunEstimated) -> None:
        if message.config == self._asked:
            self.query_one("#estimate", Clipped).say(message.line)

    # ------------------------------------------------------------------ queueing

    @on(Button.Pressed)
    def press(self, event: Button.Pressed) -> None:
        self.action_queue(event.button.id == "start")

    def action_queue(self, first: bool) -> None:
        """Queue the run if all is right; else go to the first field that is not."""
        form = self.form
        wrong = next((row for row in form.rows().values() if row.is_wrong), None)
        if form.checked.config is None or wrong is not None:
            if wrong is not None:
                self._reveal(wrong)
                wrong.editor.focus()
            self.notify("Nothing was queued: fix the marked fields.", severity="error", markup=False)
        elif not form.draft.data:
            form.refuse("data", "is not set; name the folder of the data set, or press ctrl+o")
        else:
            self.queue(form.checked.config, form.card, first, looker(form.draft))

    def _reveal(self, row: FieldRow) -> None:
        """A search may hide the field to fix."""
        if not row.display:
            self.query_one("#search", Input).value = ""
            self.form.show_only([], self.only_changed)

    @work(thread=True, group="queue", exit_on_error=False)
    def queue(self, config: RunConfig, card: Card, first: bool, look: Look) -> None:
        from seg_tui.actions import words_of

        seen = look(config.data.root)
        if not seen.usable:
            self.post_message(RunRefused([seen.line], data=True))
            return
        try:
            cards = queue_run(self.tui.workspace, self.tui.store.get(make=True), config, card, first)
        except Exception as error:
            self.post_message(RunRefused(words_of(error).splitlines()))
        else:
            self.post_message(RunQueued(cards))
        self.tui.live.nudge()

    @on(RunQueued)
    def leave(self, message: RunQueued) -> None:
        *before, run = message.cards
        when = f"after {before[-1].name} ({before[-1].id})" if before else "when its device is free"
        self.notify(f"queued as {run.id}; it starts {when}", markup=False)
        self.dismiss(run.id)

    @on(RunRefused)
    def tell_refusal(self, message: RunRefused) -> None:
        form = self.form
        if message.data:
            form.refuse("data", message.lines[0])
            return
        elsewhere = []
        for line in message.lines:
            key, _, rest = line.partition(": ")
            after = form.card.after.strip()
            if after and after in key:
                key, rest = "after", line
            if key in form.rows():
                form.refuse(key, rest)
            else:
                elsewhere.append(line)
        for line in elsewhere[:MOST_NOTICES]:
            self.notify(line, severity="error", timeout=10, markup=False)
        if len(elsewhere) > MOST_NOTICES:
            rest = f"and {len(elsewhere) - MOST_NOTICES:,} more problems"
            self.notify(rest, severity="error", timeout=10, markup=False)

    # ------------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        in_form = self.is_mounted and self.query_one(ContentSwitcher).current == "form"
        return in_form or action not in IN_FORM

    def action_back(self) -> None:
        """Out of the search, out of the form, out of the screen; asks when something would be lost."""
        search = self.query_one("#search", Input)
        if self.query_one(ContentSwitcher).current != "form":
            self.dismiss(None)
        elif search.value:
            search.value = ""
        elif typed := self.form.typed_lines():
            shown = typed[:8] + ([f"… and {len(typed) - 8} more"] if len(typed) > 8 else [])
            question = "Leave the form? Your changes will be lost."
            self.app.push_screen(Confirm(question, [f"  {line}" for line in shown]), self._leave)
        else:
            self._leave(True)

    def _leave(self, sure: bool | None) -> None:
        if not sure:
            return
        if self.like is not None:
            self.dismiss(None)
            return
        self.query_one(ContentSwitcher).current = "recipes"
        self.query_one(TitleBar).say("new run: which recipe?", "")
        self.query_one(RecipeChooser).take_focus()

    def action_folder(self) -> None:
        def chosen(folder: str | None) -> None:
            if folder is not None:
                self.form.rows()["data"].editor.value = folder

        self.app.push_screen(FolderPicker(self.form.draft.data, looker(self.form.draft)), chosen)

    def action_search(self) -> None:
        self.query_one("#search").focus()

    @on(Input.Changed, "#search")
    def search(self, event: Input.Changed) -> None:
        self.form.show_only(event.value.lower().split(), self.only_changed)

    @on(Input.Submitted)
    def go_on(self, event: Input.Submitted) -> None:
        self.action_focus_beside(1)

    def action_changed(self) -> None:
        self.only_changed = not self.only_changed
        self.form.show_only(self.query_one("#search", Input).value.lower().split(), self.only_changed)
        self._tell()

    def action_restore(self) -> None:
        """Give the field that has the focus the value it had."""
        row = self.focused.parent if self.focused is not None else None
        if isinstance(row, FieldRow):
            self.form.restore(row)

    def action_copy(self) -> None:
        line = self._command()
        if line:
            self.app.copy_to_clipboard(line)
            self.notify("Command copied to the clipboard.", markup=False)
        else:
            self.notify("There is no command yet: fix the marked fields.", severity="error", markup=False)

    def action_focus_beside(self, step: int) -> None:
        """The field above or below."""
        editors = [row.editor for row in self.form.rows().values() if row.display]
        if not editors:
            return
        here = next((place for place, editor in enumerate(editors) if editor is self.focused), None)
        target = 0 if here is None else min(max(here + step, 0), len(editors) - 1)
        self.set_focus(editors[target])  # at once: of keys that come fast none must be lost
