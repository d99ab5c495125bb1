"""Names in less room than they need, so that those made alike can still be told apart.

`sweep` calls its runs "quick lr=0.01 seed=1", "quick lr=0.01 seed=2": what differs stands at the end, which
is what a cut at the end takes away. The sections of keys go first, of all names at once: "optimizer.lr=0.01"
is "lr=0.01". Names are then taken as tokens, and all names together as a tree of tokens: where it branches, a
name needs its token; elsewhere the token may give way to "…".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size

_TOKEN = re.compile(r"\s*[^\s=]+=\S+?(?=[-,/][^\W\d]|\s|$)|[\s_/.,:-]*[^\s_/.,:=-]+|.", re.DOTALL)
"""KEY=VALUE, or a word with the separators before it. Keys may also follow each other without blanks, as in
"lr=0.01-seed=2"."""

_BEGIN = r"(?:(?<!\S)|(?<=[-,/]))"
_SECTION = re.compile(_BEGIN + r"(?:\w+\.)+(?=\w+=)")
_KEY = re.compile(_BEGIN + r"(\w+)=")

_CHANGES = re.compile(r"(?:(?:^|\s+)[\w-]+=\S+)+$")

_SEPARATORS = " _/.,:-"
_END = ""
_CUT = "…"


def without_sections(name: str) -> str:
    """The name without the sections of its keys, as it is where two keys would then be called alike.

    >>> without_sections("unet optimizer.lr=0.01 seed=2")
    'unet lr=0.01 seed=2'
    """
    if "=" not in name or "." not in name:
        return name
    brief = _SECTION.sub("", name)
    keys = _KEY.findall(brief)
    return brief if len({*keys}) == len(keys) else name


class _Node(dict[str, "_Node"]):
    """What may follow a token; `_END` where a name ends."""


class ShortNames:
    """Some names, each of which can be had for a width.

    >>> names = ShortNames(["quick lr=0.01 seed=1", "quick lr=0.01 seed=2", "quick lr=0.1 seed=1"])
    >>> names.fit("quick lr=0.01 seed=2", 17)
    'qu…lr=0.01 seed=2'
    >>> names.fit("quick lr=0.01 seed=2", 8)
    '…0.01 2'
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._root = _Node()
        self._names: set[str] = set()
        self._pending: set[str] = set()
        self._made: dict[tuple[str, int], str] = {}
        self._owners: dict[str, str] = {}
        self._clashing: set[str] = set()
        self._changes: Counter[str] = Counter()
        self._longest = 0
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Know another name, from which the others are to be told. Costs nothing until one has to be cut."""
        if name not in self._names:
            self._names.add(name)
            self._pending.add(name)
            self._longest = max(self._longest, _width(name))
            self._made.clear()

    def fit(self, name: str, width: int) -> str:
        """The name in at most `width` cells; whole where there is room."""
        if self._longest <= width >= _width(name):
            return name
        made = self._made.get((name, width))
        if made is None:
            made = self._made[name, width] = self._fit(name, width)
        return made

    def _fit(self, name: str, width: int) -> str:
        self._grow()
        brief = without_sections(name)
        if brief not in self._clashing:
            name = brief
        if _width(name) <= width:
            return name
        if short := self._only_changes(name, width):
            return short
        tokens, needed, alike = self._path(name)
        if not any(needed):
            return _middle(name, width)
        text = _joined(tokens, needed)
        if cell_len(text) > width:
            return _cut_down(tokens, needed, alike, width)
        shown = list(needed)
        for place in range(len(tokens)):
            more = [*shown[:place], True, *shown[place + 1 :]]
            if cell_len(longer := _joined(tokens, more)) <= width:
                shown, text = more, longer
        return _with_head(tokens, shown, width) or text

    def _only_changes(self, name: str, width: int) -> str:
        """The changes at the end of a name in which no other one ends, with what there is room for before
        them; "" for a name that has none, or too many."""
        found = _CHANGES.search(name)
        if found is None or self._changes[found[0].strip()] != 1:
            return ""
        changes = found[0].strip()
        room = width - cell_len(changes) - 1
        return set_cell_size(name[: found.start()], room).rstrip() + _CUT + changes if room >= 0 else ""

    def _grow(self) -> None:
        for name in self._pending:
            brief = without_sections(name)
            owner = self._owners.setdefault(brief, name)
            if owner != name:
                self._clashing.add(brief)
            if found := _CHANGES.search(brief):
                self._changes[found[0].strip()] += 1
            for form in (brief,) if owner == name else (owner, name):
                node = self._root
                for token in _TOKEN.findall(form):
                    node = node.setdefault(token, _Node())
                node[_END] = _Node()
        self._pending.clear()

    def _path(self, name: str) -> tuple[list[str], list[bool], list[list[str]]]:
        """The tokens of a name, which of them it needs, and what else may stand in the place of each."""
        tokens, needed, alike = _TOKEN.findall(name), [], []
        node = self._root
        for token in tokens:
            others = [other for other in node if other != token]
            needed.append(bool(others))
            alike.append(others)
            node = node.get(token, _Node())
        return tokens, needed, alike


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def _joined(tokens: list[str], shown: list[bool]) -> str:
    """The shown tokens, each stretch of hidden ones as one sign."""
    text = ""
    for token, show in zip(tokens, shown, strict=True):
        if show:
            text += token.lstrip(_SEPARATORS) if text.endswith(_CUT) or not text else token
        elif not text.endswith(_CUT):
            text += _CUT
    return text.replace(_CUT * 2, _CUT)


def _with_head(tokens: list[str], shown: list[bool], width: int) -> str:
    """With as much of the first hidden token as there is room for; "" where there is none."""
    if False not in shown:
        return ""
    place = shown.index(False)
    before, after = "".join(tokens[:place]), _joined(tokens[place:], shown[place:])
    room = width - cell_len(before) - cell_len(after)
    head = set_cell_size(tokens[place], room).rstrip() if room > 0 else ""
    return before + head + after if head.strip(_SEPARATORS) else ""


def _cut_down(tokens: list[str], needed: list[bool], alike: list[list[str]], width: int) -> str:
    """Of the needed tokens no more than tells them apart, with as many letters around that as fit."""
    text = ""
    for keys, values in ((True, True), (False, True), (False, False)):
        for around in (16, 8, 4, 2, 1):
            brief = [
                _brief(token, others, around, keys, values) if need else token
                for token, need, others in zip(tokens, needed, alike, strict=True)
            ]
            text = _joined(brief, needed)
            if cell_len(text) <= width:
                return text
    return _middle(text.replace(_CUT, ""), width)


def _brief(token: str, others: list[str], around: int, keys: bool, values: bool) -> str:
    """A token with the letters around the first one that tells it from the others; of KEY=VALUE, where all
    have that key, with or without the key and all of the value."""
    others = [other for other in others if other]
    key, equals, value = token.partition("=")
    if equals and all(other.startswith(key + equals) for other in others):
        told = value if values else _around(value, [other[len(key) + 1 :] for other in others], around)
        return f"{key}={told}" if keys else f" {told}"
    return _around(token, others, around)


def _around(text: str, others: list[str], letters: int) -> str:
    shared = max((_shared(text, other) for other in others), default=0)
    first, end = max(0, shared + 1 - letters), shared + letters
    brief = (_CUT if first else "") + text[first:end] + (_CUT if end < len(text) else "")
    return brief if cell_len(brief) < cell_len(text) else text


def _shared(one: str, other: str) -> int:
    """How many letters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _middle(text: str, width: int) -> str:
    """Cut in the middle; more is left of the end, which is where names differ."""
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return _CUT[:width]
    head = (width - 1) // 3
    tail = width - 1 - head
    start = len(text)
    while start > 0 and cell_len(text[start - 1 :]) <= tail:
        start -= 1
    return set_cell_size(text, head).rstrip() + _CUT + text[start:]
