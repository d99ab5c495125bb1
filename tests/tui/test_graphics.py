"""Pictures in a terminal's own pixels: what goes to the terminal, in the two protocols, and what does not."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from textual.pilot import Pilot
from textual_image._sixel import image_to_sixels

from engine.workspace import Workspace
from seg_tui.graphics import Graphics, open_graphics
from seg_tui.screens.preview import PreviewScreen
from seg_tui.widgets.kitty_image import KittyImage
from seg_tui.widgets.label_image import LabelImage
from seg_tui.widgets.sixel_image import SixelImage
from tests.engine.made_up_runs import COLORS
from tests.tui.conftest import opened, settled, until
from tests.tui.made_up_gallery import add_with_gallery

CELL = (20, 10)
CLASS_COLORS = {tuple(bytes.fromhex(color[1:])) for color in COLORS} | {(0, 0, 0)}
KITTY = Graphics("kitty", CELL, KittyImage)
SIXEL = Graphics("sixel", CELL, SixelImage)


@pytest.fixture(autouse=True)
def many_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")


@pytest.fixture
def gallery_workspace(empty_workspace: Workspace) -> Workspace:
    add_with_gallery(empty_workspace, "gal00001", name="good")
    return empty_workspace


async def shown_with(
    workspace: Workspace, graphics: Graphics, then: Callable[[PreviewScreen, Pilot[None]], object], *keys: str
) -> None:
    async with opened(workspace) as (app, pilot):
        app.graphics = graphics
        app.go_to.predictions(["gal00001"])
        await until(pilot, lambda: isinstance(app.screen, PreviewScreen) and app.screen.is_mounted)
        assert isinstance(app.screen, PreviewScreen)
        wall = app.screen.wall
        await until(pilot, lambda: wall.shown is not None)
        await settled(pilot)
        await pilot.press(*keys)
        await settled(pilot)
        assert isinstance(app.screen, PreviewScreen)
        then(app.screen, pilot)


def images_of(screen: PreviewScreen) -> list[Image.Image]:
    return [frame.query_one(".pixels").image for frame in screen.query(LabelImage)]  # type: ignore[attr-defined]


def colors_of(image: Image.Image) -> set[tuple[int, ...]]:
    return {
        tuple(color) for color in np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0).tolist()
    }


def sent_to_kitty(sent: str) -> list[Image.Image]:
    """The images of a stream, put together from their chunks."""
    images, parts = [], []
    for head, payload in re.findall(r"\x1b_G([^;\x1b]*);([^\x1b]*)\x1b\\", sent):
        parts.append(payload)
        if "m=0" in head:
            images.append(Image.open(io.BytesIO(base64.b64decode("".join(parts)))))
            parts = []
    return images


async def test_kitty_gets_class_maps_in_the_colours_of_the_classes_and_no_others(
    gallery_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "__stdout__", terminal)

    def look(screen: PreviewScreen, _: Pilot[None]) -> None:
        frame = screen.query(LabelImage)[1]
        assert frame.picture is not None
        cells = (frame.picture.cols, frame.picture.rows)
        sent = sent_to_kitty(terminal.getvalue())
        assert len(sent) == 8  # four, and four larger ones once the legend is gone; none twice
        maps = [image for image in sent[4:] if colors_of(image) <= CLASS_COLORS]
        assert len(maps) >= 2  # ground truth and prediction; photograph and errors have other colours
        assert {image.size for image in maps} == {(cells[0] * CELL[1], cells[1] * CELL[0])}
        assert max(map(colors_of, maps), key=len) == CLASS_COLORS

    await shown_with(gallery_workspace, KITTY, look, "V")


async def test_sixels_of_a_class_map_have_as_many_colours_as_classes(gallery_workspace: Workspace) -> None:
    def look(screen: PreviewScreen, _: Pilot[None]) -> None:
        _, target, _, errors = images_of(screen)
        assert colors_of(target) == CLASS_COLORS
        assert len(colors_of(errors)) > 8
        registers = set(re.findall(r"#\d+;2;(\d+);(\d+);(\d+)", image_to_sixels(target)))
        percent = {tuple(str(round(value / 255 * 100)) for value in color) for color in CLASS_COLORS}
        assert registers == percent

    await shown_with(gallery_workspace, SIXEL, look)


async def test_sixels_are_sent_again_only_where_something_was_written_over_them(
    gallery_workspace: Workspace,
) -> None:
    async with opened(gallery_workspace) as (app, pilot):
        app.graphics = SIXEL
        app.go_to.predictions(["gal00001"])
        await until(pilot, lambda: isinstance(app.screen, PreviewScreen) and app.screen.is_mounted)
        screen = app.screen
        assert isinstance(screen, PreviewScreen)
        await until(pilot, lambda: screen.wall.shown is not None)
        await settled(pilot)

        def sent() -> int:
            strips = screen._compositor.render_full_update().strips
            return sum("\x1bP" in segment.text for line in strips for strip in line for segment in strip)

        sent()
        assert sent() == 0
        await pilot.press("full_stop")
        await until(pilot, lambda: "2 of 3" in str(screen.query_one("TitleBar").render()))
        await settled(pilot)
        assert sent() + sent() <= 4, "another image, once"
        app.notify("something else")
        await settled(pilot)
        assert sent() == 4, "below a notice they are drawn whenever Textual draws"
        app.clear_notifications()
        await settled(pilot)
        assert sent() <= 4
        assert sent() == 0


async def test_the_cross_is_in_the_pixels_and_the_class_below_it_is_told(
    gallery_workspace: Workspace,
) -> None:
    async with opened(gallery_workspace) as (app, pilot):
        app.graphics = SIXEL
        app.go_to.predictions(["gal00001"])
        await until(pilot, lambda: isinstance(app.screen, PreviewScreen) and app.screen.is_mounted)
        assert isinstance(app.screen, PreviewScreen)
        wall = app.screen.wall
        await until(pilot, lambda: wall.shown is not None)
        await settled(pilot)
        screen = app.screen
        assert isinstance(screen, PreviewScreen)
        frame = screen.query(LabelImage)[1]
        await pilot.hover(frame, offset=(frame._left + 2, 2))
        await settled(pilot)
        assert screen.look.cross is not None
        assert "Ground truth" in str(screen.query_one("#place").render())
        for image in images_of(screen)[1:3]:
            assert image.mode == "P"
            assert colors_of(image) - CLASS_COLORS == {(255, 255, 255)}


async def test_cells_are_used_where_an_image_may_not_be_so_wide(
    gallery_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seg_tui.graphics.MOST_CELLS", {"kitty": 10})
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())

    def look(screen: PreviewScreen, _: Pilot[None]) -> None:
        pictures = [frame.picture for frame in screen.query(LabelImage)]
        assert all(picture is not None and picture.strips and picture.image is None for picture in pictures)

    await shown_with(gallery_workspace, KITTY, look)


def test_without_the_wish_no_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)
    assert open_graphics("halfcell") == (None, "")


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ({b"\x1b[c": b"\x1b[?62;4;22c", b"\x1b[16t": b"\x1b[6;18;9t"}, ("sixel", (18, 9))),
        ({b"\x1b[c": b"\x1b[?62;22c", b"\x1b[16t": b"\x1b[6;18;9t"}, None),
    ],
    ids=["a terminal with sixels", "one without"],
)
def test_a_terminal_is_believed_only_what_it_answers(
    answers: dict[bytes, bytes], named: tuple[str, tuple[int, int]] | None
) -> None:
    script = (
        "import sys; from seg_tui.graphics import open_graphics; g, problem = open_graphics('sixel');"
        "print('GOT', g and (g.name, g.cell), problem)"
    )
    said = talk([sys.executable, "-c", script], answers)
    if named is None:
        assert b"GOT None images: this terminal does not report support for sixel; using half-block" in said
    else:
        assert f"GOT {named}".encode() in said


def talk(command: list[str], answers: dict[bytes, bytes]) -> bytes:
    """Run a program in a terminal that answers what it is asked; returns all that it wrote."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, close_fds=True, cwd=root, start_new_session=True
    )
    os.close(inner)
    said, heard, deadline = b"", 0, time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([outer], [], [], 1.0)
        if not ready:
            if process.poll() is not None:
                break
            continue
        try:
            data = os.read(outer, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        said += data
        for question, answer in answers.items():
            for _ in range(said.count(question, heard)):
                os.write(outer, answer)
        heard = len(said)
    process.wait(10)
    os.close(outer)
    return said
