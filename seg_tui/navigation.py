"""The way from screen to screen. A screen is imported when it is first opened: the app starts faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seg_tui.app import SegTui


class Navigation:
    """Opens screens over the one that is shown."""

    def __init__(self, app: SegTui) -> None:
        self._app = app

    def dashboard(self) -> None:
        from seg_tui.screens.dashboard import Dashboard

        self._app.push_screen(Dashboard(self._app.now))

    def welcome(self, demo: bool = False) -> None:
        """What to do in an empty workspace; after the demo began, watch it. With `demo` it begins at once,
        with the tour."""
        from seg_tui.screens.welcome import Welcome

        self._app.push_screen(Welcome(demo), self._put_cursor)

    def settings(self) -> None:
        from seg_tui.screens.settings import SettingsScreen

        self._app.push_screen(SettingsScreen())

    def help(self) -> None:
        """The keys of the screen that is shown."""
        from seg_tui.keys import key_sections
        from seg_tui.screens import help
        from seg_tui.screens.dashboard import Dashboard
        from seg_tui.screens.launch import LaunchScreen

        shown = self._app.screen
        topics: list[tuple[str, help.Body]] = []
        if isinstance(shown, Dashboard):
            topics = [("Filter", help.FILTER_HELP), ("Statuses", help.STATUS_HELP)]
        elif isinstance(shown, LaunchScreen):
            topics = [("The form", help.FORM_HELP)]
        self._app.push_screen(help.HelpScreen(key_sections(self._app, shown), topics))

    def log(self, run_id: str) -> None:
        from seg_tui.screens.log import LogScreen

        run = self._app.snapshot.runs.get(run_id)
        folder = self._app.workspace.run_dir(run_id)
        self._app.push_screen(LogScreen(folder, run.name if run else run_id))

    def run(self, run_id: str) -> None:
        from seg_tui.screens.run import RunScreen

        self._app.push_screen(RunScreen(run_id))

    def comparison(self, run_ids: Sequence[str]) -> None:
        """Compare two to twelve runs."""
        from seg_tui.screens.compare import CompareScreen

        self._app.push_screen(CompareScreen(tuple(run_ids)))

    def explanation(self, run_ids: Sequence[str]) -> None:
        """What made some of these runs better."""
        from seg_tui.screens.explain import ExplainScreen

        self._app.push_screen(ExplainScreen(tuple(run_ids)))

    def predictions(self, run_ids: Sequence[str]) -> None:
        """Show the gallery of one run, or of some side by side."""
        from seg_tui.screens.preview import PreviewScreen

        self._app.push_screen(PreviewScreen(tuple(run_ids)))

    def launch(self, like: str | None = None) -> None:
        """Open the form for a new run; with `like` it begins with the config of that run."""
        from seg_tui.screens.launch import LaunchScreen

        self._app.push_screen(LaunchScreen(like), self._put_cursor)

    def _put_cursor(self, run_id: str | None) -> None:
        """Put the dashboard's cursor on a run that was just made."""
        from seg_tui.screens.dashboard import Dashboard

        for screen in self._app.screen_stack:
            if run_id and isinstance(screen, Dashboard):
                screen.table.put_cursor(run_id)
