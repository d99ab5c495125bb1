"""Data layouts: how the folders of a data set are recognised, and where its images and labels are.

A layout is a class that derives from `Layout`, registered by its decorator. Nothing here imports torch, and
what decodes images is imported when a label is read: the command line and the dashboard read the names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from engine.classes import CITYSCAPES, ClassSet, ClassSetError, load_class_set
from engine.components.origin import BUILT_IN, ComponentError, origin_of
from engine.components.registry import NamedRegistry, check_methods
from engine.data.faults import DataError, Fault, listed
from engine.data.partners import Side
from engine.data.walk import IMAGE_SUFFIXES, walk, walk_parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CITYSCAPES",
    "IMAGE_SUFFIXES",
    "LAYOUTS",
    "Found",
    "Layout",
    "Side",
    "but_train_ids",
    "parts",
    "register",
    "side",
]

OWN_CLASSES = "classes.toml"
"""The file of a data set that names its classes, where its layout has no classes of its own."""

EXTRA = "train_extra"
"""The split whose images train where no labels are wanted, and never validate."""


@dataclass
class Found:
    """The files of a data set: what has the same name in `images` and `labels` is a pair.

    `split_of` gives the split of a name: "train", "val", "test", `EXTRA`, or another word for images that
    take no part. Without it the folder at the top of a name is its split, and all images train where there
    are no folders train, val and test. `train_ids`: the labels hold train ids. `faults` are the files that
    cannot be used, beside those that the two sides know of.
    """

    images: Side
    labels: Side | None = None
    split_of: Callable[[str], str] | None = None
    train_ids: bool = False
    faults: list[Fault] = field(default_factory=list)


class Layout:
    """How a data set lies in its folder.

    `name` is its value of `data.layout`. `folders` are what it is recognised by. `labelled`: its images have
    labels. `refines` is the name of a layout that recognises the same folders and more; what this one claims
    is not that one's. `as_cityscapes` gives the class of Cityscapes that one of its own is, by name, and
    `mapped_by` says whose table that is. `revision` rises when `read_labels` gives other values for the same
    files, as image caches hold what it gave.
    """

    name: ClassVar[str]
    folders: ClassVar[tuple[str, ...]] = ()
    labelled: ClassVar[bool] = True
    refines: ClassVar[str] = ""
    as_cityscapes: ClassVar[Mapping[str, str]] = {}
    mapped_by: ClassVar[str] = ""
    revision: ClassVar[int] = 1

    @property
    def looks_for(self) -> str:
        """What it is recognised by, in words."""
        return " and ".join(f"{folder}/" for folder in self.folders)

    def recognises(self, root: Path) -> bool:
        """Whether the folder `root` is laid out like this. No file is opened."""
        return bool(self.folders) and all((root / folder).is_dir() for folder in self.folders)

    def claims(self, root: Path) -> bool:
        """Whether a folder that it recognises is its own where nobody named a layout. No file is opened."""
        return True

    def find(self, root: Path) -> Found:
        """The images and the labels below `root`. No image is opened. Raises DataError."""
        raise NotImplementedError

    def class_set(self, root: Path) -> ClassSet:
        """The classes of the label values: by default those of `root`/classes.toml. Raises DataError."""
        path = root / OWN_CLASSES
        if not path.exists() and not path.is_symlink():
            what = "this layout needs one that names the classes and label values"
            special = [layout for layout in LAYOUTS.all().values() if layout.refines == self.name]
            others = [layout.name for layout in special if layout.recognises(root)]
            hint = f"; data.layout={' or '.join(others)} reads such folders without one" if others else ""
            raise DataError(f"{path}: there is no such file; {what}{hint}")
        try:
            return load_class_set(path)
        except ClassSetError as error:
            raise DataError(str(error)) from error

    @property
    def is_mapped(self) -> bool:
        """Whether its own classes are others than Cityscapes', and there is a table from them to those."""
        return bool(self.as_cityscapes or self.mapped_by)

    def cityscapes_classes(self, root: Path) -> ClassSet:
        """The classes of Cityscapes in the label values of this layout: by `as_cityscapes`; without it the
        label values are those of Cityscapes. Raises DataError."""
        table = self.as_cityscapes
        return self.class_set(root).mapped(CITYSCAPES, table) if table else CITYSCAPES

    def mapping_notes(self, root: Path) -> list[str]:
        """What becomes of its own classes where those of Cityscapes are asked for. Raises DataError."""
        if not self.as_cityscapes:
            return []
        own, asked = self.class_set(root), self.cityscapes_classes(root)
        void = [name for name in own.names if name not in self.as_cityscapes]
        never = [c.name for c in asked.classes if not c.ids]
        told = f"data.classes=cityscapes: {len(own) - len(void)} of the {len(own)} classes of {self.name} "
        told += f"become {len(asked) - len(never)} of Cityscapes' {len(asked)} ({self.mapped_by})"
        told += f"; void: {listed(void)}" if void else ""
        return [told + (f"; never labelled: {listed(never, len(never))}" if never else "")]

    def classes_from(self, root: Path) -> str:
        """Where `class_set` comes from, in words."""
        if type(self).class_set is Layout.class_set:
            return str(root / OWN_CLASSES)
        return f"the class set of the layout {self.name}"

    def read_labels(self, path: Path) -> NDArray[np.uint8]:
        """The label values of a file, uint8 [H, W], which the class set gives a meaning.

        By default those that a greyscale or palette PNG stores. `engine.data.image_files` has readers of
        colours and of 16 bits. Raises FileFault.
        """
        from engine.data.image_files import read_labels

        return read_labels(path)

    @property
    def decoder(self) -> str:
        """Its name where it reads labels in a way of its own, else ""."""
        return "" if type(self).read_labels is Layout.read_labels else self.name


LAYOUTS: NamedRegistry[Layout] = NamedRegistry("layout", "seg_engine.layouts", beside=("auto",))
"""Every layout by name, in the order in which they are asked."""

L = TypeVar("L", bound=type[Layout])


def register(layout: L) -> L:
    """Make a layout known; used as a decorator.

    Raises ComponentError when it breaks the contract of a layout, or when its name is taken.
    """
    where = layout.__qualname__
    if not issubclass(layout, Layout):
        raise ComponentError(f"{where}: a layout derives from Layout")
    name = getattr(layout, "name", None)
    if not isinstance(name, str):
        raise ComponentError(f'{where}: needs a name, such as name = "mine"')
    if layout.find is Layout.find:
        raise ComponentError(f"{where}: needs find(self, root), which gives the images and labels found")
    if not layout.folders and layout.recognises is Layout.recognises:
        raise ComponentError(f"{where}: needs folders = (...) to be recognised by, or recognises(self, root)")
    if strange := set(layout.as_cityscapes.values()) - set(CITYSCAPES.names):
        raise ComponentError(
            f"{where}: as_cityscapes names no class of Cityscapes: {', '.join(sorted(strange))}"
        )
    if origin_of(layout) != BUILT_IN:
        check_methods(where, layout, Layout)
    LAYOUTS.add(name, layout(), layout)
    return layout


def meaning_of(decoder: str, class_set: ClassSet) -> list[object]:
    """What the source ids of a label depend on beside its file: the code of the class set, or the layout
    whose own `read_labels` reads it; empty where the file stores them."""
    if class_set.code is not None:
        return [class_set.code.kind, class_set.code.ids]
    if not decoder:
        return []
    layout, origin = LAYOUTS[decoder], LAYOUTS.origin(decoder)
    version = layout.revision if origin == BUILT_IN else origin.sha256 or origin.source
    return [decoder, version]


def side(
    root: Path,
    folder: str,
    *endings: str,
    named: Callable[[str], str] | None = None,
    beside: tuple[str, ...] = (),
) -> Side:
    """The files below `root`/`folder` with one of these endings, each by its path without the ending.

    `named` makes the name that a pair shares of what is left, where that differs. Files whose ending is one
    of those that lie `beside` are passed over; others are noted as left out. Raises DataError.
    """
    return Side(folder, walk(root / folder)).use(*endings, named=named, beside=beside)


def parts(
    root: Path,
    places: Mapping[str, str],
    *endings: str,
    named: Callable[[str], str] | None = None,
    beside: tuple[str, ...] = (),
) -> Side:
    """The files of several folders below `root` as one side: `places` gives the folder of each split.

    A name is the split and the path below its folder without the ending; `named` changes what follows the
    split. The rest is as in `side`. Raises DataError.
    """

    def name_of(path: str) -> str:
        for split, folder in places.items():
            if path.startswith(f"{folder}/"):
                rest = path[len(folder) + 1 :]
                rest = named(rest) if named is not None else rest
                return f"{split}/{rest}" if rest else ""
        return ""

    found = Side("", walk_parts(root, places.values()), places=places)
    pattern = " and ".join(f"{folder}/*{endings[0]}" for folder in places.values())
    return found.use(*endings, named=name_of, beside=beside, pattern=pattern)


def but_train_ids(name: str) -> str:
    """As `named`: leaves out the labels that conversion scripts write beside a data set's own."""
    return "" if name.endswith("_labelTrainIds") else name


def by_folder(splits: Mapping[str, str]) -> Callable[[str], str]:
    """The split of a name by the folder at its top, such as {"training": "train", "validation": "val"}."""

    def split_of(name: str) -> str:
        top = name.split("/", 1)[0]
        return splits.get(top, top)

    return split_of
