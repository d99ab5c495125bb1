"""What a prediction is to make, settled before a run exists: which images, under which names, of what values.

No image is opened here: a damaged one costs its own class map and not the others.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.classes import CITYSCAPES, ClassSet
from engine.data.catalog import DataError, scan
from engine.files import expanded
from engine.intentions import Refused
from engine.prediction_files import CITYSCAPES_ENDING, PRODUCTS, output_name
from engine.store import RunRow

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def find_images(given: Sequence[str]) -> list[Path]:
    """The images that people name: files, folders (all images below them, sorted) and patterns.

    Absolute, each once, in the order given. Raises Refused for what names no image.
    """
    found: dict[Path, None] = {}
    problems = []
    for text in given:
        path = expanded(Path(text))
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if _is_image(file, path))
            problems += [] if below else [f"{text}: has no images; they end in {', '.join(SUFFIXES)}"]
        elif path.exists():
            below = [path]
        else:
            below = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
            problems += [] if below else [f"{text}: there is no such file or folder"]
        found |= dict.fromkeys(file.absolute() for file in below)
    if problems:
        raise Refused(problems)
    return list(found)


def _is_image(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in SUFFIXES and not hidden and file.is_file()


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
                    [f"{out / product / name}: is there already; take another --out, or add --overwrite"]
                )


def label_values(row: RunRow, ids: str) -> tuple[int, ...]:
    """What a class map stores for each class of a run: "train" ids, or the "raw" ids of its label files.

    Cityscapes' classes have the ids of its server whatever the labels of the run had. Raises Refused when
    the class set is not to be found any more.
    """
    if ids == "train":
        return tuple(range(len(row.classes)))
    class_set = CITYSCAPES if CITYSCAPES.names == row.classes else _class_set_of(row.config["data"], row.id)
    values = {info.name: info.ids[0] for info in class_set.classes}
    missing = [name for name in row.classes if name not in values]
    if missing:
        where = row.config["data"]["root"]
        raise Refused([f"--ids raw: {where} has no class {missing[0]} any more, which {row.id} has learned"])
    return tuple(values[name] for name in row.classes)


def _class_set_of(data: Mapping[str, str], run_id: str) -> ClassSet:
    try:
        return scan(Path(data["root"]), data["kind"], data["classes"]).class_set
    except DataError as error:
        told = f"the ids of {run_id} stand with its data set: {error}"
        raise Refused([f"--ids raw: {told}; --ids train needs none"]) from error
