"""docs/draw_terminal.py: what is on the screen is in the picture, colour by colour."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageSequence
from rich.text import Text
from textual.app import App, ComposeResult
from textual.widgets import Static

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "docs"))
import draw_terminal

RED, BLUE = (200, 10, 20), (0, 0, 142)
CELL = (draw_terminal.CELL_WIDTH, draw_terminal.CELL_HEIGHT)


class Cells(App[Any]):
    """One line: a half block of two colours, a full one, letters."""

    def compose(self) -> ComposeResult:
        yield Static(Text.assemble(("▀", "#c80a14 on #00008e"), ("█", "#00008e"), "Dice ⣿│"))


@pytest.mark.asyncio
async def test_cells_have_the_colours_of_the_screen() -> None:
    app = Cells()
    async with app.run_test(size=(12, 2)) as pilot:
        await pilot.pause()
        image = draw_terminal.draw_screen(app)
    width, height = CELL
    assert image.size == (12 * width, 2 * height)
    assert image.getpixel((0, 0)) == image.getpixel((width - 1, height // 2 - 1)) == RED
    assert image.getpixel((0, height - 1)) == image.getpixel((2 * width - 1, 0)) == BLUE
    letters = image.crop((2 * width, 0, 9 * width, height))
    assert len(letters.getcolors(maxcolors=10_000) or ()) > 2


def test_a_film_keeps_colours_times_and_repeats(tmp_path: Path) -> None:
    frames = [Image.linear_gradient("L").convert("RGB"), Image.radial_gradient("L").convert("RGB")]
    for frame, color in zip(frames, (RED, BLUE), strict=True):
        frame.paste(color, (0, 0, 4, 4))
    draw_terminal.save_gif(tmp_path / "film.gif", frames, [0.3, 2.0], keep=[RED, BLUE])
    with Image.open(tmp_path / "film.gif") as film:
        assert film.info["loop"] == 0
        shown = [
            (f.convert("RGB").getpixel((1, 1)), f.info["duration"]) for f in ImageSequence.Iterator(film)
        ]
    assert shown == [(RED, 300), (BLUE, 2000)]
