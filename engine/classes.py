"""Class sets: the ordered classes a network learns, with name, colour and source ids.

A label file stores *source ids*; the network learns *train ids*, the position of a class in its
class set. Every pixel that belongs to no class has the train id `VOID` and takes no part in
loss or metrics.

The Cityscapes table is that of Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene
Understanding", CVPR 2016 (34 ids, 19 of them evaluated).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.errors import EngineError
from engine.host.input_files import InputFileError, read_toml

VOID = 255
"""Train id of pixels that belong to no class."""

MAX_CLASSES = 255
"""Train ids are stored as uint8 and 255 is void."""


class ClassSetError(EngineError, ValueError):
    """A class set that cannot be used; the message is one line a person can act on."""


@dataclass(frozen=True)
class ClassInfo:
    """One class: its name, its colour (red, green, blue; 0-255) and the source ids that mean it."""

    name: str
    color: tuple[int, int, int]
    ids: tuple[int, ...]

    @property
    def hex_color(self) -> str:
        """The colour as "#rrggbb"."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)


@dataclass(frozen=True)
class ClassSet:
    """Ordered classes; the index of a class is its train id.

    `void_ids` are source ids that are known and belong to no class. A label value that is neither a source id
    of a class nor in `void_ids` is an error in the data, not void. `held_out` are classes that the labels
    have and the network is not to learn; their source ids are among `void_ids`.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    void_ids: frozenset[int] = field(default_factory=frozenset)
    held_out: tuple[ClassInfo, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

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

    def as_train_ids(self) -> ClassSet:
        """The same classes for label files that already hold train ids (0..C-1 and 255)."""
        classes = tuple(ClassInfo(c.name, c.color, (i,)) for i, c in enumerate(self.classes))
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
    classes = tuple(ClassInfo(name, color, (source,)) for name, color, source in evaluated)
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

    Raises ClassSetError with one line when the file is missing, is not TOML or contradicts itself.
    """
    try:
        table = read_toml(path)
    except InputFileError as error:
        raise ClassSetError(str(error)) from error

    entries = table.get("class")
    if not isinstance(entries, list) or not entries:
        raise ClassSetError(f"{path}: has no [[class]] entries; each needs name, color and ids")
    if len(entries) > MAX_CLASSES:
        raise ClassSetError(f"{path}: has {len(entries)} classes; at most {MAX_CLASSES} fit in 8 bits")
    classes = tuple(_class_from(entry, f"{path}: class {i}") for i, entry in enumerate(entries))
    void = frozenset(_ids_from(table.get("void", [255]), f"{path}: void"))

    names = [c.name for c in classes]
    for name in names:
        if names.count(name) > 1:
            raise ClassSetError(f"{path}: two classes are called {name!r}; names must differ")
    owners: dict[int, str] = dict.fromkeys(void, "void")
    for c in classes:
        for i in c.ids:
            if i in owners:
                raise ClassSetError(f"{path}: label value {i} means both {owners[i]} and {c.name}")
            owners[i] = c.name
    return ClassSet(str(table.get("name", path.parent.name)), classes, void)


def _class_from(entry: object, where: str) -> ClassInfo:
    if not isinstance(entry, dict):
        raise ClassSetError(f"{where}: is not a table with name, color and ids")
    name, color = entry.get("name"), entry.get("color")
    if not isinstance(name, str) or not name.strip():
        raise ClassSetError(f'{where}: needs a name, such as name = "road"')
    if not isinstance(color, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        raise ClassSetError(f'{where} ({name}): needs a color such as color = "#804080", got {color!r}')
    ids = _ids_from(entry.get("ids"), f"{where} ({name}): ids")
    if not ids:
        raise ClassSetError(f"{where} ({name}): needs at least one label value, such as ids = [7]")
    red, green, blue = bytes.fromhex(color[1:])
    return ClassInfo(name, (red, green, blue), ids)


def _ids_from(value: object, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(i) is int and 0 <= i <= 255 for i in value):
        raise ClassSetError(f"{where}: must be a list of whole numbers from 0 to 255, got {value!r}")
    return tuple(value)
