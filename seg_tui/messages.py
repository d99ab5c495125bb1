"""What threads tell the app."""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message

DraftKey = tuple[str, tuple[str, ...]]
"""What somebody types, such as `note`, `tag` or `rename`, and the ids of the runs that it is for."""


class ActionEnded(Message):
    """An action came to its end: `line` says what became of it, or why it was not done. `draft` names the
    words of `SegTui.drafts` that it was to keep and did not."""

    def __init__(self, line: str, refused: bool, draft: DraftKey | None = None) -> None:
        super().__init__()
        self.line, self.refused, self.draft = line, refused, draft


class WordsRead(Message):
    """Words that a question needs, for those who asked for them; `asked` is that of `hold_keys`."""

    def __init__(self, words: str, then: Callable[[str], None], asked: object) -> None:
        super().__init__()
        self.words, self.then, self.asked = words, then, asked
