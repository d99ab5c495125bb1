"""Code of other people: what installed packages offer, and the place in it that an error came from."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.components.origin import ComponentError, Origin, registering


def load_entry_points(group: str, broken: dict[str, str]) -> None:
    """Import what installed packages offer in a group; what fails goes into `broken` with its reason."""
    for entry in _offered().select(group=group):
        origin = Origin("package", _distribution(entry))
        _packages.add(entry.module.partition(".")[0])
        try:
            with registering(origin):
                entry.load()
        except (Exception, SystemExit) as error:
            place = place_in(error, outside_code())
            broken[entry.name] = ": ".join(filter(None, (str(origin), place, one_line(error))))


_packages: set[str] = set()
"""The packages of other people that offer components."""


def outside_code() -> list[Path]:
    """The folders of installed packages that offer components, and the files of single modules."""
    places: list[str] = []
    for name in sorted(_packages):
        with suppress(ImportError, ValueError):
            spec = find_spec(name)
            places += (spec.submodule_search_locations or [spec.origin or ""]) if spec is not None else ()
    return [Path(place) for place in places if place]


def place_in(error: BaseException | None, code: Collection[Path]) -> str:
    """FILE:LINE of the last line in these files and folders that took part in an error; "" when none did."""
    led_to_it: set[int] = set()
    while error is not None and id(error) not in led_to_it:
        led_to_it.add(id(error))
        if isinstance(error, SyntaxError) and error.filename and _is_in(error.filename, code):
            return f"{error.filename}:{error.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if _is_in(frame.filename, code):
                return f"{frame.filename}:{frame.lineno}"
        error = error.__cause__ or error.__context__
    return ""


def _is_in(file: str, code: Collection[Path]) -> bool:
    return any(place in code for place in (Path(file), *Path(file).parents))


@cache
def _offered() -> Any:
    """The entry points of all installed packages, which are read for several groups at each start; their type
    depends on Python's version."""
    return entry_points()


def defined_in(component: type) -> str:
    """Where a class is to be looked up: its module within seg-engine, FILE:LINE outside."""
    if component.__module__.startswith("engine."):
        return component.__module__
    try:
        return f"{inspect.getfile(component)}:{inspect.getsourcelines(component)[1]}"
    except (OSError, TypeError):  # made without a file
        return component.__module__


def one_line(error: BaseException) -> str:
    """An error's own words on one line; its type where the words alone would say little."""
    words = " ".join(str(error).split())
    if isinstance(error, ComponentError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
