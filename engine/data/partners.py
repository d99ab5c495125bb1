"""The images or the labels of a data set by name, and why a file has no partner."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from engine.data.faults import Fault, counted, listed
from engine.data.walk import Walk
from engine.host.input_files import is_text, shown


@dataclass
class Side:
    """The files of the folder `folder` of a data set, images or labels; what has the same name is a pair.

    `named` are those that are used, name -> path relative to the data set's root. `twice` are the names that
    two files have, with the paths of both, `faults` the files whose names cannot be used; `notes` tell of
    those that are left out. `ending` follows a name in its file, `pattern` says where files are looked for
    and `wanted` which types are read; these are for messages. Files that end in one of `beside` are no
    concern of this side. `places` are the folders of splits, by the top of a name, where a name does not
    begin with the path of its file; `folder` may then be "", the data set's root.
    """

    folder: str
    found: Walk
    named: dict[str, str] = field(default_factory=dict)
    twice: dict[str, tuple[str, str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ending: str = ""
    pattern: str = ""
    wanted: str = ""
    beside: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    rename: Callable[[str], str] | None = None

    def use(
        self,
        *endings: str,
        named: Callable[[str], str] | None = None,
        beside: tuple[str, ...] = (),
        pattern: str = "",
        left_out: str = "",
        wanted: str = "",
    ) -> Side:
        """Use the files with one of these endings; a file's name is its path below the folder without it.

        `named` makes the name that pairs of what is left, where that differs: "" leaves a file out. The
        suffix, such as ".png", may be written in any case. What ends otherwise is noted as left
        out, with the reason `left_out`, unless its ending is one of those that lie `beside`.
        """
        odd = []
        self.rename = named
        for file in self.found.files:
            ending = next((ending for ending in endings if _ends(file, ending)), None)
            if ending is None:
                odd += [] if _ends_in(file, beside) else [file]
                continue
            stem = file[: len(file) - len(ending)]
            name = named(stem) if named is not None else stem
            path = self._path(file)
            if name and self.named.setdefault(name, path) != path:
                self.twice[name] = (self.named[name], path)
        ends = " or ".join([", ".join(f"*{ending}" for ending in endings[:-1]), f"*{endings[-1]}"][-2:])
        ends = ends.removeprefix(" or ")
        self.beside = beside
        self.ending = endings[0] if len(endings) == 1 else ".*"
        self.pattern = pattern or self._path(ends)
        self.wanted = wanted or f"the file must end in {', '.join(endings)}"
        self.faults += self.drop_unstorable()
        self.notes += [*self.told(), *self.left_out(odd, left_out or f"are not called {ends}")]
        return self

    def left_out(self, files: Sequence[str], why: str) -> list[str]:
        """What to say of files of the folder that are left out; nothing where there are none."""
        if not files:
            return []
        names = listed([self._path(file) for file in files])
        return [f"{counted(len(files), 'file')} left out, as they {why}: {names}"]

    @property
    def tops(self) -> set[str]:
        """The folders at the top that hold some file."""
        return {name.split("/", 1)[0] for name in self.named if "/" in name}

    def told(self) -> list[str]:
        """What walking the folder has left out."""
        return self.found.notes(self.folder)

    def drop_unstorable(self) -> list[Fault]:
        """Use no file whose name is not valid UTF-8; returns them as faults."""
        names = [name for name, path in self.named.items() if not is_text(path)]
        problem = "its name is not valid UTF-8, as results and databases require; rename it"
        return [Fault("name", shown(self.named.pop(name)), problem) for name in names]

    def why_missing(self, name: str, partners: Mapping[str, str]) -> str:
        """Why the file called `name` is not among those used, when it is there in another form; else "".

        `partners` are the names of the other side.
        """
        for path in self._of_stem.get(name, ()):
            return f"{shown(self._path(path))} is there, but {self.wanted}"
        for path in self._alike.get(_folded(name), ()):
            stem = self._stem(path)
            if stem in partners:
                continue
            if not is_text(stem):
                return f"{shown(self._path(path))} is there, but its name is not valid UTF-8"
            return f"{shown(self._path(path))} is there, but {_difference(stem, name)}; rename one of the two"
        why = self.found.why_left_out(name)
        return f"{self.folder}/{why}" if why else ""

    def name_of(self, path: str) -> str:
        """The name that a path of the folder has, or would have; "" for a path that is not in it."""
        if self.folder:
            inside = path.startswith(f"{self.folder}/")
            return self._stem(path[len(self.folder) + 1 :]) if inside else ""
        return self._stem(path) if path in self._files else ""

    def path_of(self, name: str) -> str:
        """Where the file of a name belongs."""
        top, _, rest = name.partition("/")
        place = f"{self.places[top]}/{rest}" if top in self.places else self._path(name)
        return place + self.ending

    def part(self, split: str) -> str:
        """Where the files of a split lie, in words."""
        return self.places.get(split) or (f"{self.folder}/{split}" if self.folder else f"the split {split}")

    def _path(self, file: str) -> str:
        return f"{self.folder}/{file}" if self.folder else file

    def _stem(self, file: str) -> str:
        used = self._used.get(self._path(file))
        if used is not None:
            return used
        stem = os.path.splitext(file)[0]
        return (self.rename(stem) if self.rename is not None else "") or stem

    @cached_property
    def _files(self) -> set[str]:
        return set(self.found.files)

    @cached_property
    def _used(self) -> dict[str, str]:
        return {path: name for name, path in self.named.items()}

    @cached_property
    def _of_stem(self) -> dict[str, list[str]]:
        """The files that are not used, by their paths without the suffix."""
        stems: dict[str, list[str]] = {}
        for file in self.found.files:
            if self._path(file) not in self._used and not _ends_in(file, self.beside):
                stems.setdefault(self._stem(file), []).append(file)
        return stems

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        """All files, by what is left of their names when case and Unicode form do not count."""
        alike: dict[str, list[str]] = {}
        for file in self.found.files:
            if _ends_in(file, self.beside):
                continue
            alike.setdefault(_folded(self._stem(file)), []).append(file)
        return alike


def _ends_in(file: str, endings: Sequence[str]) -> bool:
    return any(_ends(file, ending) for ending in endings)


def _ends(file: str, ending: str) -> bool:
    """Whether a file ends so; the case of its suffix does not count."""
    kind = ending[ending.rfind(".") :] if "." in ending else ""
    return file.lower().endswith(kind.lower()) and file[: len(file) - len(kind)].endswith(
        ending.removesuffix(kind)
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _difference(there: str, wanted: str) -> str:
    """How two names that read alike differ."""
    if unicodedata.normalize("NFC", there) == unicodedata.normalize("NFC", wanted):
        return f"its name uses another Unicode normal form ({_form(there)}, the other {_form(wanted)})"
    return "its name differs in upper and lower case"


def _form(name: str) -> str:
    return next((form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, name)), "mixed")
