"""What the preview's threads have to say."""

from __future__ import annotations

from textual.message import Message

from seg_tui.preview.galleries import Ranking, RunGallery
from seg_tui.preview.studio import Shown


class GalleriesFound(Message):
    """What the runs have to show; `problem` is the store's word when one cannot be looked up."""

    def __init__(self, galleries: tuple[RunGallery, ...], problem: str = "") -> None:
        super().__init__()
        self.galleries, self.problem = galleries, problem

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, GalleriesFound)


class PicturesDrawn(Message):
    """A view is ready to be seen."""

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.shown = shown

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, PicturesDrawn)


class SamplesRanked(Message):
    """All samples of some runs are scored."""

    def __init__(self, rankings: tuple[Ranking, ...]) -> None:
        super().__init__()
        self.rankings = rankings
