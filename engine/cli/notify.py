"""Telling people what has ended: `--on-end`, `seg-engine notify`, and the end of a run in the foreground."""

from __future__ import annotations

import os
import sys
import time
from urllib.parse import urlsplit

from rich.text import Text

from engine.cli.console import notices, output, print_json
from engine.cli.reading import has_database, open_existing
from engine.config.notify import CHANNELS, NotifyConfig, load_notify_config
from engine.config.settings_file import FILE_NAME, SettingsError
from engine.host.terminal_notice import terminal_notice
from engine.report.tables import Column, age, text_table
from engine.requests.refusals import Refused
from engine.store import Notice, RunRow, Store
from engine.visible import unguarded
from engine.workspace import Workspace

MOST_SECONDS = 60.0
"""How long a command that has followed a run waits until people are told; commands go on without it."""

RECENT = 20


def wish(store: Store, scope: str, subject: str, command: str) -> None:
    """Have a command run once something has ended; "" is no command."""
    if command:
        store.notices.wish(scope, subject, command)


def tell_ends(workspace: Workspace, store: Store) -> None:
    """Tell what has ended and nobody has told yet; Ctrl-C leaves the rest."""
    from engine.agent.teller import Teller

    teller = Teller(store, workspace, notices.say)
    teller.step(now=True)
    teller.wait(1.0)
    if teller.busy:
        notices.say(f"sending notifications, for at most {MOST_SECONDS:g} s; Ctrl-C stops waiting")
        try:
            teller.wait(MOST_SECONDS)
        except KeyboardInterrupt:
            notices.say("left; nobody is notified twice")
    teller.leave(0.0)


def notify_terminal(workspace: Workspace, row: RunRow) -> None:
    """Ring the terminal's bell and show its notification, where there is one and it is wanted."""
    if not notices.is_terminal:
        return
    try:
        if not load_notify_config(workspace.root).terminal:
            return
    except SettingsError:  # which is told where people are told
        return
    from engine.agent.message import sentence

    stream = unguarded(sys.stderr)
    stream.write(terminal_notice(sentence(row, row.message), os.environ))
    stream.flush()


def on_queue_end(workspace: Workspace, command: str) -> None:
    """Run a command once nothing is running or queued any more. Raises Refused when that is so now."""
    with open_existing(workspace, change=True) as store:
        if not store.queue.active() and not store.queue.goes_on():
            raise Refused(["nothing is running or queued, so nothing will end"])
        store.notices.wish("queue", "", command)
    output.say("it will run once nothing is running or queued (paused runs do not count)")


def show_notices(workspace: Workspace, test: bool, as_json: bool) -> int:
    """Print who is told of what and what was told lately; with `test` tell everybody now. Returns 1 when that
    fails. Raises SettingsError."""
    config = load_notify_config(workspace.root)
    if test:
        return _test(workspace, config)
    recent: list[Notice] = []
    if has_database(workspace):
        with open_existing(workspace) as store:
            recent = store.notices.recent(RECENT)
    if as_json:
        records = [{name: getattr(one, name) for name in Notice.__slots__} for one in recent]
        settings = {channel: shown_target(channel, config) for channel in CHANNELS}
        about = {"about": list(config.scopes), "terminal": config.terminal}
        print_json({"settings": settings | about, "notices": records})
        return 0
    for channel in CHANNELS:
        output.say(f"{channel:8} {shown_target(channel, config) or '-'}")
    output.say(f"{'about':8} {', '.join(config.scopes)}")
    output.say(f"{'terminal':8} {'bell and notification' if config.terminal else 'nothing'}")
    if not config.channels:
        notices.say(
            f"nobody is notified; url, mail and command in [notify] of {workspace.root / FILE_NAME} say whom"
        )
    if recent:
        output.say()
        output.say(_table(recent, time.time(), output.table_width))
    return 0


def shown_target(channel: str, config: NotifyConfig) -> str:
    """Where a channel leads, without what may be secret in a URL."""
    if channel == "url" and config.url:
        parts = urlsplit(config.url)
        return f"{parts.scheme}://{parts.hostname}/…"
    return str(getattr(config, channel))


def _test(workspace: Workspace, config: NotifyConfig) -> int:
    from engine.agent.message import EndMessage
    from engine.agent.teller import tell_by

    if not config.channels:
        raise Refused(
            [f"{workspace.root / FILE_NAME}: names nobody to notify; set url, mail or command in [notify]"]
        )
    text = "this is a test of seg-engine"
    folder = os.fspath(workspace.root)
    message = EndMessage(text, {"scope": "test", "workspace": folder, "text": text})
    failed = 0
    for channel in config.channels:
        problem = tell_by(channel, "", config, message, folder)
        output.say(f"{channel:8} {problem or 'told'}")
        failed += bool(problem)
    return int(failed > 0)


def _table(recent: list[Notice], now: float, width: int | None) -> Text:
    columns = [
        Column("ended", [one.scope for one in recent]),
        Column("which", [one.subject or "-" for one in recent]),
        Column("told by", [f"{one.channel} (--on-end)" if one.target else one.channel for one in recent]),
        Column("state", [one.state for one in recent]),
        Column("age", [age(now - one.made_at) for one in recent], right=True),
        Column("problem", [one.problem or "-" for one in recent], least=20),
    ]
    return text_table(columns, width)
