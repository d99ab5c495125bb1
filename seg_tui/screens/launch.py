"""A new run: choose a recipe, change what is to be different, queue it.

The form is made of `config_keys()`; what may be typed, and what is wrong with it, is the engine's word.
All that is wrong stands at its field, and nothing is queued before it is right.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Button, ContentSwitcher, Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.config import RunConfig
from engine.config_keys import config_keys, format_value, value_of
from engine.recipes import RECIPES, get_recipe
from engine.workspace import find_workspace
from seg_tui.launch.draft import DEFAULT_EXPERIMENT, Card, Checked, Draft, command_line, form_keys
from seg_tui.launch.queueing import DataLook, Origin, estimate, look_at_data, queue_run, read_origin
from seg_tui.screens.dialogs import Confirm
from seg_tui.screens.folder_picker import FolderPicker, FolderSuggester
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.field_row import FieldRow

if TYPE_CHECKING:
    from seg_tui.app import SegTui

PAUSE_SECONDS = 0.3
"""How long nobody types before a folder is looked at and earlier runs are asked."""

TOLD_KEYS = ("epochs", "batch_size", "data.size", "optimizer.name", "optimizer.lr", "schedule.name")
"""Keys whose value is told of every recipe."""

CARD_FIELDS = {
    "name": "What to call the run; empty: as its recipe",
    "experiment": "The question that groups runs; a new name makes a new experiment",
    "tags": "Words to find it by, separated by blanks",
    "note": "A line about it",
    "priority": "Higher ones start first; 0 is usual",
    "after": "Start when that run has finished: its id, the beginning of it, or its name",
}


class OriginRead(Message):
    """What the form begins with, of another run; `problem` says why it cannot."""

    def __init__(self, origin: Origin, problem: str = "") -> None:
        super().__init__()
        self.origin, self.problem = origin, problem


class DataSeen(Message):
    """What the data folder has."""

    def __init__(self, folder: str, look: DataLook) -> None:
        super().__init__()
        self.folder, self.look = folder, look


class RunEstimated(Message):
    """What earlier runs say about a config; "" when they say nothing."""

    def __init__(self, config: RunConfig, line: str) -> None:
        super().__init__()
        self.config, self.line = config, line


class RunQueued(Message):
    """The run is in the queue."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


class RunRefused(Message):
    """It is not; the engine's lines say why. `data` when it is the data."""

    def __init__(self, lines: list[str], data: bool = False) -> None:
        super().__init__()
        self.lines, self.data = lines, data


class Fields(VerticalScroll, inherit_bindings=False):
    """The fields; the arrow keys go from one to the next instead of scrolling."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page_up", "page up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
    ]


class LaunchScreen(Screen[str | None]):
    """Returns the id of the run that was queued, None when it was left."""

    DEFAULT_CSS = """
    LaunchScreen {
        ContentSwitcher { height: 1fr; }
        #recipes { padding: 1 1 0 1; }
        #recipe-list { width: 24; height: 1fr; border: none; padding: 0; background: $background; }
        #recipe-docs { padding: 0 1 0 2; }
        #recipe-text { height: auto; }
        #tools { height: 1; margin: 1 1 0 1; }
        #search { width: 40; background: $surface; }
        #count { width: 1fr; color: $text-muted; text-align: right; }
        #fields { padding: 0 1; scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
        .section { height: 2; padding-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        .section.hidden { display: none; }
        #foot { height: auto; padding: 0 1; background: $surface; }
        #help { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #estimate { height: auto; max-height: 2; color: $text-muted; }
        #estimate.hidden { display: none; }
        #command { height: auto; max-height: 3; color: $text-muted; }
        #buttons { height: 1; }
        #buttons Button { margin-right: 2; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", tooltip="Leave the form; asks when something was typed"),
        Binding("ctrl+s", "queue(True)", "start now", priority=True, tooltip="Queue it before all that wait"),
        Binding("ctrl+t", "queue(False)", "queue", priority=True, tooltip="Queue it at its priority"),
        Binding("ctrl+o", "folder", "data folder", priority=True, tooltip="Choose the folder in a tree"),
        Binding("ctrl+f", "search", "search", priority=True, tooltip="Show only keys with some words"),
        Binding("ctrl+g", "changed", "only changed", priority=True, tooltip="Show only what differs"),
        Binding("ctrl+y", "copy", "copy command", priority=True, tooltip="Copy the seg-engine line"),
        Binding("ctrl+r", "restore", "restore", priority=True, tooltip="Give the field its first value"),
        Binding("down", "focus_beside(1)", "next field", show=False, tooltip="The field below"),
        Binding("up", "focus_beside(-1)", "field before", show=False, tooltip="The field above"),
        Binding("f1", "app.help", "help", tooltip="All keys"),
    ]

    def __init__(self, like: str | None = None) -> None:
        super().__init__()
        self.like = like
        self.draft = Draft.of_recipe(next(iter(RECIPES)))
        self.card = self.first_card = Card()
        self.first_data = ""
        self.checked = Checked(None, {})
        self.data_look = DataLook("", False)
        self.refused: dict[str, str] = {}
        self.only_changed = False
        self._wait: Timer | None = None
        self._asked: RunConfig | None = None

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        with ContentSwitcher(initial="recipes"):
            with Horizontal(id="recipes"):
                yield OptionList(*(Option(name, id=name) for name in RECIPES), id="recipe-list", compact=True)
                with VerticalScroll(id="recipe-docs", can_focus=False):
                    yield Static(id="recipe-text", markup=False)
            with Vertical(id="form"):
                with Horizontal(id="tools"):
                    yield Input(placeholder="search the keys", compact=True, id="search")
                    yield Static(id="count", markup=False)
                yield Fields(id="fields", can_focus=False)
                with Vertical(id="foot"):
                    yield Static(id="help", markup=False)
                    yield Static(id="estimate", markup=False, classes="hidden")
                    yield Static(id="command", markup=False)
                    with Horizontal(id="buttons"):
                        yield Button("Start now", variant="primary", id="start", compact=True)
                        yield Button("Queue", id="queue", compact=True)
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(TitleBar).say("new run: which recipe?" if self.like is None else "new run", "")
        if self.like is None:
            self.query_one("#recipe-list").focus()
        self.read_origin()

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
        self.first_data = message.origin.data
        if self.like is None:
            return
        if message.origin.config is None:
            self.notify(message.problem, severity="error", timeout=10, markup=False)
            self.dismiss(None)
            return
        self.first_card = message.origin.card
        await self._fill(Draft(message.origin.config, self.like))

    @on(OptionList.OptionHighlighted, "#recipe-list")
    def tell_recipe(self, event: OptionList.OptionHighlighted) -> None:
        name = event.option.id or ""
        first, _, rest = inspect.cleandoc(RECIPES[name].__doc__ or "").partition("\n")
        text = Text(f"{name}\n", style="bold")
        text.append(f"{first}\n", "not bold")
        rest = " ".join(line if line else "\n\n" for line in rest.strip().splitlines())
        text.append(f"\n{rest}\n\n", "not bold dim")
        for key, value in _facts(get_recipe(name)):
            text.append(f"{key:<26}", "not bold dim")
            text.append(f"{value}\n", "not bold")
        self.query_one("#recipe-text", Static).update(text)

    @on(OptionList.OptionSelected, "#recipe-list")
    async def choose_recipe(self, event: OptionList.OptionSelected) -> None:
        self.first_card = Card()
        await self._fill(Draft.of_recipe(event.option.id or ""))

    async def _fill(self, draft: Draft) -> None:
        """Make the fields of a draft and show them."""
        draft.data = draft.base.data.root or self.first_data
        self.draft, self.card, self.refused = draft, self.first_card, {}
        self.first_data = draft.data
        self.query_one(TitleBar).say(f"new run from {draft.title}", "")
        fields = self.query_one("#fields")
        await fields.remove_children()
        await fields.mount_all(self._rows())
        self.query_one(ContentSwitcher).current = "form"
        self.call_after_refresh(self._rows_by_key()["data"].editor.focus)
        self._judge()
        self._ask_soon(0.0)

    def _rows(self) -> list[Static | FieldRow]:
        """The fields, each section below its head."""
        heads = [Static(_head("run", "what people call it, and when it starts"), classes="section")]
        rows: list[Static | FieldRow] = [*heads]
        rows.append(
            FieldRow(
                "data",
                "data folder",
                "Folder of the data set; ctrl+o shows a tree, → takes the completion",
                self.draft.data,
                placeholder="/path/to/cityscapes",
                suggester=FolderSuggester(),
            )
        )
        for name, help in CARD_FIELDS.items():
            hint = {"name": self.draft.base.recipe, "experiment": DEFAULT_EXPERIMENT}.get(name, "")
            rows.append(FieldRow(name, name, help, getattr(self.card, name), placeholder=hint))
        section = None
        for key, about in form_keys().items():
            path, _, leaf = key.rpartition(".")
            if path != section:
                section = path
                rows.append(Static(_section_head(path), classes="section"))
            choices = about.choices or (("true", "false") if about.kind == "true/false" else ())
            help = " · ".join(part for part in (about.story, about.unit, about.allowed) if part)
            rows.append(FieldRow(key, leaf, help, self.draft.text(key), choices))
        return rows

    def _rows_by_key(self) -> dict[str, FieldRow]:
        return {row.key: row for row in self.query(FieldRow)}

    # ------------------------------------------------------------------ typing

    @on(FieldRow.Typed)
    def take(self, message: FieldRow.Typed) -> None:
        key, text = message.row.key, message.text
        self.refused.pop(key, None)
        if key == "data":
            self.draft.data = text.strip()
            self.data_look = DataLook("…", False)
        elif key in CARD_FIELDS:
            self.card = replace(self.card, **{key: text})
        else:
            self.draft.type(key, text)
            if key == "model.name":
                self._put_usual()
        self._judge()
        self._ask_soon(PAUSE_SECONDS)

    def _put_usual(self) -> None:
        """Another model has other usual values."""
        for key, row in self._rows_by_key().items():
            if key in form_keys():
                row.put(self.draft.text(key))

    def _judge(self) -> None:
        """Ask the engine about what is typed, and say at each field what it says."""
        self.checked = self.draft.check()
        changes = self.draft.changes()
        for key, row in self._rows_by_key().items():
            below, wrong = self.refused.get(key, ""), key in self.refused
            if key == "data":
                changed, remark = self.draft.data != self.first_data, ""
                if not wrong:
                    below, wrong = self.data_look.line, not self.data_look.usable and bool(self.draft.data)
                    wrong = wrong and self.data_look.line != "…"
            elif key in CARD_FIELDS:
                first = getattr(self.first_card, key)
                changed, remark = getattr(self.card, key) != first, f"was {first}" if first else ""
                remark = remark if changed else ""
                if key == "priority" and not wrong:
                    below = self.card.priority_problem()
                    wrong = bool(below)
            else:
                changed = key in changes
                unit = config_keys()[key].unit
                remark = " · ".join(
                    part for part in (unit, f"was {self.draft.usual(key)}" if changed else "") if part
                )
                if key in self.checked.problems:
                    below, wrong = self.checked.problems[key], True
            row.say(changed, remark, below, wrong)
        self._choose_rows()
        self._tell()

    def _choose_rows(self) -> None:
        """Show the fields that were asked for, and heads only above fields."""
        words = self.query_one("#search", Input).value.lower().split()
        head: Static | None = None
        used = False
        for child in self.query_one("#fields").children:
            if isinstance(child, FieldRow):
                there = child.key not in form_keys() or self.draft.is_there(child.key)
                about = f"{child.key} {child.help}".lower()
                shown = there and all(word in about for word in words)
                shown = shown and (not self.only_changed or child.is_told)
                child.set_class(not shown, "hidden")
                used = used or shown
                continue
            if head is not None:
                head.set_class(not used, "hidden")
            head, used = cast(Static, child), False
        if head is not None:
            head.set_class(not used, "hidden")

    def _tell(self) -> None:
        """The command, the numbers, and what is wrong with no field in particular."""
        count = len(self.draft.changes())
        wrong = len([row for row in self.query(FieldRow) if row.is_wrong])
        parts = [f"{count} {'key differs' if count == 1 else 'keys differ'} from {self.draft.title}"]
        parts += [f"{wrong} to be mended"] if wrong else []
        parts += ["only changed shown"] if self.only_changed else []
        self.query_one("#count", Static).update(" · ".join(parts))
        text = Text(overflow="ellipsis")
        general = self.checked.problems.get("")
        if general:
            text.append(general, self.app.theme_variables.get("text-error", "red"))
        elif self.checked.config is None:
            text.append("the command is here when all fields are right")
        else:
            text.append("$ ", "dim").append(self._command() or "")
        self.query_one("#command", Static).update(text)

    def _command(self) -> str:
        """The equal `seg-engine` line; "" while something is wrong."""
        if self.checked.config is None:
            return ""
        root = self.tui.workspace.root
        elsewhere = "" if find_workspace().root == root else str(root)
        return command_line(self.draft, self.checked.config, self.card, elsewhere)

    @on(events.DescendantFocus)
    def tell_help(self, event: events.DescendantFocus) -> None:
        row = event.widget.parent
        if isinstance(row, FieldRow):
            text = Text(no_wrap=True, overflow="ellipsis")
            text.append(f"{row.key}  ", "bold").append(row.help)
            self.query_one("#help", Static).update(text)

    # ------------------------------------------------------------------ looking things up

    def _ask_soon(self, seconds: float) -> None:
        """Look at the data and at earlier runs when nobody has typed for a moment."""
        if self._wait is not None:
            self._wait.stop()
        self._wait = self.set_timer(max(seconds, 0.001), self._ask)

    def _ask(self) -> None:
        draft = self.draft
        self.look_at(draft.data, draft.text("data.kind"), draft.text("data.classes"))
        if self.checked.config is not None and self.checked.config != self._asked:
            self._asked = self.checked.config
            self.estimate(self.checked.config)

    @work(thread=True, exclusive=True, group="data", exit_on_error=False)
    def look_at(self, folder: str, kind: str, classes: str) -> None:
        self.post_message(DataSeen(folder, look_at_data(folder, kind, classes)))

    @on(DataSeen)
    def tell_data(self, message: DataSeen) -> None:
        if message.folder == self.draft.data and message.look != self.data_look:
            self.data_look = message.look
            self._judge()

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
            shown = self.query_one("#estimate", Static)
            shown.update(message.line)
            shown.set_class(not message.line, "hidden")

    # ------------------------------------------------------------------ queueing

    @on(Button.Pressed)
    def press(self, event: Button.Pressed) -> None:
        self.action_queue(event.button.id == "start")

    def action_queue(self, first: bool) -> None:
        """Queue the run if all is right; else go to the first field that is not."""
        wrong = next((row for row in self.query(FieldRow) if row.is_wrong and row.display), None)
        if self.checked.config is None or wrong is not None:
            if wrong is not None:
                wrong.editor.focus()
            self.notify("Nothing was queued: mend what is marked.", severity="error", markup=False)
            return
        if not self.draft.data:
            self._refuse_data("is not set; name the folder of the data set, or press ctrl+o")
            return
        self.queue(self.checked.config, self.card, first)

    @work(thread=True, group="queue", exit_on_error=False)
    def queue(self, config: RunConfig, card: Card, first: bool) -> None:
        from seg_tui.actions import words_of

        look = look_at_data(config.data.root, config.data.kind, config.data.classes)
        if not look.usable:
            self.post_message(RunRefused([look.line], data=True))
            return
        try:
            run_id = queue_run(self.tui.workspace, self.tui.store.get(make=True), config, card, first)
        except Exception as error:
            self.post_message(RunRefused(getattr(error, "problems", None) or [words_of(error)]))
        else:
            self.post_message(RunQueued(run_id))
        self.tui.live.nudge()

    @on(RunQueued)
    def leave(self, message: RunQueued) -> None:
        self.notify(f"queued as {message.run_id}; it starts when its device is free", markup=False)
        self.dismiss(message.run_id)

    @on(RunRefused)
    def tell_refusal(self, message: RunRefused) -> None:
        if message.data:
            self._refuse_data(message.lines[0])
            return
        rows = self._rows_by_key()
        for line in message.lines:
            key, _, rest = line.partition(": ")
            if self.card.after.strip() and self.card.after.strip() in key:
                key, rest = "after", line
            if key in rows:
                self.refused[key] = rest
                rows[key].editor.focus()
            else:
                self.notify(line, severity="error", timeout=10, markup=False)
        self._judge()

    def _refuse_data(self, line: str) -> None:
        self.refused["data"] = line
        self._judge()
        self._rows_by_key()["data"].editor.focus()

    # ------------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        in_form = self.is_mounted and self.query_one(ContentSwitcher).current == "form"
        return in_form or action not in (
            {"queue", "folder", "search", "changed", "copy", "restore", "focus_beside"}
        )

    def action_back(self) -> None:
        """Out of the search, out of the form, out of the screen; asks when something would be lost."""
        search = self.query_one("#search", Input)
        if self.query_one(ContentSwitcher).current != "form":
            self.dismiss(None)
        elif search.has_focus and search.value:
            search.value = ""
        elif self._is_typed():
            question = "Leave the form? What you typed would be lost."
            self.app.push_screen(
                Confirm(question, [f"  {line}" for line in self._typed_lines()]), self._leave
            )
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
        self.query_one("#recipe-list").focus()

    def _is_typed(self) -> bool:
        return (
            bool(self.draft.changes()) or self.card != self.first_card or self.draft.data != self.first_data
        )

    def _typed_lines(self) -> list[str]:
        typed = [f"{key} = {text}" for key, text in self.draft.changes().items()]
        typed += [f"data folder = {self.draft.data}"] if self.draft.data != self.first_data else []
        typed += [
            f"{name} = {getattr(self.card, name)}"
            for name in CARD_FIELDS
            if getattr(self.card, name) != getattr(self.first_card, name)
        ]
        return typed[:8] + ([f"… and {len(typed) - 8} more"] if len(typed) > 8 else [])

    def action_folder(self) -> None:
        def chosen(folder: str | None) -> None:
            if folder is not None:
                self._rows_by_key()["data"].editor.value = folder

        self.app.push_screen(FolderPicker(self.draft.data), chosen)

    def action_search(self) -> None:
        self.query_one("#search").focus()

    @on(Input.Changed, "#search")
    def search(self) -> None:
        self._choose_rows()

    @on(Input.Submitted)
    def go_on(self, event: Input.Submitted) -> None:
        self.action_focus_beside(1)

    def action_changed(self) -> None:
        self.only_changed = not self.only_changed
        self._choose_rows()
        self._tell()

    def action_restore(self) -> None:
        """Give the field that has the focus the value it had."""
        row = self.focused.parent if self.focused is not None else None
        if isinstance(row, FieldRow):
            if row.key in form_keys():
                row.editor.value = self.draft.usual(row.key)
            else:
                row.editor.value = self.first_data if row.key == "data" else getattr(self.first_card, row.key)

    def action_copy(self) -> None:
        line = self._command()
        if line:
            self.app.copy_to_clipboard(line)
            self.notify("The command is in the clipboard.", markup=False)
        else:
            self.notify("There is no command yet: mend what is marked.", severity="error", markup=False)

    def action_focus_beside(self, step: int) -> None:
        """The field above or below."""
        editors = [row.editor for row in self.query(FieldRow) if row.display]
        if not editors:
            return
        here = next((place for place, editor in enumerate(editors) if editor is self.focused), None)
        target = 0 if here is None else min(max(here + step, 0), len(editors) - 1)
        editors[target].focus()


def _facts(config: RunConfig) -> list[tuple[str, str]]:
    """What tells a recipe from others: what it trains and how, and whatever is not as usual."""
    usual = RunConfig()
    return [
        (key, format_value(value))
        for key in form_keys()
        if (value := value_of(config, key)) is not None
        and (key in TOLD_KEYS or key.startswith("model.") or value != value_of(usual, key))
    ]


def _section_head(path: str) -> Text:
    if not path:
        return _head("training", "what all the rest serves")
    about = RunConfig.model_fields[path].description or type(getattr(RunConfig(), path)).__doc__ or ""
    return _head(path, inspect.cleandoc(about).partition("\n")[0].rstrip("."))


def _head(name: str, about: str) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    return text.append(name, "bold").append(f"  {about}", "dim")
