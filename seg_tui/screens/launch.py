"""A new run: choose a recipe, or begin with another run; then the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher, Static

from seg_tui.launch.draft import Card, Draft
from seg_tui.launch.form import LaunchForm
from seg_tui.launch.messages import OriginRead, RunQueued
from seg_tui.launch.queueing import Origin, read_origin
from seg_tui.on_top import WaitsForTop
from seg_tui.screens.dialogs import Confirm
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.config_form import ConfigForm
from seg_tui.widgets.recipe_chooser import RecipeChooser

if TYPE_CHECKING:
    from seg_tui.app import SegTui

AIRY = (100, 36)
"""Columns and lines from which on a line is left empty between two fields."""


class LaunchScreen(WaitsForTop):
    """Returns the id of the run that was queued, None when it was left."""

    DEFAULT_CSS = """
    LaunchScreen {
        ContentSwitcher { height: 1fr; }
        #reading { color: $text-muted; padding: 1 2; }
        &.-low FormTools { margin-top: 0; }
        &.airy FieldRow { margin-bottom: 1; }
        &.airy FieldRow > Input { background: $surface; &:focus { background: $panel; } }
        &.airy ConfigForm > .section {
            height: 3; padding: 0 0 1 0; border-top: solid $foreground 21.4%;
            &:first-child { height: 2; border-top: none; }
        }
        &.-wide.-high { FormFoot { background: $background; } RecipeChooser { padding: 0; } }
        &.airy #buttons { margin-top: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", tooltip="Leave the form; asks if you changed something"),
        Binding(
            "ctrl+s",
            "form('queue', True)",
            "start now",
            priority=True,
            tooltip="Queue it ahead of all waiting runs",
        ),
        Binding("ctrl+t", "form('queue', False)", "queue", priority=True, tooltip="Queue it at its priority"),
        Binding(
            "ctrl+o", "form('choose_folder')", "data folder", priority=True, tooltip="Browse for the folder"
        ),
        Binding("ctrl+f", "form('search')", "search", priority=True, tooltip="Search the keys"),
        Binding(
            "ctrl+g",
            "form('toggle_changed')",
            "only changed",
            priority=True,
            tooltip="Show only changed keys",
        ),
        Binding(
            "ctrl+y", "form('copy')", "copy command", priority=True, tooltip="Copy the seg-engine command"
        ),
        Binding("ctrl+r", "form('restore')", "restore", priority=True, tooltip="Reset the field"),
        Binding("down", "form('focus_beside', 1)", "next field", show=False, tooltip="The field below"),
        Binding("up", "form('focus_beside', -1)", "previous field", show=False, tooltip="The field above"),
        Binding("f1", "app.help", "help", tooltip="All keys"),
    ]

    def __init__(self, like: str | None = None) -> None:
        super().__init__()
        self.like = like
        self.origin: Origin | None = None
        self._recipe = ""
        """The one that was taken before it was known what a run begins with here."""

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    @property
    def launch_form(self) -> LaunchForm:
        return self.query_one(LaunchForm)

    @property
    def form(self) -> ConfigForm:
        """The fields."""
        return self.launch_form.fields

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        # A list of recipes that gives way to the form after a moment would be taken for a question.
        with ContentSwitcher(initial="recipes" if self.like is None else "reading"):
            yield Static("reading the run...", id="reading", markup=False)
            yield RecipeChooser(id="recipes")
            yield LaunchForm(id="form")
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(TitleBar).say("new run: which recipe?" if self.like is None else "new run", "")
        if self.like is None:
            self.query_one(RecipeChooser).take_focus()
        self.read_origin()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= AIRY[0] and event.size.height >= AIRY[1], "airy")

    # ------------------------------------------------------------------ what it begins with

    @work(thread=True, group="origin")
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
            if message.problem:
                self.notify(message.problem, severity="error", timeout=10, markup=False)
            if self._recipe:
                await self._begin_recipe(self._recipe, message.origin)
            return
        if message.origin.config is None:
            self.notify(message.problem, severity="error", timeout=10, markup=False)
            self.once_on_top(lambda: self.dismiss(None))
            return
        card = message.origin.card
        draft = Draft(message.origin.config, self.like, defaults=message.origin.defaults)
        await self._fill(draft, card, message.origin.data)
        self.query_one(TitleBar).say(f"new run from {card.name} ({self.like})", "")

    @on(RecipeChooser.Chosen)
    async def choose_recipe(self, message: RecipeChooser.Chosen) -> None:
        self._recipe = message.recipe
        if self.origin is not None:
            await self._begin_recipe(message.recipe, self.origin)

    async def _begin_recipe(self, recipe: str, origin: Origin) -> None:
        await self._fill(Draft.of_recipe(recipe, origin.defaults), origin.card, origin.data)

    async def _fill(self, draft: Draft, card: Card, data: str = "") -> None:
        self.query_one(TitleBar).say(f"new run from {draft.title}", "")
        await self.launch_form.begin(draft, card, data)
        self.query_one(ContentSwitcher).current = "form"

    # ------------------------------------------------------------------ how it ends

    @on(RunQueued)
    def leave(self, message: RunQueued) -> None:
        *before, run = message.cards
        when = f"after {before[-1].name} ({before[-1].id})" if before else "when its device is free"
        self.notify(f"queued as {run.id}; it starts {when}", markup=False)
        self.once_on_top(lambda: self.dismiss(run.id))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of the form do nothing before a recipe is chosen."""
        in_form = self.is_mounted and self.query_one(ContentSwitcher).current == "form"
        return in_form or action != "form"

    def action_form(self, do: str, *how: int) -> None:
        """`do` names a method of the form."""
        getattr(self.launch_form, do)(*how)

    def action_back(self) -> None:
        """Out of the search, out of the form, out of the screen; asks when something would be lost."""
        if self.query_one(ContentSwitcher).current != "form":
            self.dismiss(None)
        elif self.launch_form.tools.clear():
            return
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
