"""What to call folders that have the same name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePath


def by_path(name: str, folders: Collection[str]) -> Mapping[str, str]:
    """Path -> what to call the folder, of several that are called `name`: the end of its path, as long as it
    takes to tell them apart; behind the name where that is not the folder's own."""
    parts = {folder: PurePath(folder).parts for folder in folders}
    ends: dict[str, str] = {}
    for count in range(1, max(map(len, parts.values())) + 1):
        ends = {folder: str(PurePath(*of[-count:])) for folder, of in parts.items()}
        if len(set(ends.values())) == len(ends):
            break
    return {folder: end if PurePath(end).name == name else f"{name} ({end})" for folder, end in ends.items()}
