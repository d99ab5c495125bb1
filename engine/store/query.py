"""The language in which people pick runs: terms, `and`, `or`, `not` and parentheses.

    dice>0.6 tag:night                     both hold
    status=failed or (tag:night and not name~debug)

A term is NAME OP VALUE, with OP one of = != > >= < <= ~; or tag:TAG; or a word. `and` may be left out and
binds closer than `or`. A blank, a parenthesis or one of the three words is part of a value within quotes:
name~"this or that". What terms mean is in `engine/store/filters.py`.

A filter comes as one text, or in words that a shell has split and freed of quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.store.errors import StoreError

OPERATORS = ("and", "or", "not")

_NAME = r"""[A-Za-z_]\w*(?:\.(?:[\w-]+|"[^"]*"|'[^']*'))*"""
_COMPARISON = re.compile(rf"({_NAME})\s*(!=|>=|<=|=|>|<|~)\s*", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """What a run must have: `name` compared by `operator` with `value`. A tag has the name "tag", a word that
    the name of the run contains the operator "". `text` is how it was typed."""

    name: str
    operator: str
    value: str
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Not:
    of: Query

    def __str__(self) -> str:
        return f"not {self.of}" if isinstance(self.of, Term | Not) else f"not ({self.of})"


@dataclass(frozen=True)
class And:
    parts: tuple[Query, ...]

    def __str__(self) -> str:
        return " ".join(f"({part})" if isinstance(part, Or) else str(part) for part in self.parts)


@dataclass(frozen=True)
class Or:
    parts: tuple[Query, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.parts))


Query = Term | Not | And | Or
_Token = Term | str
"""A term, a parenthesis or an operator."""


def parse(filters: Iterable[str]) -> Query | None:
    """What the words of a filter say together; None where there are none. Raises StoreError."""
    tokens: list[_Token] = []
    for word in filters:
        tokens += _of_word(word, tokens.count("(") > tokens.count(")"))
    return _parsed(tokens)


def parse_text(text: str) -> Query | None:
    """What a filter in one text says, quoted as for a shell; None where it is blank. Raises StoreError."""
    return _parsed(list(_tokens(text)))


def grouped(filters: Sequence[str]) -> list[str]:
    """The words of a filter to which others may be added that must hold, too."""
    return ["(", *filters, ")"] if filters else []


def conjuncts(query: Query | None) -> tuple[Query, ...]:
    """The parts of a filter that must all hold."""
    if query is None:
        return ()
    return query.parts if isinstance(query, And) else (query,)


def terms_of(query: Query | None) -> Iterator[Term]:
    match query:
        case Term():
            yield query
        case Not():
            yield from terms_of(query.of)
        case And() | Or():
            for part in query.parts:
                yield from terms_of(part)


# ---------------------------------------------------------------------- words and terms


def _of_word(word: str, in_group: bool) -> list[_Token]:
    """The tokens of a word that a shell has split: a filter of its own when it says more than one thing, else
    an operator, a parenthesis or one term, whose blanks and quotes are its own. A group that an earlier word
    has opened may end behind it."""
    stripped = word.strip()
    if not stripped:
        raise StoreError("an empty filter; write one such as dice>0.6, status=failed or tag:night")
    if stripped.lower() in OPERATORS or stripped in "()":
        return [stripped.lower()]
    if any(sign in stripped for sign in " \t\n()"):
        try:
            found = list(_tokens(stripped))
        except StoreError:
            if not stripped.startswith("("):
                return [_term(stripped, stripped)]
            raise
        several = sum(isinstance(token, Term) and token.operator != "" for token in found) > 1
        if several or any(isinstance(token, str) for token in found):
            return found
    if stripped.startswith("("):
        return ["(", *_of_word(stripped[1:], True)]
    if in_group and stripped.endswith(")") and stripped.count(")") > stripped.count("("):
        return [*_of_word(stripped[:-1], True), ")"]
    return [_term(stripped, stripped)]


def _tokens(text: str) -> Iterator[_Token]:
    place, depth = 0, 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        if text[place] in "()":
            depth += 1 if text[place] == "(" else -1
            yield text[place]
            place += 1
            continue
        begun = place
        if comparison := _COMPARISON.match(text, place):
            place = comparison.end()
        value, place = _value(text, place, depth > 0)
        typed = text[begun:place]
        if typed.lower() in OPERATORS:
            yield typed.lower()
        elif comparison:
            yield Term(_name(comparison[1]), comparison[2], value, typed)
        else:
            yield _term(value, typed)


def _value(text: str, place: int, in_group: bool) -> tuple[str, int]:
    """What stands at a place up to a blank, without its quotes, and where it ends. The parenthesis that
    closes the group is no part of it, those that it opens itself are."""
    value, depth = "", 0
    while place < len(text):
        sign = text[place]
        if sign in "\"'" and (end := text.find(sign, place + 1)) < 0:
            raise StoreError(f"{text}: a quote is not closed")
        if sign in "\"'":
            value += text[place + 1 : end]
            place = end + 1
            continue
        depth += (sign == "(") - (sign == ")")
        if sign.isspace() or (depth < 0 and in_group):
            break
        value += sign
        place += 1
    return value, place


def _term(text: str, typed: str) -> Term:
    """One term, with all that stands in it."""
    if text.startswith("tag:"):
        return Term("tag", "=", text.removeprefix("tag:").strip(), typed)
    if (comparison := _COMPARISON.match(text)) is None:
        return Term("name", "", text, typed)
    value = text[comparison.end() :]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return Term(_name(comparison[1]), comparison[2], value, typed)


def _name(typed: str) -> str:
    return typed.replace('"', "").replace("'", "")


# ---------------------------------------------------------------------- what they say together


def _parsed(tokens: list[_Token]) -> Query | None:
    if not tokens:
        return None
    query, rest = _either(tokens, 0)
    if rest < len(tokens):
        raise StoreError("a parenthesis is closed that was not opened; quote it where it is part of a value")
    return query


def _either(tokens: list[_Token], place: int) -> tuple[Query, int]:
    parts = []
    while True:
        part, place = _all(tokens, place)
        parts.append(part)
        if place >= len(tokens) or tokens[place] != "or":
            return (parts[0] if len(parts) == 1 else Or(tuple(parts))), place
        place += 1


def _all(tokens: list[_Token], place: int) -> tuple[Query, int]:
    parts: list[Query] = []
    while place < len(tokens) and tokens[place] not in ("or", ")"):
        if tokens[place] == "and" and parts:
            place += 1
        part, place = _one(tokens, place)
        parts += part.parts if isinstance(part, And) else [part]
    if not parts:
        before = f"behind {tokens[place - 1]!r}" if place else "at the beginning"
        raise StoreError(f"the filter lacks a term {before}; write one such as dice>0.6")
    return (parts[0] if len(parts) == 1 else And(tuple(parts))), place


def _one(tokens: list[_Token], place: int) -> tuple[Query, int]:
    token = tokens[place] if place < len(tokens) else ""
    match token:
        case Term():
            return token, place + 1
        case "not":
            inner, place = _one(tokens, place + 1)
            return Not(inner), place
        case "(":
            inner, place = _either(tokens, place + 1)
            if place >= len(tokens):
                raise StoreError("a parenthesis is not closed; quote it where it is part of a value")
            return inner, place + 1
    raise StoreError(f"the filter lacks a term behind {tokens[place - 1]!r}; write one such as dice>0.6")
