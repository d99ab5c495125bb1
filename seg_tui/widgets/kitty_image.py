"""An image in Kitty's protocol that goes to the terminal once, however often the layout is done anew."""

from __future__ import annotations

from textual.app import RenderResult
from textual_image.renderable import TGPImage as Sent
from textual_image.widget import TGPImage


class KittyImage(TGPImage, Renderable=Sent):
    """Textual renders a widget again for every layout around it, and textual-image would send it again; the
    terminal has it by its number as long as image and size are the same."""

    _sent_size: tuple[object, object] | None = None

    def render(self) -> RenderResult:
        size = self._get_styled_size()
        if self._renderable is not None and size == self._sent_size:
            return self._renderable
        self._sent_size = size
        return super().render()
