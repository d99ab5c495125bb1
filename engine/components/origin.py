"""Where a component comes from, known while the module that registers it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from engine.errors import EngineError


class ComponentError(EngineError, ValueError):
    """A component that cannot be used; the message is one line that names its file where there is one."""


@dataclass(frozen=True)
class Origin:
    """Where a component comes from: seg-engine itself, an installed package, or a single file.

    `source` is empty, "NAME VERSION" of the package, or the absolute path of the file, whose checksum is
    `sha256`.
    """

    kind: Literal["built-in", "package", "file"]
    source: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        return self.source or "seg-engine"


BUILT_IN = Origin("built-in")

_origin = BUILT_IN
"""The origin of whatever is being registered now. Registration happens while a module is imported, and Python
imports one module at a time."""


def current_origin() -> Origin:
    """Where what is registered now comes from."""
    return _origin


@contextmanager
def registering(origin: Origin) -> Iterator[None]:
    global _origin
    before, _origin = _origin, origin
    try:
        yield
    finally:
        _origin = before


def origin_of(registered: type | Callable[..., Any]) -> Origin:
    """The engine's own modules may be imported for the first time by code from outside."""
    return BUILT_IN if registered.__module__.partition(".")[0] == "engine" else _origin
