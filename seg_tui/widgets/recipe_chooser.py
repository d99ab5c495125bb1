"""Which recipe a new run begins with: their names, and what the one under the cursor is."""

from __future__ import annotations

import inspect
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.config.described import format_value, value_of
from engine.config.files import new_config
from engine.config.recipes import RECIPES, get_recipe
from engine.config.run_config import RunConfig
from seg_tui.launch.draft import form_keys
from seg_tui.widgets.panes import pane

TOLD_KEYS = ("epochs", "batch_size", "data.size", "optimizer.name", "optimizer.lr", "schedule.name")
"""Keys whose value is told of every recipe."""


class RecipeList(OptionList):
    """The names."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "choose", tooltip="Begin a run with this recipe"),
    ]


class RecipeChooser(Horizontal):
    """The recipes; enter takes one."""

    DEFAULT_CSS = """
    RecipeChooser {
        padding: 1 1 0 1;
        & > OptionList { width: 24; height: 1fr; border: none; padding: 0; background: $background; }
        & > VerticalScroll { padding: 0 1 0 2; }
        & Static { height: auto; max-width: 100; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown", "page(1)", "scroll down", priority=True, tooltip="Scroll its description"),
        Binding("pageup", "page(-1)", "scroll up", priority=True, show=False, tooltip="Scroll back"),
    ]

    class Chosen(Message):
        """A recipe was taken."""

        def __init__(self, recipe: str) -> None:
            super().__init__()
            self.recipe = recipe

    def compose(self) -> ComposeResult:
        names = RecipeList(*(Option(name, id=name) for name in RECIPES), compact=True, markup=False)
        yield pane(names, "Recipes")
        with pane(VerticalScroll(can_focus=False), "What it is for"):
            yield Static(markup=False)

    def action_page(self, step: int) -> None:
        text = self.query_one(VerticalScroll)
        text.scroll_relative(y=step * max(1, text.size.height - 1), animate=False)

    def take_focus(self) -> None:
        self.query_one(OptionList).focus()

    @on(OptionList.OptionHighlighted)
    def _tell(self, event: OptionList.OptionHighlighted) -> None:
        self.query_one(Static).update(recipe_text(event.option.id or ""))
        self.query_one(VerticalScroll).scroll_home(animate=False)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(event.option.id or ""))


def recipe_text(name: str) -> Text:
    """What a recipe is for, and what it sets. Raises UnknownRecipe."""
    config = get_recipe(name)
    first, _, rest = inspect.cleandoc(RECIPES[name].__doc__ or "").partition("\n")
    text = Text(f"{name}\n", style="bold")
    text.append(f"{first}\n", "not bold")
    rest = " ".join(line if line else "\n\n" for line in rest.strip().splitlines())
    text.append(f"\n{rest}\n\n", "not bold dim")
    for key, value in _facts(config):
        text.append(f"{key:<26}", "not bold dim")
        text.append(f"{value}\n", "not bold")
    return text


def _facts(config: RunConfig) -> list[tuple[str, str]]:
    """What tells a recipe from others: what it trains and how, and whatever is not as usual."""
    usual = new_config()
    return [
        (key, format_value(value))
        for key in form_keys()
        if (value := value_of(config, key)) is not None
        and (key in TOLD_KEYS or key.startswith("model.") or value != value_of(usual, key))
    ]
