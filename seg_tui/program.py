"""The program `seg-tui`: the dashboard in this terminal, or for a browser."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineError
from engine.exits import tell
from engine.starting import importing
from engine.typed import typed, typed_with
from engine.visible import guard_streams, one_line
from engine.workspace import Workspace, find_workspace
from seg_tui.first_look import FirstLook

if TYPE_CHECKING:
    from seg_tui.app import SegTui
    from seg_tui.live import Snapshot

DEMO = Path("seg-demo")
"""The workspace of `--demo`, where no other is named."""

BROWSER = "in a browser"
"""What the options of `--web` are called together."""


class CannotOpen(EngineError):
    """The dashboard cannot be opened here; the message is one line."""


def main() -> None:
    """The console script."""
    guard_streams()
    options = command_line_parser().parse_args()
    if options.version:
        from importlib.metadata import version

        print(f"seg-tui {version('seg-engine')}")
        return
    try:
        if options.folder is not None and options.workspace is not None:
            raise CannotOpen(f"{options.folder}: --workspace names the folder already; give one of them")
        chosen = options.folder or options.workspace or (DEMO if options.demo else None)
        typed_with(chosen)
        workspace = find_workspace(chosen)
        if options.demo:
            _make_folder(workspace.root)
        if not workspace.root.is_dir():
            raise CannotOpen(
                f"{workspace.root}: no such folder; a workspace holds the runs and their database"
            )
        _refuse_without_web(options)
        for plugin in options.plugin:
            from engine.plugins import load_plugin

            load_plugin(plugin)
        if options.read_only:
            from seg_tui.stores import unchanged

            workspace = unchanged(workspace)
            _refuse_other_version(workspace)
        if options.web:
            from seg_tui.web import Served, serve

            where = (options.host, options.port, options.allow_remote)
            serve(workspace, Served(options.plugin, options.read_only, *where))
            return
        app = open_dashboard(workspace, options.demo)
        app.run()
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(tell(error))
    finally:
        typed_with(None)
    for message in app.untold:
        print(message.line, file=sys.stderr)
    for (what, ids), text in app.drafts.items():
        from seg_tui.commands import COMMANDS

        done = "done" if what in COMMANDS else "saved"
        print(f"the {what} of {' '.join(ids)} was not {done}: {text!r}", file=sys.stderr)
    if app.fault is not None:
        sys.exit(tell(app.fault))
    if (alive := goes_on(app.snapshot)) and not in_browser():
        print(alive, file=sys.stderr)


def command_line_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seg-tui",
        description="The dashboard: starts runs, follows them, compares them. Quitting stops none.",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="the workspace, as with --workspace"
    )
    parser.add_argument(
        "-w",
        "--workspace",
        type=Path,
        metavar="DIR",
        help="folder with experiments.db, runs/ and cache/ (default: $SEG_WORKSPACE, else this folder)",
    )
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.py",
        help="a Python file with your own components; repeatable",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="make demo data, train on it, and show around; the workspace is seg-demo/ unless one is named",
    )
    parser.add_argument("--read-only", action="store_true", help="offer nothing that changes anything")
    web = parser.add_argument_group(BROWSER)
    web.add_argument("--web", action="store_true", help="serve the dashboard to a browser on this machine")
    web.add_argument("--port", type=int, metavar="N", help="port (default: a free one)")
    web.add_argument("--host", metavar="HOST", help="address to listen on (default: 127.0.0.1)")
    web.add_argument("--allow-remote", action="store_true", help="allow a --host that others can reach")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def open_dashboard(workspace: Workspace, demo: bool = False) -> SegTui:
    """The dashboard for this terminal or, where this program is started by a web server, for its browser.

    Raises CannotOpen where there is neither."""
    if not in_browser() and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CannotOpen(f"seg-tui needs a terminal; `{typed('runs')}` prints into pipes and files")
    first_look = FirstLook(workspace)
    with importing():
        from seg_tui.app import SegTui
    app = SegTui(workspace, demo=demo, first_look=first_look)
    if not in_browser():
        app.open_graphics()
    return app


def in_browser() -> bool:
    """Whether what is drawn goes to a browser, as Textual's variable says."""
    return os.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")


def goes_on(snapshot: Snapshot) -> str:
    """Which runs go on when one quits, in a line; "" when none does."""
    from engine.report.waiting import UNDER_WAY, waits_of  # the first look begins before such imports

    active = [run for run in snapshot.runs.values() if run.status in UNDER_WAY]
    queued = sum(wait.place is not None for wait in waits_of(snapshot.runs, snapshot.workspace).values())
    if not active and not queued:
        return ""
    parts = [f"{len(active)} running ({', '.join(run.name for run in active[:3])})"] if active else []
    parts += [f"{queued} queued"] if queued else []
    waits = "; no agent is there to start what is queued" if snapshot.unattended else ""
    return one_line(f"runs go on without the dashboard: {', '.join(parts)}{waits}")


def _make_folder(folder: Path) -> None:
    """Raises CannotOpen where a folder can be neither used nor made."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CannotOpen(f"{folder}: cannot be made for the demo: {error.strerror}") from error


def _refuse_other_version(workspace: Workspace) -> None:
    """Raises OtherVersion for a database that would have to be changed before it can be looked at. Any other
    trouble with it is told by the dashboard, and may pass."""
    from engine.store import StoreError
    from engine.store.errors import OtherVersion

    try:
        workspace.open_store(timeout=1.0).close()
    except OtherVersion:
        raise
    except StoreError:
        pass


def _refuse_without_web(options: argparse.Namespace) -> None:
    """Raises CannotOpen for options of the server without it."""
    given = [name for name in ("port", "host", "allow_remote") if getattr(options, name)]
    if given and not options.web:
        raise CannotOpen(f"--{given[0].replace('_', '-')}: is for --web")
    if options.demo and (options.web or options.read_only):
        raise CannotOpen("--demo: makes runs in this terminal; use it without --web and --read-only")
