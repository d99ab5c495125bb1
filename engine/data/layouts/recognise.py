"""Which layout a folder has; where it has none, what was looked for and which folder was probably meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from engine.data.faults import DataError
from engine.data.layouts import Layout
from engine.data.layouts.builtin import LAYOUTS
from engine.host.input_files import is_text, shown
from engine.plugins import errors_of_plugins

ANY_FOLDER = "images"
"""The layout that every folder has: asked last, and only where no labels are wanted."""


def refuse_no_folder(root: Path) -> None:
    """Raises DataError unless `root` is a folder whose path can be kept in a config."""
    if not is_text(str(root.absolute())):
        raise DataError(
            f"{shown(root.absolute())}: its path is not valid UTF-8, which a config needs; rename it"
        )
    if not root.exists():
        raise DataError(f"{root}: no such folder")
    if not root.is_dir():
        raise DataError(f"{root}: is a file; a data set is a folder (unpack archives first)")


def labelled_layouts() -> list[Layout]:
    return [layout for layout in LAYOUTS.all().values() if layout.labelled]


def layout_of(root: Path, wanted: str = "auto", labels: bool = True) -> Layout:
    """The layout of the folder `root`: the one called `wanted` or, with "auto", the only labelled one that
    recognises the folder; without `labels` else the first of the others that does.

    Raises DataError: no layout of that name, none or several that recognise the folder.
    """
    asked = _asked(wanted, labels)
    found = _fitting(asked, root, wanted)
    if len(found) == 1:
        return found[0]
    if found:
        told = " and ".join(f"{layout.looks_for} ({layout.name})" for layout in found)
        choices = _either([layout.name for layout in found])
        raise DataError(f"{root}: has several layouts, {told}; choose data.layout={choices}")
    if wanted == "auto" and not labels:
        others = [layout for layout in LAYOUTS.all().values() if not layout.labelled]
        others.sort(key=lambda layout: layout.name == ANY_FOLDER)
        return next(layout for layout in others if recognises(layout, root))
    near = [layout for layout in asked if any((root / folder).is_dir() for folder in layout.folders)]
    near = near or asked[:2]
    looked_for = _either([layout.looks_for for layout in near])
    rest = [layout.name for layout in asked if layout not in near]
    known = f"; other layouts that are known: {', '.join(rest)}" if rest else ""
    entries = [entry.name + "/" * entry.is_dir() for entry in _visible(root)]
    there = ", ".join(entries[:6]) + (f" and {len(entries) - 6} more" if len(entries) > 6 else "")
    raise DataError(
        f"{root}: is not a data set: looked for {looked_for}, found {there or 'nothing'}"
        f"{_hint(root, asked) or known}"
    )


def is_data_set(root: Path) -> bool:
    """Whether some layout with labels recognises a folder. Raises DataError when that cannot be told."""
    return any(recognises(layout, root) for layout in labelled_layouts())


def fitting_layouts(root: Path) -> list[Layout]:
    """The labelled layouts that fit a folder where nobody named one; none where that cannot be told. Of
    several, such as Pascal VOC with and without SBD, labels differ and images are the same."""
    try:
        return _fitting(labelled_layouts(), root, "auto") if root.is_dir() else []
    except DataError:
        return []


def found_layout(root: Path, wanted: str = "auto") -> Layout | None:
    """The labelled layout of a folder; None where there is none, or more than one."""
    try:
        return layout_of(root, wanted) if root.is_dir() else None
    except DataError:
        return None


def recognises(layout: Layout, root: Path, unnamed: bool = False) -> bool:
    """Whether a layout recognises a folder and, where nobody named it, claims it. Raises DataError when it
    cannot tell."""
    with errors_of_plugins(DataError):
        try:
            return layout.recognises(root) and (not unnamed or layout.claims(root))
        except OSError as error:
            raise DataError(f"{error.filename or root}: cannot be read: {error.strerror}") from error


def _fitting(asked: Sequence[Layout], root: Path, wanted: str) -> list[Layout]:
    found = [layout for layout in asked if recognises(layout, root, unnamed=wanted == "auto")]
    refined = {layout.refines for layout in found}
    return [layout for layout in found if layout.name not in refined]


def _asked(wanted: str, labels: bool) -> list[Layout]:
    if wanted == "auto":
        return labelled_layouts()
    usable = [name for name, layout in LAYOUTS.all().items() if layout.labelled or not labels]
    if wanted in usable:
        return [LAYOUTS[wanted]]
    choices = _either(["auto", *usable])
    if wanted in LAYOUTS.all():
        raise DataError(f"the layout {wanted} has no labels, which are needed here; use {choices}")
    near = difflib.get_close_matches(wanted, usable, n=1)
    hint = f"; did you mean {near[0]}?" if near else f": use {choices}"
    raise DataError(f"there is no layout called {wanted!r}{hint}")


def _hint(root: Path, layouts: Sequence[Layout]) -> str:
    """Name the folder that was probably meant: up to three levels above `root` or two below it."""
    here = Path(os.path.abspath(root))
    children = [entry for entry in _visible(here) if entry.is_dir()][:50]
    grandchildren = [entry for child in children for entry in _visible(child)[:50] if entry.is_dir()]
    near = [*list(here.parents)[:3], *children, *grandchildren]
    meant = [str(folder) for folder in near if any(recognises(layout, folder) for layout in layouts)]
    if meant:
        return f"; did you mean {' or '.join(meant[:3])}?"
    for layout in layouts:
        # Such as the two Cityscapes archives, each unpacked into a folder of its own.
        parts = [[f for f in [here, *children] if (f / part).is_dir()] for part in layout.folders]
        if parts and all(parts):
            told = [f"{name}/ is in {of[0]}" for name, of in zip(layout.folders, parts, strict=True)]
            both = "both" if len(told) == 2 else "all"
            return f"; {' and '.join(told)}: move {both} into one folder"
    return ""


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error


def _either(words: Sequence[str]) -> str:
    """ "a", "a or b", "a, b or c"."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
