"""Settings, changed at once and kept in the workspace's `tui.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Select, Static

from seg_tui.palette import CURVE_PALETTES
from seg_tui.settings import IMAGES, problem_with, settings_path
from seg_tui.widgets.choice import Choice
from seg_tui.widgets.columns import COLUMNS, names_besides
from seg_tui.widgets.panes import box
from seg_tui.widgets.ticks import Ticks

if TYPE_CHECKING:
    from seg_tui.app import SegTui

AS_TERMINAL = "as the terminal can"
YES_NO = ("yes", "no")
NOT_KEPT = "forgotten at the end: --read-only changes nothing"


class SettingsScreen(ModalScreen[None]):
    """A line for each setting."""

    DEFAULT_CSS = """
    SettingsScreen {
        align: center middle;
        & > VerticalScroll {
            width: 72; max-width: 98%; height: auto; max-height: 96%;
        }
        & Horizontal { height: auto; }
        & .name { width: 20; text-style: bold; }
        & Select, & Input, & Choice { width: 1fr; }
        & Select:focus > SelectCurrent { background: $block-cursor-background; }
        & Select:focus > SelectCurrent Static#label { color: $block-cursor-foreground; text-style: bold; }
        &:ansi Select:focus > SelectCurrent { background: ansi_default; }
        &:ansi Select:focus > SelectCurrent Static#label { color: ansi_default; text-style: bold reverse; }
        & Ticks { width: 1fr; height: auto; border: none; padding: 0; background: $surface; }
        & #wrong { color: $text-error; height: auto; }
        & .saved { color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f2", "dismiss", "back")]

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    def compose(self) -> ComposeResult:
        settings = self.tui.settings
        names = {*self.app.available_themes, settings.theme} - {""}  # that of the file may not exist
        themes = [(AS_TERMINAL, ""), *((name, name) for name in sorted(names))]
        with box(VerticalScroll(can_focus=False), "Settings", "tab: next · space: change · escape: back"):
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
                "running on top", Choice(YES_NO, yes_no(settings.active_first), "active_first")
            )
            yield from self._line("side pane", Choice(YES_NO, yes_no(settings.pane), "pane"))
            chosen = settings.columns
            columns = [(column.key, column.title) for column in COLUMNS]
            columns += [(name, name) for name in names_besides(chosen)]
            yield from self._line("columns", Ticks(columns, settings.columns, "columns"))
            yield Static("", id="wrong", markup=False)
            where = f"saved in {settings_path(self.tui.workspace)}"
            yield Static(NOT_KEPT if self.tui.read_only else where, classes="saved", markup=False)

    def _line(self, name: str, field: Any) -> ComposeResult:
        with Horizontal():
            yield Static(name, classes="name", markup=False)
            yield field

    @on(Select.Changed)
    def _selected(self, event: Select.Changed) -> None:
        self._change(str(event.select.id), event.value)

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        self._change(str(event.choice.id), event.value == "yes")

    @on(Ticks.Changed)
    def _ticked(self, event: Ticks.Changed) -> None:
        known = event.ticks.keys
        self._change("columns", in_their_order(self.tui.settings.columns, event.chosen, known))

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


def in_their_order(before: Sequence[str], chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """What is `chosen` now, in the order that there was `before`; a new one behind the nearest of the `known`
    before it."""
    kept = [key for key in before if key in chosen]
    for key in chosen:
        if key not in kept:
            above = [other for other in known[: known.index(key)] if other in kept]
            kept.insert(kept.index(above[-1]) + 1 if above else 0, key)
    return tuple(kept)


def yes_no(value: bool) -> str:
    return YES_NO[0] if value else YES_NO[1]
