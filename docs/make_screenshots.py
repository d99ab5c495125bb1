"""Make the pictures of the dashboard in docs/images from a workspace with finished runs.

    python docs/make_screenshots.py WORKSPACE

The runs are whatever the workspace holds. The pictures in the repository show the runs of
`make_moving_picture.py`; `make picture` makes all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from draw_terminal import draw_screen
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from engine.workspace import find_workspace
from seg_tui.app import SegTui

os.environ["COLORTERM"] = "truecolor"

IMAGES = Path(__file__).resolve().parent / "images"
SIZE = (120, 40)
PICTURES = {
    "dashboard": (),
    "preview": ("p",),
    "run": ("enter",),
    "compare": ("a", "c"),
    "load": ("enter", "9"),
}
"""Name of the picture -> the keys that lead to it."""


async def main() -> None:
    workspace = find_workspace(Path(sys.argv[1]))
    for name, keys in PICTURES.items():
        app = SegTui(workspace, look_after=False)
        async with app.run_test(size=SIZE) as pilot:
            while not app.snapshot.at:
                await pilot.pause(0.05)
            await settle(pilot)
            await pilot.press(*keys)
            await settle(pilot)
            draw_screen(app).save(IMAGES / f"{name}.png", optimize=True)


async def settle(pilot: Pilot[None]) -> None:
    """Wait until all that was asked for in threads has come and been drawn."""
    for _ in range(3):
        await pilot.pause(0.3)
        with contextlib.suppress(WorkerCancelled):  # by a newer one
            await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.6)


if __name__ == "__main__":
    asyncio.run(main())
