"""Make the pictures of the dashboard in docs/images from a workspace with finished runs.

    python docs/make_screenshots.py WORKSPACE

The runs are whatever the workspace holds; the pictures in the repository come from two short runs of the
recipe `quick` on synthetic scenes (`seg-engine data synthesize`).
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from textual.pilot import Pilot

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
            (IMAGES / f"{name}.svg").write_text(app.export_screenshot(title="seg-tui"), encoding="utf-8")


async def settle(pilot: Pilot[None]) -> None:
    """Wait until all that was asked for in threads has come and been drawn."""
    for _ in range(3):
        await pilot.pause(0.3)
        await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.6)


if __name__ == "__main__":
    asyncio.run(main())
