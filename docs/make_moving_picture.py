"""Make docs/images/dashboard.gif, with which README.md begins, from real runs.

    python docs/make_moving_picture.py WORKSPACE [KEY=VALUE ...]

It draws synthetic street scenes, trains two small networks on them, and follows a third in the dashboard
while it trains: curves and classes arrive epoch by epoch, the preview plays its predictions, and all three
are compared. Every frame is what the dashboard drew, cell by cell; only the waiting is cut.

WORKSPACE is made if it does not exist. Data and finished runs that it has are used again; the run that is
filmed trains anew. KEY=VALUE changes all runs. On two idle CPU cores this takes about five minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from draw_terminal import draw_screen, save_gif
from PIL import Image
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from engine.classes import CITYSCAPES
from engine.workspace import find_workspace
from seg_tui.app import SegTui

os.environ["COLORTERM"] = "truecolor"

PICTURE = Path(__file__).resolve().parent / "images" / "dashboard.gif"
SIZE = (112, 34)
"""Columns and lines of the terminal: legible where a README is 850 pixels wide."""

EPOCHS = 16
SCENES = ("--images", "80", "--size", "96x192", "--seed", "1")
COMMON = (f"epochs={EPOCHS}", "data.size=48x96", "batch_size=4", "gallery.every=1")
FINISHED = {"narrow": ("model.width=8",), "plain": ()}
LIVE, LIVE_CHANGES = "with-dice", ("loss.dice=1",)
"""The runs by name, and what they change in the recipe `quick`."""

EPOCH_SECONDS, TURN_SECONDS, HOLD_SECONDS = 0.3, 0.4, 2.0


class Film:
    """Frames of the dashboard and how long each stands, in seconds."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot
        self.frames: list[Image.Image] = []
        self.seconds: list[float] = []

    async def take(self, seconds: float) -> None:
        await settle(self.pilot)
        self.frames.append(draw_screen(self.pilot.app))
        self.seconds.append(seconds)

    def hold(self, seconds: float) -> None:
        """Let the last frame stand for longer."""
        self.seconds[-1] = seconds


def main() -> None:
    root = Path(sys.argv[1]).absolute()
    data = root / "data"
    if not data.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        engine(
            root, "data", "synthesize", str(data), "--images", "120", "--size", "96x192", "--seed", "1"
        ).wait()
    for name, changes in FINISHED.items():
        if name not in names(root):
            train(root, data, name, changes).wait()
    if LIVE in names(root):
        engine(root, "delete", LIVE, "--yes").wait()
    process = train(root, data, LIVE, LIVE_CHANGES)
    try:
        film = asyncio.run(shoot(root))
    finally:
        process.wait()
    colors = [info.color for info in CITYSCAPES.classes]
    save_gif(PICTURE, film.frames, film.seconds, keep=colors)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e6:.2f} MB, {sum(film.seconds):.1f} s")


def engine(root: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "engine.cli", "--workspace", str(root), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def train(root: Path, data: Path, name: str, changes: tuple[str, ...]) -> subprocess.Popen[bytes]:
    about = ("--data", str(data), "--name", name, "--experiment", "street")
    return engine(root, "run", "quick", *about, *COMMON, *changes, *sys.argv[2:])


def names(root: Path) -> list[str]:
    command = [sys.executable, "-m", "engine.cli", "--workspace", str(root), "runs", "--json"]
    listed = subprocess.run(command, check=True, capture_output=True).stdout
    return [run["name"] for run in json.loads(listed)]


async def shoot(root: Path) -> Film:
    app = SegTui(find_workspace(root), look_after=False)
    app.animation_level = "none"
    async with app.run_test(size=SIZE) as pilot:
        film = Film(pilot)
        await film_training(film, app)
        await film_preview(film)
        await film_comparison(film)
        return film


async def film_training(film: Film, app: SegTui) -> None:
    """The dashboard, each time that the run has done another epoch."""

    def live() -> tuple[str, int]:
        found = [run for run in app.snapshot.runs.values() if run.name == LIVE]
        return (found[0].status, found[0].epoch or 0) if found else ("", 0)

    await until(lambda: live()[1] >= 1)
    await film.pilot.press("F")
    seen = 0
    while live()[0] not in ("finished", "failed"):
        if live()[1] > seen:
            seen = live()[1]
            await film.take(EPOCH_SECONDS)
        await asyncio.sleep(0.1)
    await film.take(HOLD_SECONDS)


async def film_preview(film: Film) -> None:
    """The predictions of one image, from the first kept epoch to the last."""
    await film.pilot.press("p")
    await settle(film.pilot)
    await film.pilot.press("V", "home")
    await film.take(1.0)
    for _ in range(EPOCHS - 1):
        await film.pilot.press("right_square_bracket")
        await film.take(TURN_SECONDS)
    film.hold(HOLD_SECONDS)
    await film.pilot.press("escape")


async def film_comparison(film: Film) -> None:
    await settle(film.pilot)
    await film.pilot.press("a", "c")
    await film.take(HOLD_SECONDS + 1)


async def settle(pilot: Pilot[None]) -> None:
    """Wait until all that was asked for in threads has come and been drawn."""
    for _ in range(2):
        await pilot.pause(0.2)
        with contextlib.suppress(WorkerCancelled):  # by a newer one
            await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.3)


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    main()
