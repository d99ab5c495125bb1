"""Place of the dashboard screen."""

from __future__ import annotations

from textual.screen import Screen


class Dashboard(Screen[None]):
    """To be written."""
