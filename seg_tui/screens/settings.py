"""Settings, changed at once and kept in the workspace's `tui.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Checkbox, Input, Select, SelectionList, Static

from seg_tui.palette import CURVE_PALETTES
from seg_tui.settings import IMAGES, problem_with, settings_path
from seg_tui.widgets.columns import COLUMNS

if TYPE_CHECKING:
    from seg_tui.app import SegTui

AS_TERMINAL = "as the terminal can"


class SettingsScreen(ModalScreen[None]):
    """A line for each setting."""

    DEFAULT_CSS = """
    SettingsScreen {
        align: center middle;
        & > VerticalScroll {
            width: 72; max-width: 98%; height: auto; max-height: 96%;
            background: $surface; border: round $primary; padding: 0 2;
        }
        & Horizontal { height: auto; }
        & .name { width: 20; text-style: bold; }
        & Select, & Input { width: 1fr; }
        & SelectionList { width: 1fr; height: auto; max-height: 14; border: none; padding: 0; }
        & #wrong { color: $error; height: auto; }
        & .title { text-style: bold; margin-bottom: 1; }
        & .hint { color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f2", "dismiss", "back")]

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    def compose(self) -> ComposeResult:
        settings = self.tui.settings
        themes = [(AS_TERMINAL, ""), *((name, name) for name in sorted(self.app.available_themes))]
        with VerticalScroll():
            yield Static("Settings", classes="title", markup=False)
            yield from self._line(
                "theme", Select(themes, value=settings.theme, allow_blank=False, compact=True, id="theme")
            )
            curves = [(name, name) for name in CURVE_PALETTES]
            yield from self._line(
                "curves", Select(curves, value=settings.curves, allow_blank=False, compact=True, id="curves")
            )
            images = [(name, name) for name in IMAGES]
            yield from self._line(
                "images", Select(images, value=settings.images, allow_blank=False, compact=True, id="images")
            )
            yield from self._line(
                "refresh, seconds", Input(f"{settings.refresh:g}", compact=True, id="refresh")
            )
            yield from self._line(
                "running on top", Checkbox("", settings.active_first, compact=True, id="active_first")
            )
            yield from self._line("side pane", Checkbox("", settings.pane, compact=True, id="pane"))
            chosen = [(column.title, column.key, column.key in settings.columns) for column in COLUMNS]
            yield from self._line("columns", SelectionList[str](*chosen, compact=True, id="columns"))
            yield Static("", id="wrong", markup=False)
            yield Static(
                f"kept in {settings_path(self.tui.workspace)}  ·  escape goes back",
                classes="hint",
                markup=False,
            )

    def _line(self, name: str, field: Any) -> ComposeResult:
        with Horizontal():
            yield Static(name, classes="name", markup=False)
            yield field

    @on(Select.Changed)
    def _selected(self, event: Select.Changed) -> None:
        self._change(str(event.select.id), event.value)

    @on(Checkbox.Changed)
    def _checked(self, event: Checkbox.Changed) -> None:
        self._change(str(event.checkbox.id), event.value)

    @on(SelectionList.SelectedChanged)
    def _chosen(self, event: SelectionList.SelectedChanged[str]) -> None:
        chosen = set(event.selection_list.selected)
        self._change("columns", tuple(column.key for column in COLUMNS if column.key in chosen))

    @on(Input.Changed, "#refresh")
    def _typed(self, event: Input.Changed) -> None:
        try:
            value: float | str = float(event.value)
        except ValueError:
            value = event.value
        self._change("refresh", value)

    def _change(self, key: str, value: Any) -> None:
        """Take a value that is allowed, else say in place what would be."""
        problem = problem_with(key, value)
        self.query_one("#wrong", Static).update(problem)
        if not problem and getattr(self.tui.settings, key) != value:
            self.tui.change_settings(**{key: value})
