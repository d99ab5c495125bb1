"""Views of the table of runs that people keep: columns, filter, order and grouping, a TOML file each.

A person's own are in `$XDG_CONFIG_HOME/seg-engine/views` (`~/.config` where that is not set), those of
everybody in the folder `views` of the workspace. Of two with the same name the person's own counts. The one
called `default` is how the dashboard opens. A file is shared by giving it away.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.host.input_files import InputFileError, read_toml
from engine.run.files import expanded, replacing
from engine.store.errors import StoreError
from engine.store.query import parse_text
from engine.workspace import Workspace

DEFAULT = "default"

TABLE_COLUMNS = (
    *("id", "status", "name", "task", "experiment", "recipe", "progress", "best", "last", "miou"),
    *("epoch", "speed", "age", "device"),
)
"""Columns of the tables of runs; all names that filters know are columns besides."""

GROUPINGS = ("", "experiment", "variant")

SORTED_BY = {
    "best": "best_dice",
    "last": "last_dice",
    "miou": "best_miou",
    "speed": "images_per_second",
    "age": "created_at",
    "progress": "epoch",
}
"""By which name filters know what a column sorts by, where that has another."""

NO_HOME = "no home folder is known to keep it in; set HOME or XDG_CONFIG_HOME"
"""Why a person can have no views of their own."""

_NAME = re.compile(r"[\w][\w .+-]{0,59}")


class ViewError(EngineError):
    """A view cannot be read or kept; the message is one line."""


@dataclass(frozen=True)
class View:
    """How a table of runs is shown. `columns` () are the usual ones; `filter` is one text as a shell would
    take it; `sort` a name that filters know, falling with "-" before it, "" for the usual order; `group` one
    of GROUPINGS, which only the dashboard heeds."""

    columns: tuple[str, ...] = ()
    filter: str = ""
    sort: str = ""
    group: str = ""

    def told(self) -> str:
        """What it has, in a line."""
        parts = (
            self.filter,
            f"sorted by {self.sort}" if self.sort else "",
            f"by {self.group}" if self.group else "",
            " ".join(self.columns),
        )
        return "  ·  ".join(part for part in parts if part)


def sort_key(sort: str) -> str:
    """An order by a column of the table as filters know it: "-best" is "-best_dice"."""
    name = sort.removeprefix("-")
    return sort[: sort.startswith("-")] + SORTED_BY.get(name, name)


def folders(workspace: Workspace) -> tuple[Path | None, Path]:
    """Where a person's own views are, None for a person without a home, and those of the workspace."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    home = config if config.startswith("/") else os.path.expanduser("~/.config")
    own = Path(home, "seg-engine", "views") if home.startswith("/") else None
    return own, workspace.root / "views"


def named_views(workspace: Workspace) -> dict[str, Path]:
    """The views that there are, by name; their files may hold anything."""
    found: dict[str, Path] = {}
    for folder in reversed(folders(workspace)):
        if folder and os.path.isdir(folder):  # not so where somebody else's home is closed
            found |= {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return dict(sorted(found.items()))


def find_view(workspace: Workspace, name: str) -> View:
    """The view of a name, or of a file. Raises ViewError."""
    if name.endswith(".toml") or "/" in name:
        return read_view(Path(name))
    known = named_views(workspace)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        there = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
        raise ViewError(f"{name}: is not a saved view; {there}")
    return read_view(known[name])


def read_view(path: Path) -> View:
    """Raises ViewError, which names the file and the key."""
    try:
        values = read_toml(expanded(path))
    except InputFileError as error:
        raise ViewError(f"{path}: {error.problem}") from None
    except OSError as error:
        raise ViewError(f"{path}: cannot be read: {error.strerror or error}") from None
    known = [field.name for field in fields(View)]
    if strange := next((key for key in values if key not in known), ""):
        near = difflib.get_close_matches(strange, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise ViewError(f"{path}: {strange}: is not a key of a view; {hint}")
    for key, value in values.items():
        if key == "columns":
            if not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
                raise ViewError(f'{path}: columns: must be a list such as ["status", "name", "optimizer.lr"]')
        elif not isinstance(value, str):
            raise ViewError(f"{path}: {key}: must be text")
    view = View(**{**values, "columns": tuple(values.get("columns", ()))})
    if problem := problem_with(view):
        raise ViewError(f"{path}: {problem}")
    return view


def problem_with(view: View) -> str:
    """Why a table cannot be shown so, "" when it can."""
    try:
        key = "columns"
        check_columns(view.columns)
        key = "filter"
        parse_text(view.filter)
        key = "sort"
        if view.sort:
            from engine.store.filters import (
                ordering,  # imports SQLAlchemy, which the usual view does not need
            )

            ordering(sort_key(view.sort))
    except StoreError as error:
        return f"{key}: {error}"
    if view.group not in GROUPINGS:
        return f"group: {view.group!r} must be one of experiment, variant, or empty"
    return ""


def check_columns(names: Sequence[str]) -> None:
    """Raises StoreError for a name that is no column."""
    for name in names:
        if name in TABLE_COLUMNS:
            continue
        from engine.store.filters import column_of  # as above

        try:
            column_of(name)
        except StoreError as error:
            if near := difflib.get_close_matches(name, TABLE_COLUMNS, n=1, cutoff=0.75):
                raise StoreError(f"{name}: is not a column; did you mean {near[0]}?") from None
            raise StoreError(str(error).replace("neither a field", "neither a column, a field")) from None


def save_view(folder: Path, name: str, view: View) -> Path:
    """Keep a view under a name, in the place of one that has it. Raises ViewError."""
    import tomlkit

    if not _NAME.fullmatch(name):
        raise ViewError(f"{name!r}: cannot be the name of a view; use letters, digits, blanks and . + - _")
    values: dict[str, Any] = {
        field.name: list(value) if isinstance(value, tuple) else value
        for field in fields(View)
        if (value := getattr(view, field.name))
    }
    if problem := problem_with(view):
        raise ViewError(problem)
    path = folder / f"{name}.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(tomlkit.dumps(values).encode())
    except OSError as error:
        raise ViewError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path
