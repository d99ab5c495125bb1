"""What a prediction is to make, settled before a run exists: which images, under which names, of what values.

No image is opened here: a damaged one costs its own class map and not the others.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.classes import CITYSCAPES, ClassSet
from engine.config.class_set import ClassSetConfig
from engine.data.catalog import DataError, scan
from engine.data.faults import counted, listed
from engine.data.image_files import FileFault, refuse_other_formats
from engine.data.layouts.recognise import fitting_layouts
from engine.data.walk import IMAGE_SUFFIXES, is_image_name, walk
from engine.host.input_files import InputFileError, is_text, refuse_irregular, shown
from engine.plugins import errors_of_plugins
from engine.requests.derive import refuse_strange_classes
from engine.requests.refusals import Refused
from engine.run.files import LONGEST_NAME, expanded
from engine.run.prediction_files import CITYSCAPES_ENDING, PRODUCTS, output_name
from engine.store import RunRow


@dataclass(frozen=True)
class Found:
    """Images, absolute, each once, in the order given; `notes` tell, a line each, what was left out."""

    images: list[Path]
    notes: list[str]


def find_images(given: Sequence[str]) -> Found:
    """The images that people name: files, folders with all that training would find in them, patterns.

    A file that is named itself may end in anything: its content decides. Raises Refused for what names no
    image, and for a named file that can be none.
    """
    found: dict[Path, None] = {}
    problems: list[str] = []
    notes: list[str] = []
    for text in given:
        try:
            some = _named_by(text)
        except Refused as error:
            problems += error.problems
        except DataError as error:
            problems.append(str(error))
        else:
            found |= dict.fromkeys(image.absolute() for image in some.images)
            notes += some.notes
    if problems:
        raise Refused(problems)
    return Found(list(found), notes)


def _named_by(text: str) -> Found:
    """What one file, folder or pattern names. Raises Refused and DataError."""
    if not text:
        raise Refused(["an empty name is no image; name a file, a folder or a pattern"])
    if "\0" in text:
        raise Refused([f"{text!r}: holds a null byte, which no name of a file does"])
    try:
        path = expanded(Path(text))
        if path.is_dir():
            found = _below(path)
            if not found.images:
                why = "".join(f"; {note}" for note in found.notes[:1])
                ends = ", ".join(IMAGE_SUFFIXES)
                raise Refused([f"{shown(text)}: has no images; they end in {ends}{why}"])
            return found
        if path.exists() or path.is_symlink():
            if problem := _why_no_image(path, by_content=True):
                raise Refused([f"{shown(path)}: {problem}"])
            return Found([path], [])
        matched = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    except RecursionError as error:
        raise Refused(
            [f"{shown(text)}: folders lie too deep for a pattern; name the folder itself"]
        ) from error
    except OSError as error:  # a user's home that is not known, a name that is too long
        raise Refused([f"{shown(text)}: {error.strerror}"]) from error
    if not matched:
        raise Refused([f"{shown(text)}: there is no such file or folder"])
    images, notes = _usable([file for file in matched if not file.is_dir()])
    if not images:
        raise Refused([f"{shown(text)}: matches no image; {(notes or ['only folders'])[0]}"])
    return Found(images, notes)


def _below(folder: Path) -> Found:
    """The images below a folder; of a data set those of its folder of images, not its labels."""
    found, told = walk(folder), []
    files = [folder / file for file in found.files]
    for layout in fitting_layouts(folder)[:1]:
        with errors_of_plugins(DataError):
            of_layout = layout.find(folder)
        side, labels = of_layout.images, of_layout.labels
        apart = labels is None or labels.folder != side.folder
        named = [f"{side.folder}/{file}" for file in side.found.files] if apart else side.named.values()
        found, files = side.found, [folder / path for path in named]
        told = [f"{shown(folder)}: is a data set ({layout.name}); its labels are not read"]
    images, notes = _usable(files)
    return Found(images, [*told, *found.notes(), *notes])


def _usable(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Those that may be images, and what is to be said of the others: a line for each reason."""
    left_out: dict[str, list[str]] = {}
    images = []
    for file in files:
        if problem := _why_no_image(file):
            left_out.setdefault(problem, []).append(str(file))
        else:
            images.append(file)
    notes = [
        f"{counted(len(names), 'file')} left out ({problem}): {listed(names)}"
        for problem, names in left_out.items()
    ]
    return images, notes


def _why_no_image(file: Path, by_content: bool = False) -> str:
    """Why a file can be no image, "" when it may be one; it is not decoded. With `by_content` one of another
    suffix is looked into."""
    if not is_text(str(file.absolute())):
        return "its name is not valid UTF-8, which results and databases need"
    if not is_image_name(file.name) and not by_content:
        return f"of no type that is read; images end in {', '.join(IMAGE_SUFFIXES)}"
    try:
        refuse_irregular(file)
        if not is_image_name(file.name):
            refuse_other_formats(file)
    except (InputFileError, FileFault) as error:
        return error.problem
    return ""


def output_names(images: Sequence[Path], naming: str) -> list[str]:
    """The file name of each image's predictions.

    Raises Refused when two images would have one name, or one is not named as `naming` needs it.
    """
    names: dict[str, Path] = {}
    problems = []
    for image in images:
        name = output_name(image, naming)
        if naming == "cityscapes" and name.count("_") < 3:
            problems.append(
                f"{image}: is not named as Cityscapes names images, <city>_<sequence>_<frame>"
                f"{CITYSCAPES_ENDING}.png; --naming plain takes any name"
            )
        if len(name.encode()) > LONGEST_NAME:
            problems.append(
                f"{image}: its prediction's name would have more than {LONGEST_NAME} bytes: {name}"
            )
        if name in names:
            problems.append(f"{names[name]} and {image} would both be {name}; predict them into two folders")
        names.setdefault(name, image)
    if problems:
        raise Refused(problems)
    return list(names)


def refuse_no_folder(out: Path) -> None:
    """Raises Refused when predictions cannot go to `out`, since it is a file or lies below one."""
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise Refused([f"--out {out}: {there} is a file; name a folder, which is made where it is missing"])


def refuse_existing(out: Path, names: Sequence[str]) -> None:
    """Raises Refused when a prediction of one of the names is in the folder `out` already."""
    for name in names:
        for product in PRODUCTS:
            if (out / product / name).exists():
                raise Refused(
                    [f"{out / product / name}: already exists; use another --out or add --overwrite"]
                )


def label_values(row: RunRow, ids: str) -> tuple[int, ...]:
    """What a class map stores for each class of a run: "train" ids, or the "raw" ids of its label files.

    Cityscapes' classes have the ids of its server whatever the labels of the run had. Raises Refused when
    the class set is not to be found any more.
    """
    if ids == "train":
        return tuple(range(len(row.classes)))
    of_cityscapes = CITYSCAPES.names == row.classes or row.config["data"]["classes"] == "cityscapes"
    class_set = CITYSCAPES if of_cityscapes else _class_set_of(row)
    if class_set.code is not None:
        told = (
            f"the label files of {row.id} hold {'colours' if class_set.code.kind == 'colors' else '16 bits'}"
        )
        raise Refused([f"--ids raw: {told}, which a class map cannot; use --ids train"])
    values = {info.name: info.ids[0] for info in class_set.classes if info.ids}
    missing = [name for name in row.classes if name not in values]
    if missing:
        where = row.config["data"]["root"]
        raise Refused([f"--ids raw: {where} has no class {missing[0]} any more, which {row.id} has learned"])
    return tuple(values[name] for name in row.classes)


def _class_set_of(row: RunRow) -> ClassSet:
    data = row.config["data"]
    if data.get("class_set") is not None:
        return ClassSetConfig.model_validate(data["class_set"]).class_set()
    try:
        found = scan(Path(data["root"]), data.get("layout", "auto"), data["classes"]).class_set
    except DataError as error:
        told = f"the ids of {row.id} stand with its data set: {error}"
        raise Refused([f"--ids raw: {told}; --ids train needs none"]) from error
    refuse_strange_classes(row, found)
    return found
