"""Class sets: the ordered classes a network learns, with name, colour and source ids.

A label file stores *source ids*; the network learns *train ids*, the position of a class in its
class set. Every pixel that belongs to no class has the train id `VOID` and takes no part in
loss or metrics.

The Cityscapes table is that of Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene
Understanding", CVPR 2016 (34 ids, 19 of them evaluated).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from engine.errors import EngineError
from engine.host.input_files import InputFileError, read_toml

VOID = 255
"""Train id of pixels that belong to no class."""

MAX_CLASSES = 255
"""Train ids are stored as uint8 and 255 is void."""

MAX_WIDE = 65535
"""The largest label value that a 16-bit file stores."""

CRITICAL_RECALL = "critical_recall"
"""The metric that runs with critical classes have: the lowest share of the pixels of such a class found."""

Color = tuple[int, int, int]
"""Red, green and blue, 0-255 each."""


class ClassSetError(EngineError, ValueError):
    """A class set that cannot be used; the message is one line a person can act on."""


@dataclass(frozen=True)
class ClassInfo:
    """One class: its name, its colour and the source ids that mean it; none where no label file has it.

    A `critical` class is one whose misses are scored apart, as a missed pedestrian is worse than a missed
    pole."""

    name: str
    color: Color
    ids: tuple[int, ...]
    critical: bool = False

    @property
    def hex_color(self) -> str:
        """The colour as "#rrggbb"."""
        return hex_color(pack(self.color))


def pack(color: Color) -> int:
    """A colour as one number, 0xRRGGBB."""
    return color[0] << 16 | color[1] << 8 | color[2]


def hex_color(packed: int) -> str:
    """ "#rrggbb" of a colour as one number."""
    return f"#{packed:06x}"


@dataclass(frozen=True)
class LabelCode:
    """How label files encode source ids where they do not store them as 8-bit numbers.

    `ids` are pairs of what a file holds and the source id that it means. With "colors" a file holds colours,
    0xRRGGBB; with "wide" it holds numbers of up to 16 bits.
    """

    kind: Literal["colors", "wide"]
    ids: tuple[tuple[int, int], ...]

    def values_of(self, source_id: int) -> tuple[int, ...]:
        """What a file holds for a source id."""
        return tuple(value for value, meant in self.ids if meant == source_id)


@dataclass(frozen=True)
class ClassSet:
    """Ordered classes; the index of a class is its train id.

    `void_ids` are source ids that are known and belong to no class. A label value that is neither a source id
    of a class nor in `void_ids` is an error in the data, not void. `held_out` are classes that the labels
    have and the network is not to learn; their source ids are among `void_ids`. `code` says what label files
    hold where that is not the source ids themselves.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    void_ids: frozenset[int] = field(default_factory=frozenset)
    held_out: tuple[ClassInfo, ...] = ()
    code: LabelCode | None = None

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    @property
    def critical(self) -> tuple[str, ...]:
        """The names of the critical classes."""
        return tuple(c.name for c in self.classes if c.critical)

    def palette(self) -> bytes:
        """768 bytes (256 x RGB) for an indexed PNG of train ids; void and unused entries are black."""
        colors = [c.color for c in self.classes]
        colors += [(0, 0, 0)] * (256 - len(colors))
        return bytes(channel for color in colors for channel in color)

    def train_ids(self) -> dict[int, int]:
        """Every known source id (0-255) with its train id; ids outside are faults in the data."""
        known = dict.fromkeys(self.void_ids, VOID)
        known.update({i: index for index, c in enumerate(self.classes) for i in c.ids})
        return known

    def without(self, names: Collection[str]) -> ClassSet:
        """The same label files with these classes held out. Raises ClassSetError: no such class, or none
        left."""
        for name in names:
            if name not in self.names:
                raise ClassSetError(f"{name}: is no class of {self.name}, which has {', '.join(self.names)}")
        kept = tuple(c for c in self.classes if c.name not in names)
        held_out = tuple(c for c in self.classes if c.name in names)
        if not kept:
            raise ClassSetError(f"{', '.join(names)}: are all classes of {self.name}; none would be left")
        ids = {i for c in held_out for i in c.ids}
        return replace(self, classes=kept, void_ids=self.void_ids | ids, held_out=self.held_out + held_out)

    def marked(self, critical: Collection[str]) -> ClassSet:
        """The same classes, of which these are the critical ones."""
        return replace(self, classes=tuple(replace(c, critical=c.name in critical) for c in self.classes))

    def mapped(self, onto: ClassSet, names: Mapping[str, str]) -> ClassSet:
        """The same label files in the classes of another set: `names` gives the class there for one here.

        Classes without one become void. A class there that none here leads to keeps its place, without ids.
        """
        strange = (names.keys() - set(self.names)) | (set(names.values()) - set(onto.names))
        if strange:
            raise ClassSetError(f"{', '.join(sorted(strange))}: is no class of {self.name} or {onto.name}")
        ids: dict[str, list[int]] = {name: [] for name in onto.names}
        void = set(self.void_ids)
        for own in self.classes:
            if own.name in names:
                ids[names[own.name]] += own.ids
            else:
                void.update(own.ids)
        classes = tuple(replace(c, ids=tuple(sorted(ids[c.name]))) for c in onto.classes)
        found = ClassSet(f"{self.name} as {onto.name}", classes, frozenset(void))
        if self.code is None:
            return found
        known = found.train_ids()  # one id a class again, which is how coded sets are written out
        code = tuple((value, known[i]) for value, i in self.code.ids)
        return replace(found.as_train_ids(), code=LabelCode(self.code.kind, code))

    def coded(self, kind: Literal["colors", "wide"]) -> ClassSet:
        """The class set of label files that hold colours or 16-bit numbers; `ids` and `void_ids` are those.

        In the result a source id is the position of its class, and `VOID` that of everything void.
        """
        ids = {value: place for place, c in enumerate(self.classes) for value in c.ids}
        ids.update(dict.fromkeys(self.void_ids, VOID))
        return replace(self.as_train_ids(), code=LabelCode(kind, tuple(sorted(ids.items()))))

    def as_train_ids(self) -> ClassSet:
        """The same classes for label files that already hold train ids (0..C-1 and 255)."""
        classes = tuple(replace(c, ids=(i,)) for i, c in enumerate(self.classes))
        return ClassSet(self.name, classes, frozenset({VOID}))


def _cityscapes() -> ClassSet:
    evaluated = (
        ("road", (128, 64, 128), 7),
        ("sidewalk", (244, 35, 232), 8),
        ("building", (70, 70, 70), 11),
        ("wall", (102, 102, 156), 12),
        ("fence", (190, 153, 153), 13),
        ("pole", (153, 153, 153), 17),
        ("traffic light", (250, 170, 30), 19),
        ("traffic sign", (220, 220, 0), 20),
        ("vegetation", (107, 142, 35), 21),
        ("terrain", (152, 251, 152), 22),
        ("sky", (70, 130, 180), 23),
        ("person", (220, 20, 60), 24),
        ("rider", (255, 0, 0), 25),
        ("car", (0, 0, 142), 26),
        ("truck", (0, 0, 70), 27),
        ("bus", (0, 60, 100), 28),
        ("train", (0, 80, 100), 31),
        ("motorcycle", (0, 0, 230), 32),
        ("bicycle", (119, 11, 32), 33),
    )
    classes = tuple(
        ClassInfo(name, color, (source,), critical=name in ("person", "rider"))
        for name, color, source in evaluated
    )
    used = {source for _, _, source in evaluated}
    # Ids 0-33 exist; licence plates have the id -1, which an 8-bit file stores as 255.
    void = frozenset(i for i in range(34) if i not in used) | {255}
    return ClassSet("cityscapes", classes, void)


CITYSCAPES = _cityscapes()

UNLABELLED = ClassSet("unlabelled", (ClassInfo("image", (128, 128, 128), (0,)),))
"""What images without labels have instead: every pixel is of the one class 0."""


def load_class_set(path: Path) -> ClassSet:
    """Read a class set from a TOML file.

        name = "my classes"
        void = [0, 255]          # label values that belong to no class
        [[class]]
        name = "road"
        color = "#804080"
        ids = [1]                # label values that mean this class
        critical = true          # misses are scored apart; left out: false

    Label values may have 16 bits. Where label files are painted in the colours of the classes, there are
    colours instead of label values:

        labels = "colors"
        void = ["#000000"]
        [[class]]
        name = "road"
        color = "#804080"
        also = ["#804081"]       # more colours that mean this class

    Raises ClassSetError with one line when the file is missing, is not TOML or contradicts itself.
    """
    try:
        table = read_toml(path)
    except InputFileError as error:
        raise ClassSetError(str(error)) from error

    _refuse_misspelt(table, ("name", "void", "labels", "class"), f"{path}")
    entries = table.get("class")
    painted = table.get("labels", "ids") == "colors"
    if not painted and table.get("labels", "ids") != "ids":
        raise ClassSetError(f'{path}: labels: must be "ids" or "colors", got {table["labels"]!r}')
    if not isinstance(entries, list) or not entries:
        needs = "name and color" if painted else "name, color and ids"
        raise ClassSetError(f"{path}: has no [[class]] entries; each needs {needs}")
    if len(entries) > MAX_CLASSES:
        raise ClassSetError(f"{path}: has {len(entries)} classes; at most {MAX_CLASSES} fit in 8 bits")
    classes = tuple(_class_from(entry, f"{path}: class {i}", painted) for i, entry in enumerate(entries))
    read = _colors_from if painted else _ids_from
    void = frozenset(read(table.get("void", [] if painted else [255]), f"{path}: void"))

    names = [c.name for c in classes]
    for name in names:
        if names.count(name) > 1:
            raise ClassSetError(f"{path}: two classes are called {name!r}; names must differ")
    owners: dict[int, str] = dict.fromkeys(void, "void")
    for c in classes:
        for i in c.ids:
            if i in owners:
                what = f"colour {hex_color(i)}" if painted else f"label value {i}"
                unsaid = owners[i] == "void" and "void" not in table
                help_ = "; it is void where nothing else is said, and void = [] says that nothing is"
                raise ClassSetError(f"{path}: {what} means both {owners[i]} and {c.name}{help_ * unsaid}")
            owners[i] = c.name
    found = ClassSet(str(table.get("name", path.parent.name)), classes, void)
    if painted:
        return found.coded("colors")
    return found.coded("wide") if any(i > 255 for i in owners) else found


def _class_from(entry: object, where: str, painted: bool) -> ClassInfo:
    """A class; where labels are painted, its colours stand where ids are otherwise."""
    if not isinstance(entry, dict):
        raise ClassSetError(f"{where}: is not a table with name, color and ids")
    _refuse_misspelt(entry, ("name", "color", "ids", "also", "critical"), where)
    name, color = entry.get("name"), entry.get("color")
    if not isinstance(name, str) or not name.strip():
        raise ClassSetError(f'{where}: needs a name, such as name = "road"')
    if not isinstance(color, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        raise ClassSetError(f'{where} ({name}): needs a color such as color = "#804080", got {color!r}')
    critical = entry.get("critical", False)
    if not isinstance(critical, bool):
        raise ClassSetError(f"{where} ({name}): critical must be true or false, got {critical!r}")
    red, green, blue = bytes.fromhex(color[1:])
    if painted:
        if "ids" in entry:
            raise ClassSetError(f'{where} ({name}): has ids, though labels = "colors"; use one of the two')
        also = _colors_from(entry.get("also", []), f"{where} ({name}): also")
        return ClassInfo(name, (red, green, blue), (pack((red, green, blue)), *also), critical)
    if "also" in entry:
        raise ClassSetError(f'{where} ({name}): also has more colours, which need labels = "colors"')
    ids = _ids_from(entry.get("ids"), f"{where} ({name}): ids")
    if not ids:
        raise ClassSetError(f"{where} ({name}): needs at least one label value, such as ids = [7]")
    return ClassInfo(name, (red, green, blue), ids, critical)


def _refuse_misspelt(table: Mapping[str, object], known: Collection[str], where: str) -> None:
    """Raises ClassSetError for a key that is nearly a known one; keys of other programs may lie beside."""
    for key in sorted(table.keys() - set(known)):
        for meant in difflib.get_close_matches(key, known, n=1, cutoff=0.7):
            raise ClassSetError(f"{where}: there is no key {key!r}; did you mean {meant}?")


def _ids_from(value: object, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(i) is int and 0 <= i <= MAX_WIDE for i in value):
        raise ClassSetError(f"{where}: must be a list of whole numbers from 0 to {MAX_WIDE}, got {value!r}")
    return tuple(value)


def _colors_from(value: object, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(
        isinstance(c, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", c) for c in value
    ):
        raise ClassSetError(f'{where}: must be a list of colours such as ["#000000"], got {value!r}')
    return tuple(int(c[1:], 16) for c in value)
