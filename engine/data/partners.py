"""The images or the labels of a data set by name, and why a file has no partner."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from engine.data.faults import Fault
from engine.data.walk import Walk
from engine.host.input_files import is_text, shown


@dataclass
class Side:
    """The files of the folder `folder` of a data set, images or labels; what has the same name is a pair.

    `named` are those that are used, name -> path relative to the data set's root. `notes` tell of the others.
    """

    folder: str
    found: Walk
    named: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def tops(self) -> set[str]:
        """The folders at the top that hold some file."""
        return {name.split("/", 1)[0] for name in self.named if "/" in name}

    def told(self) -> list[str]:
        """What walking the folder has left out."""
        return self.found.notes(self.folder)

    def name_files(self, suffixes: tuple[str, ...]) -> dict[str, tuple[str, str]]:
        """Use the files of these suffixes. Returns the names that two files have, with the paths of both."""
        twice = {}
        for file in self.found.files:
            name, suffix = os.path.splitext(file)
            if suffix.lower() not in suffixes:
                continue
            path = f"{self.folder}/{file}"
            if self.named.setdefault(name, path) != path:
                twice[name] = (self.named[name], path)
        return twice

    def drop_unstorable(self) -> list[Fault]:
        """Use no file whose name is no UTF-8; returns them as faults."""
        names = [name for name, path in self.named.items() if not is_text(path)]
        problem = "its name is no UTF-8, which results and databases need; rename it"
        return [Fault("name", shown(self.named.pop(name)), problem) for name in names]

    def why_missing(self, name: str, partners: Mapping[str, str], wanted: str) -> str:
        """Why the file called `name` is not among those used, when it is there in another form; else "".

        `partners` are the names of the other side, `wanted` says which types are read.
        """
        for path in self._of_stem.get(name, ()):
            return f"{shown(self._path(path))} is there, but {wanted}"
        for path in self._alike.get(_folded(name), ()):
            stem = self._stem(path)
            if stem in partners:
                continue
            if not is_text(stem):
                return f"{shown(self._path(path))} is there, but its name is no UTF-8"
            return f"{shown(self._path(path))} is there, but {_difference(stem, name)}; rename one of the two"
        why = self.found.why_left_out(name)
        return f"{self.folder}/{why}" if why else ""

    def _path(self, file: str) -> str:
        return f"{self.folder}/{file}"

    def _stem(self, file: str) -> str:
        used = self._used.get(self._path(file))
        return used if used is not None else os.path.splitext(file)[0]

    @cached_property
    def _used(self) -> dict[str, str]:
        return {path: name for name, path in self.named.items()}

    @cached_property
    def _of_stem(self) -> dict[str, list[str]]:
        """The files that are not used, by their paths without the suffix."""
        stems: dict[str, list[str]] = {}
        for file in self.found.files:
            if self._path(file) not in self._used:
                stems.setdefault(self._stem(file), []).append(file)
        return stems

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        """All files, by what is left of their names when case and Unicode form do not count."""
        alike: dict[str, list[str]] = {}
        for file in self.found.files:
            alike.setdefault(_folded(self._stem(file)), []).append(file)
        return alike


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _difference(there: str, wanted: str) -> str:
    """How two names that read alike differ."""
    if unicodedata.normalize("NFC", there) == unicodedata.normalize("NFC", wanted):
        return f"its name is in another Unicode form ({_form(there)}, the other {_form(wanted)})"
    return "its name differs in case"


def _form(name: str) -> str:
    return next((form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, name)), "mixed")
