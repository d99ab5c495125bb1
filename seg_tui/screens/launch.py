"""Place of the launch screen."""

from __future__ import annotations

from textual.screen import Screen


class LaunchScreen(Screen[None]):
    """To be written."""

    def __init__(self, like: str | None = None) -> None:
        super().__init__()
