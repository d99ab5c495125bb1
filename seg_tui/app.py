"""seg-tui: the dashboard. Starts runs, follows them, compares them, shows what they predict.

It writes intentions into the database and reads snapshots of it, as `seg-engine` does; agents and workers
do the work in processes of their own. Leaving it, or losing it, stops no run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import App
from textual.reactive import reactive

from engine.workspace import Workspace, find_workspace
from seg_tui.live import Live, Snapshot, SnapshotTaken, StoreRecovered, StoreTroubled


class SegTui(App[None]):
    """The app: owns the snapshot of all runs, and the way from screen to screen."""

    TITLE = "seg-tui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True

    snapshot: reactive[Snapshot] = reactive(Snapshot, init=False)
    """All runs as they are now. Screens `watch(self.app, "snapshot", ...)`."""
    trouble: reactive[str] = reactive("", init=False)
    """A line on why the database cannot be read, empty when it can."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.live = Live(workspace, self.post_message)

    def on_mount(self) -> None:
        self.sub_title = str(self.workspace.root)
        self.show_dashboard()
        self.live.start()

    def on_unmount(self) -> None:
        self.live.stop()

    @on(SnapshotTaken)
    def keep_snapshot(self, message: SnapshotTaken) -> None:
        self.snapshot = message.snapshot

    @on(StoreTroubled)
    def tell_trouble(self, message: StoreTroubled) -> None:
        self.trouble = message.problem

    @on(StoreRecovered)
    def forget_trouble(self) -> None:
        self.trouble = ""

    # ------------------------------------------------------------------ from screen to screen

    def show_dashboard(self) -> None:
        from seg_tui.screens.dashboard import Dashboard

        self.push_screen(Dashboard())

    def show_run(self, run_id: str) -> None:
        from seg_tui.screens.run import RunScreen

        self.push_screen(RunScreen(run_id))

    def show_comparison(self, run_ids: Sequence[str]) -> None:
        """Compare two to twelve runs."""
        from seg_tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(tuple(run_ids)))

    def show_predictions(self, run_ids: Sequence[str]) -> None:
        """Show the gallery of one run, or of some side by side."""
        from seg_tui.screens.preview import PreviewScreen

        self.push_screen(PreviewScreen(tuple(run_ids)))

    def show_launch(self, like: str | None = None) -> None:
        """A form for a new run; with `like` it begins with the config of that run."""
        from seg_tui.screens.launch import LaunchScreen

        self.push_screen(LaunchScreen(like))


def main() -> None:
    """The console script."""
    parser = argparse.ArgumentParser(prog="seg-tui", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-w",
        "--workspace",
        type=Path,
        metavar="DIR",
        help="folder of experiments.db, runs/ and cache/ (default: SEG_WORKSPACE, else this folder)",
    )
    parser.add_argument("--version", action="version", version=f"seg-tui {version('seg-engine')}")
    options = parser.parse_args()
    workspace = find_workspace(options.workspace)
    problem = _why_not(workspace)
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    SegTui(workspace).run()


def _why_not(workspace: Workspace) -> str:
    """Why the dashboard cannot be opened here, in a line; empty when it can."""
    if not workspace.root.is_dir():
        return f"{workspace.root}: no such folder; a workspace is where runs and database lie"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return "seg-tui needs a terminal; `seg-engine runs` prints into pipes and files"
    return ""
