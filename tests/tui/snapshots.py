"""What snapshots of screens need to be the same everywhere: a theme, and everything at rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input, Tab, Tabs
from textual.widgets._tabs import Underline

from engine.workspace import Workspace
from seg_tui.app import SegTui
from tests.tui.conftest import make_app, settled, until

Step = Callable[[Pilot[None]], Awaitable[None]]


def app_at(workspace: Workspace, show: Step, demo: bool = False) -> tuple[SegTui, Step]:
    """The app, and what brings it to the screen that `show` opens; as `demo` with the tour."""
    app = make_app(workspace, demo=demo)

    async def before(pilot: Pilot[None]) -> None:
        app.theme = "textual-dark"
        await until(pilot, lambda: app.snapshot.at > 0)
        await settled(pilot)
        await show(pilot)
        await at_rest(pilot)

    return app, before


async def at_rest(pilot: Pilot[None]) -> None:
    """Wait for what moves by itself, and hold what never ends."""
    await until(pilot, lambda: all(map(underlined, pilot.app.screen.query(Tabs))), "the lines below tabs")
    await still_cursors(pilot)


def underlined(tabs: Tabs) -> bool:
    """Whether the line lies below the active tab, where it gets one refresh after the tabs got their size."""
    active = tabs.query_one("Tab.-active", Tab)
    start, end = active.virtual_region.shrink(active.styles.gutter).column_span
    line = tabs.query_one(Underline)
    hidden = not all(node.display for node in tabs.ancestors_with_self if isinstance(node, Widget))
    return hidden or (start < end and (start, end) == (line.highlight_start, line.highlight_end))


async def still_cursors(pilot: Pilot[None]) -> None:
    """Show the cursor of the field that is typed in, whatever turn its blinking is at."""
    for field in pilot.app.screen.query(Input):
        field.cursor_blink = False  # which hides it
        field._cursor_visible = field.has_focus
    await pilot.pause()
