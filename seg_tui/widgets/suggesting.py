"""Completion of a field's text by words that the engine knows: too many for choices in a line."""

from __future__ import annotations

from textual.suggester import Suggester

from engine.config.described import ConfigKey


class WordSuggester(Suggester):
    """Completes a text with the first of a key's words that begins so. What contains the text elsewhere is
    named below the field, with what is wrong with it."""

    def __init__(self, about: ConfigKey) -> None:
        super().__init__(case_sensitive=False)
        self._about = about

    async def get_suggestion(self, value: str) -> str | None:
        begun = (word for word in self._about.suggestions if word.lower().startswith(value))
        return next(begun, None) if value else None
