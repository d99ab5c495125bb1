"""The keys that count on a screen, for help and palette: those that this program binds, each action once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

TEXTUALS_OWN = ("app.focus_next", "app.focus_previous")
"""Actions of Textual's that are told of; the rest of what it binds is how one edits and scrolls anywhere."""

Section = tuple[str, list[tuple[str, str]]]
"""A title, and below it keys as they are shown with what they do."""


@dataclass(frozen=True)
class Key:
    """What `action` does and which keys do it: `key` is one of them, `shown` is all as people read them.
    `moves` says that it only moves about, as arrows do: it has neither a place in the footer nor an
    explanation."""

    action: str
    key: str
    shown: str
    name: str
    meaning: str
    node: DOMNode
    moves: bool


def keys_of(app: App[Any], screen: Screen[Any]) -> list[Key]:
    """The keys that work on a screen now, those of what has the focus first."""
    bindings: dict[str, list[tuple[DOMNode, Binding]]] = {}
    for node, binding in _told(app, screen):
        bindings.setdefault(binding.action, []).append((node, binding))
    found = []
    for action, same in bindings.items():
        node, first = same[0]
        shown = " ".join(dict.fromkeys(_alone(app.get_key_display(binding)) for _, binding in same))
        meaning = first.tooltip or first.description
        moves = not first.show and not first.tooltip
        found.append(Key(action, first.key, shown, first.description, meaning, node, moves))
    return found


def key_sections(app: App[Any], screen: Screen[Any]) -> list[Section]:
    """The keys of a screen, then those of what has the focus, then those that are the same everywhere."""
    sections: dict[str, list[tuple[str, str]]] = {"Keys": [], "Where the cursor is": [], "Everywhere": []}
    for key in keys_of(app, screen):
        if key.node is app or key.action in TEXTUALS_OWN:
            title = "Everywhere"
        else:
            title = "Keys" if key.node is screen else "Where the cursor is"
        sections[title].append((key.shown, sentence(key.meaning)))
    return [(title, keys) for title, keys in sections.items() if keys]


def sentence(words: str) -> str:
    """The words with a capital at the beginning."""
    return words[:1].upper() + words[1:]


def _told(app: App[Any], screen: Screen[Any]) -> Iterator[tuple[DOMNode, Binding]]:
    for active in screen.active_bindings.values():
        node, binding = active.node, active.binding
        is_ours = binding.action in TEXTUALS_OWN or _declares(node, binding.action)
        if active.enabled and binding.description and is_ours:
            yield node, binding


def _alone(shown: str) -> str:
    """A key without the one of the opposite action, with which it stands in the footer: "[" of "[ ]"."""
    return shown.split()[0] if shown.strip() else shown


def _declares(node: DOMNode, action: str) -> bool:
    """Whether a class of this program binds the action, not one of Textual's that it is made of."""
    return any(
        isinstance(binding, Binding) and binding.action == action
        for kind in type(node).__mro__
        if kind.__module__.startswith("seg_tui.")
        for binding in vars(kind).get("BINDINGS", ())
    )
