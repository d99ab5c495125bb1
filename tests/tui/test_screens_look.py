"""How the form, the small questions, settings, help and the first screen look."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, DirectoryTree

from engine.workspace import Workspace
from seg_tui.screens.folder_picker import FolderPicker
from seg_tui.screens.launch import LaunchScreen
from seg_tui.tour import TourLine
from seg_tui.widgets.run_table import RunTable
from tests.tui.conftest import settled, until
from tests.tui.snapshots import app_at

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace whose path is the same wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    Path("workspace").mkdir()
    return Workspace(Path("workspace"))


@pytest.fixture
def filled(near: Workspace, made_up: Path) -> Workspace:
    """The same with six made-up runs."""
    shutil.copytree(made_up, near.root, dirs_exist_ok=True)
    return near


async def to_form(pilot: Pilot[None], recipe: str = "quick") -> LaunchScreen:
    await pilot.press("n")
    await until(pilot, lambda: isinstance(pilot.app.screen, LaunchScreen))
    screen = pilot.app.screen
    assert isinstance(screen, LaunchScreen)
    await settled(pilot)
    screen.query_one("#recipes").post_message(screen.query_one("RecipeChooser").Chosen(recipe))
    await until(pilot, lambda: screen.query_one(ContentSwitcher).current == "form")
    await settled(pilot)
    # The look at the data comes a moment after nobody types any more.
    await until(pilot, lambda: screen.form.data_look.line != "")
    return screen


@SIZES
def test_recipes(snap_compare: object, filled: Workspace, size: tuple[int, int]) -> None:
    async def show(pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, LaunchScreen))
        await settled(pilot)

    app, before = app_at(filled, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


@SIZES
@pytest.mark.parametrize("state", ["as it is", "changed", "wrong"])
def test_form(snap_compare: object, filled: Workspace, size: tuple[int, int], state: str) -> None:
    async def show(pilot: Pilot[None]) -> None:
        screen = await to_form(pilot)
        rows = screen.form.rows()
        if state != "as it is":
            rows["epochs"].editor.value = "30" if state == "changed" else "many"
            rows["name"].editor.value = "a try"
            rows["data"].editor.value = "no/such/folder"
            await until(pilot, lambda: "no such folder" in screen.form.data_look.line)
        await settled(pilot)

    app, before = app_at(filled, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


@SIZES
@pytest.mark.parametrize("keys", ["d", "t", "S", "x", "f4", "f2", "f3", "ctrl+p", "question_mark"])
def test_over_the_dashboard(
    snap_compare: object, filled: Workspace, size: tuple[int, int], keys: str
) -> None:
    async def show(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one(RunTable).put_cursor("aaaa0001")
        await pilot.press(keys)
        await settled(pilot)

    app, before = app_at(filled, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


@SIZES
def test_welcome(snap_compare: object, near: Workspace, size: tuple[int, int]) -> None:
    async def show(pilot: Pilot[None]) -> None:
        await settled(pilot)

    app, before = app_at(near, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


@SIZES
def test_tour(snap_compare: object, filled: Workspace, size: tuple[int, int]) -> None:
    async def show(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: pilot.app.screen.query(TourLine), "its line")
        await settled(pilot)

    app, before = app_at(filled, show, demo=True)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


@SIZES
def test_folder_picker(snap_compare: object, filled: Workspace, size: tuple[int, int]) -> None:
    for folder in ("leftImg8bit/train/a", "gtFine/train/a", "other"):
        (Path("data") / folder).mkdir(parents=True)

    async def show(pilot: Pilot[None]) -> None:
        screen = await to_form(pilot)
        screen.form.rows()["data"].editor.value = "data"
        # What the form says of it is seen beside the picker.
        await until(pilot, lambda: "has no images" in screen.form.data_look.line)
        await pilot.press("ctrl+o")
        # Its tree has a worker that never ends, so that none can be waited for.
        await until(pilot, lambda: isinstance(pilot.app.screen, FolderPicker))
        tree = pilot.app.screen.query_one(DirectoryTree)
        await until(pilot, lambda: len(tree.root.children) == 3, "the folders")

    app, before = app_at(filled, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]
