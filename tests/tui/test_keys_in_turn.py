"""What is typed faster than screens open: over a slow line, by quick fingers."""

from __future__ import annotations

import sqlite3

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from engine.store import StoreError
from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.dialogs import Ask
from tests.tui.conftest import notices, opened, screen_text, settled, type_at_once, until

RUNNING = "cccc0000"


async def asked(app: SegTui, pilot: Pilot[None], text: str) -> None:
    """Wait for a question in whose field a text stands."""
    await until(
        pilot,
        lambda: isinstance(app.screen, Ask) and app.screen.query_one(Input).value == text,
        f"{text} to be typed",
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("keys", ["t", "o", "xr", "xm"], ids=["tag", "note", "rename", "move"])
async def test_letters_are_for_the_question_that_was_asked_for(workspace: Workspace, keys: str) -> None:
    async with opened(workspace) as (app, pilot):
        assert isinstance(app.screen, Dashboard)
        app.screen.table.put_cursor(RUNNING)
        await settled(pilot)
        # Each of them is a key of the table: s stops the run.
        type_at_once(app, f"{keys}sgud/z")
        await asked(app, pilot, "sgud/z")
        await pilot.press("escape")
        await settled(pilot)
        assert app.snapshot.runs[RUNNING].wish == ""
        assert notices(app) == []


@pytest.mark.asyncio
async def test_a_whole_answer_can_be_typed_or_pasted_at_once(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        assert isinstance(app.screen, Dashboard)
        app.screen.table.put_cursor(RUNNING)
        await settled(pilot)
        type_at_once(app, "tnigh")
        app.post_message(events.Paste("tly"))
        app.post_message(events.Key("enter", "\r"))
        await until(pilot, lambda: app.snapshot.runs[RUNNING].tags == ("nightly",), "the tag")


@pytest.mark.asyncio
async def test_keys_go_on_when_the_widget_that_had_one_is_gone(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        for key in ("t", "escape", "g"):
            app.post_message(events.Key(key, None))
        await until(pilot, lambda: "by experiment" in screen_text(app), "the groups")


@pytest.mark.asyncio
async def test_what_is_typed_for_a_question_that_does_not_come_is_forgotten(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(workspace) as (app, pilot):
        assert isinstance(app.screen, Dashboard)
        app.screen.table.put_cursor(RUNNING)
        await settled(pilot)

        def locked() -> sqlite3.Connection:
            raise StoreError("another program has locked the database")

        monkeypatch.setattr(app.store, "get", locked)
        type_at_once(app, "os")
        await until(pilot, lambda: any("locked" in notice for notice in notices(app)))
        monkeypatch.undo()
        await pilot.press("g")
        await until(pilot, lambda: "by experiment" in screen_text(app), "the groups")
        assert app.snapshot.runs[RUNNING].wish == ""
