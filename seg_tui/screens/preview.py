"""Place of the preview screen."""

from __future__ import annotations

from textual.screen import Screen


class PreviewScreen(Screen[None]):
    """To be written."""

    def __init__(self, run_ids: tuple[str, ...]) -> None:
        super().__init__()
