"""Place of the compare screen."""

from __future__ import annotations

from textual.screen import Screen


class CompareScreen(Screen[None]):
    """To be written."""

    def __init__(self, run_ids: tuple[str, ...]) -> None:
        super().__init__()
