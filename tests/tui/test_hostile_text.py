"""One hostile text on every screen: no control sequence of somebody else's, and no markup, comes out."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.segment import Segment
from textual.color import Color
from textual.screen import Screen

import seg_tui.screens
from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.safe_lines import SafeLines
from seg_tui.screens.compare import CompareScreen
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.dialogs import Ask, Confirm, Menu, Pick
from seg_tui.screens.explain import ExplainScreen
from seg_tui.screens.folder_picker import FolderPicker
from seg_tui.screens.help import HelpScreen
from seg_tui.screens.launch import LaunchScreen
from seg_tui.screens.log import LogScreen
from seg_tui.screens.preview import PreviewScreen
from seg_tui.screens.run import RunScreen
from seg_tui.screens.settings import SettingsScreen
from seg_tui.screens.video import VideoScreen
from seg_tui.screens.welcome import Welcome
from tests.tui.conftest import opened, settled
from tests.tui.made_up_gallery import add_with_gallery
from tests.tui.made_up_workspace import add, broken_journal, learning_journal

EVIL = "x\x1b]0;pwned\x07\x1b[5;5f\x9b31m\x7f\u202e\u2066\u2028\u200b[red][@click=app.quit][/]\t"
RUN, BROKEN = "aaaa1111", "bbbb2222"
ALIKE = ("cccc3333", "dddd4444")
"""Runs that differ from the first, so that all three can be explained."""

OPEN: dict[type[Screen[Any]], Callable[[SegTui], Screen[Any] | None]] = {
    Dashboard: lambda app: None,
    RunScreen: lambda app: RunScreen(BROKEN),
    CompareScreen: lambda app: CompareScreen((RUN, BROKEN)),
    PreviewScreen: lambda app: PreviewScreen((RUN, BROKEN)),
    VideoScreen: lambda app: VideoScreen(EVIL, lambda: (app.workspace.root / f"{EVIL}.mp4",)),
    ExplainScreen: lambda app: ExplainScreen((RUN, *ALIKE, BROKEN)),
    LaunchScreen: lambda app: LaunchScreen(RUN),
    LogScreen: lambda app: LogScreen(app.workspace.run_dir(RUN), EVIL),
    SettingsScreen: lambda app: SettingsScreen(),
    HelpScreen: lambda app: HelpScreen([(EVIL, [(EVIL, EVIL)])], [(EVIL, EVIL)]),
    Welcome: lambda app: Welcome(),
    Ask: lambda app: Ask(EVIL, EVIL, EVIL),
    Confirm: lambda app: Confirm(EVIL, [EVIL]),
    Pick: lambda app: Pick(EVIL, [(RUN, EVIL)], RUN),
    Menu: lambda app: Menu(EVIL, [("e", RUN, EVIL)]),
    FolderPicker: lambda app: FolderPicker(str(app.workspace.root), lambda folder: look_of(folder)),
}
"""How each screen is opened on hostile runs; None where it is there from the start."""


def look_of(folder: str) -> Any:
    from seg_tui.launch.queueing import DataLook

    return DataLook(EVIL, False)


def screens() -> set[type]:
    """Every screen of the app."""
    found = set()
    for module in pkgutil.iter_modules(seg_tui.screens.__path__):
        for value in vars(importlib.import_module(f"seg_tui.screens.{module.name}")).values():
            if (
                isinstance(value, type)
                and issubclass(value, Screen)
                and value.__module__.startswith("seg_tui.s")
            ):
                found.add(value)
    return found


def raw_in(app: SegTui) -> set[str]:
    """Characters on the screen that a terminal would act upon, hide or turn round."""
    strips = app.screen._compositor.render_strips()
    text = "".join(segment.text for strip in strips for segment in strip if not segment.control)
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


def test_every_screen_is_opened_below() -> None:
    assert screens() == set(OPEN)


async def test_no_screen_lets_control_sequences_or_markup_through(empty_workspace: Workspace) -> None:
    card = {"name": EVIL, "experiment": EVIL, "tags": ("".join(EVIL.split()),), "note": EVIL}
    add_with_gallery(empty_workspace, RUN, **card)
    empty_workspace.run_dir(RUN).log.write_text(EVIL * 3)
    add(empty_workspace, BROKEN, broken_journal(), log=EVIL, **card)
    for run_id, score, root in zip(ALIKE, (0.5, 0.6), (EVIL, f"other{EVIL}"), strict=True):
        journal = learning_journal(score, epochs=3)
        journal.finish(3)
        add(empty_workspace, run_id, journal, {"data.root": root, "data.size": "32x64"}, **card)
    (empty_workspace.root / f"folder{EVIL}").mkdir(parents=True)
    shown = []
    async with opened(empty_workspace, size=(160, 48)) as (app, pilot):
        app.notify(EVIL, title="told")
        for kind, open_screen in OPEN.items():
            screen = open_screen(app)
            if screen is not None:
                app.push_screen(screen)
                # The tree's loader of folders is a worker that never ends.
                await (pilot.pause() if kind is FolderPicker else settled(pilot))
            assert isinstance(app.screen, kind)
            assert not raw_in(app), kind.__name__
            text = "\n".join(
                "".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()
            )
            shown.append("[red][@click" in text)
            if screen is not None:
                app.pop_screen()
                await pilot.pause()
        assert app.is_running
    assert sum(shown) > len(OPEN) / 2  # names stand there word for word


def test_a_line_keeps_its_width_and_an_image_its_bytes() -> None:
    image = Segment("\x1bPq#0;1\x1b\\", None, [(1,)])  # type: ignore[list-item]
    line = [Segment("a\x1b[31mb"), Segment("  "), image]
    shown = SafeLines().apply(line, Color(0, 0, 0))
    assert Segment.get_line_length(shown) == Segment.get_line_length(line)
    assert "".join(segment.text for segment in shown if not segment.control).startswith("a␛[31mb")
    kitty = [Segment("\U0010eeee\u0305\u0305")]
    assert SafeLines().apply(kitty, Color(0, 0, 0))[0].text == kitty[0].text
    assert image in shown


def test_no_text_of_a_widget_is_read_as_markup() -> None:
    """Each widget that would read markup in its text is told not to."""
    reading = {"Static", "Label", "OptionList", "SelectionList"}
    wrong = []
    for path in Path(seg_tui.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in reading:
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                markup = given.get("markup")
                if not (isinstance(markup, ast.Constant) and markup.value is False):
                    wrong.append(f"{path.name}:{node.lineno}")
    assert not wrong
