"""Start a run of the stranger's network from the dashboard's form: `python open_form.py WORKSPACE DATA`.

A process of its own, as whoever has installed the package starts `seg-tui`. Prints what the form shows.
"""

import asyncio
import sys
from pathlib import Path

from engine.agent import presence
from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.screens.launch import LaunchScreen

CHOSEN = {"model.name": "strided", "loss.lenient": "0.5", "augment.erase": "0.25", "name": "from the form"}


async def main(workspace: Path, data: str) -> None:
    app = SegTui(Workspace(workspace), look_after=False)
    async with app.run_test(size=(120, 60)) as pilot:
        while app.snapshot.at == 0:
            await pilot.pause(0.01)
        app.screen.query_one("RunTable").put_cursor(next(iter(app.snapshot.runs)))
        await pilot.press("R")
        while not (isinstance(app.screen, LaunchScreen) and app.screen.form.rows()):
            await pilot.pause(0.01)
        form = app.screen.form
        for key, value in {"data": data, **CHOSEN}.items():
            form.rows()[key].editor.value = value
            await pilot.pause()
        while " images · " not in form.data_look.line:
            await pilot.pause(0.01)
        for key in ("model.name", "model.channels", "loss.lenient_beta", "augment.erase"):
            row = form.rows()[key]
            print(key, row.display, *getattr(row.editor, "words", ()))
        print("problems", form.checked.problems)
        before = len(app.snapshot.runs)
        await pilot.press("ctrl+t")
        while len(app.snapshot.runs) == before:
            await pilot.pause(0.01)
        await app.workers.wait_for_complete()


if __name__ == "__main__":
    presence.ensure_agent = lambda workspace: None  # what is queued stays in the queue
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
