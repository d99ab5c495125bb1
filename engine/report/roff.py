"""Manual pages in the language of man(7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Entry = tuple[str, str]
"""A word, such as an option, and what it means."""


@dataclass(frozen=True)
class Topic:
    """A part of a page below its own head: a text, then words with what they mean."""

    head: str
    text: str = ""
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of a page: a text, words with what they mean, topics."""

    title: str
    text: str = ""
    entries: tuple[Entry, ...] = ()
    topics: tuple[Topic, ...] = ()


def manual_page(program: str, version: str, what: str, synopsis: str, sections: Iterable[Section]) -> str:
    """The page of a program in section 1; `what` it is, in a line. The same help gives the same page: it has
    no date."""
    lines = [
        f'.TH {escaped(program.upper())} 1 "" "seg\\-engine {escaped(version)}" "User Commands"',
        ".SH NAME",
        f"{escaped(program)} \\- {escaped(what)}",
        ".SH SYNOPSIS",
        f".B {escaped(program)}",
        *_text(synopsis),
    ]
    for section in sections:
        lines += [f".SH {escaped(section.title.upper())}", *_text(section.text), *_entries(section.entries)]
        for topic in section.topics:
            lines += [f'.SS "{escaped(topic.head)}"', *_text(topic.text), *_entries(topic.entries)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text that is printed as it is, with hyphens that can be searched for and pasted."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")


def _text(text: str) -> list[str]:
    """Paragraphs, between which there is an empty line."""
    lines: list[str] = []
    for paragraph in filter(None, (" ".join(part.split()) for part in text.split("\n\n"))):
        lines += [*([".PP"] if lines else []), _line(paragraph)]
    return lines


def _entries(entries: Iterable[Entry]) -> list[str]:
    lines: list[str] = []
    for word, meaning in entries:
        lines += [".TP", f"\\fB{escaped(word)}\\fR", _line(" ".join(meaning.split()))]
    return lines


def _line(text: str) -> str:
    """A line that is text, whatever it begins with; an apostrophe is escaped already."""
    return f"\\&{escaped(text)}" if text.startswith(".") else escaped(text)
