"""The dashboard in the test's own process, driven by keys, on workspaces full of made-up runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from engine.host import load as machine
from engine.host.load import Load
from engine.workspace import Workspace
from seg_tui.app import SegTui
from tests.tui.made_up_workspace import NOW, some_runs, workspace_in

WAIT_SECONDS = 60.0
"""How long a test waits for what must come."""

for _variable in ("NO_COLOR", "COLORTERM"):
    os.environ.pop(_variable, None)


@pytest.fixture
def empty_workspace(tmp_path: Path) -> Workspace:
    """A folder without a database."""
    return workspace_in(tmp_path / "ws")


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workspace with `some_runs` of `made_up_workspace`, to be copied."""
    folder = tmp_path_factory.mktemp("made_up")
    some_runs(Workspace(folder))
    return folder


@pytest.fixture
def workspace(empty_workspace: Workspace, made_up: Path) -> Workspace:
    """Six made-up runs: `some_runs` of `made_up_workspace`."""
    shutil.copytree(made_up, empty_workspace.root, dirs_exist_ok=True)
    return empty_workspace


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The device strip shows the same load on every machine, that of made-up runs, and nobody has views of
    their own."""
    monkeypatch.setattr("seg_tui.widgets.meters.gethostname", lambda: "box")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    load = Load(gpus=(), cpu=0.37, cores=8, memory_used=6 * 2**30, memory_total=32 * 2**30)
    monkeypatch.setattr(machine.LoadReader, "read", lambda self: load)


def make_app(workspace: Workspace, now: float = NOW, demo: bool = False) -> SegTui:
    """The app at a fixed time, still, and without starting agents for runs that are made up."""
    app = SegTui(workspace, now=lambda: now, look_after=False, demo=demo)
    app.animation_level = "none"
    return app


@contextlib.asynccontextmanager
async def opened(
    workspace: Workspace, size: tuple[int, int] = (120, 40), now: float = NOW
) -> AsyncIterator[tuple[SegTui, Pilot[None]]]:
    """The app with its first snapshot shown; (columns, lines)."""
    app = make_app(workspace, now)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.snapshot.at > 0)
        await settled(pilot)
        yield app, pilot


async def until(pilot: Pilot[None], holds: Callable[[], object], what: str = "") -> None:
    """Wait until something holds; fails after `WAIT_SECONDS`."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {WAIT_SECONDS:g} s in vain{' for ' + what if what else ''}")
        await pilot.pause()
        await asyncio.sleep(0.01)
    await pilot.pause()


async def settled(pilot: Pilot[None]) -> None:
    """Wait until no worker is at work and all messages are handled."""
    await pilot.pause()
    await workers_done(pilot)
    await pilot.pause()


async def workers_done(pilot: Pilot[None]) -> None:
    """Wait for all workers, also for those that come in the place of cancelled ones."""
    while True:
        try:
            await pilot.app.workers.wait_for_complete()
            return
        except WorkerCancelled:
            await asyncio.sleep(0.01)


def screen_text(app: SegTui) -> str:
    """What stands on the screen, line by line, without colours."""
    return "\n".join(
        "".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()
    )


def run_lines(app: SegTui) -> list[str]:
    """The lines of the run table, its head first, without the frames of the panes."""
    top = 2 if app.screen.has_class("framed") else 1
    return [line.replace("│", " ") for line in screen_text(app).splitlines()[top:]]


def type_at_once(app: SegTui, keys: str) -> None:
    """Press keys one after another without waiting for what they do, as they come over a slow line."""
    for key in keys:
        app.post_message(events.Key("slash" if key == "/" else key, key))


def notices(app: SegTui) -> list[str]:
    """What the app has told in passing, the newest last."""
    return [notice.message for notice in app._notifications]
