"""Place of the run screen."""

from __future__ import annotations

from textual.screen import Screen


class RunScreen(Screen[None]):
    """To be written."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
