"""An image in sixels that goes to the terminal once, however often the lines around it are drawn anew."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.dom import NoScreen
from textual.geometry import Region
from textual.strip import Strip
from textual_image.widget import SixelImage as SentAlways
from textual_image.widget.sixel import _ImageSixelImpl


class SixelImage(SentAlways, Renderable=SentAlways._Renderable):
    """textual-image sends all sixels whenever Textual draws a line that they reach, also for a clock above
    them. The terminal keeps what it shows until something else is written there."""

    def compose(self) -> ComposeResult:
        yield _SentOnce(self.image, self._sixel_options)


class _SentOnce(_ImageSixelImpl, can_focus=False, inherit_css=False):
    """The sixels of one image; another image is another widget."""

    _sent: tuple[object, ...] | None = None

    def on_mount(self) -> None:
        self.app.app_resume_signal.subscribe(self, lambda app: self._forget())

    def on_hide(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._sent = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """The sixels, or nothing where the terminal shows them already. What may have been written over them:
        a part of this widget that is drawn alone, a notice above it, another screen, a terminal that has
        another size or was left for a while."""
        try:
            is_active = self.screen.is_active
        except NoScreen:
            return []
        is_whole = crop.size == self.size and not self.app._notifications
        shown = (self.screen.stack_updates, self.app.size, self.region, crop, self.background_colors)
        if is_whole and is_active and shown == self._sent:
            return [Strip([])] * crop.height
        self._sent = shown if is_whole and is_active and self.image else None
        lines: list[Strip] = super().render_lines(crop)
        return lines
