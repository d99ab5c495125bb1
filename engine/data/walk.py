"""Which files lie in a folder, for all that reads images: training, evaluation, prediction, anomalies.

One rule for links, so that nothing is read twice and nothing is left out in silence:

- Real folders are walked first, then links to folders, in the order of their names. So of a folder and a
  link to it the folder counts, whatever they are called; of two links to one folder the first.
- A link to a folder that was read already, or to one that the link itself lies in, is left out.
- Hidden files and folders are left out.
- A folder whose name ends as an image's does is taken for an image, and is a fault when it is opened.

All that is left out, `Walk.notes` tells.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.data.faults import DataError, counted, listed
from engine.host.input_files import shown

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""The images that are read, wherever images are read; in lower case."""

NO_IMAGE = f"are not a supported file type ({', '.join(IMAGE_SUFFIXES)})"
"""Why files that are no images are left out."""


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith(IMAGE_SUFFIXES)


@dataclass
class Walk:
    """The files below `folder`: paths relative to it, with "/", sorted. A broken link is a file, too.

    `links` are the links to folders that are left out, each with the reason.
    """

    folder: Path
    files: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)

    def notes(self, label: str = "") -> list[str]:
        """What was left out, a line each; paths begin with `label`, by default the folder's own."""
        top = f"{label or shown(self.folder)}/"
        told = [f"{top}{shown(link)}: {reason}; the link is left out" for link, reason in self.links.items()]
        if self.hidden:
            what = counted(len(self.hidden), "hidden file or folder", "hidden files and folders")
            names = listed([top + name for name in self.hidden])
            told.append(f"{what} {'is' if len(self.hidden) == 1 else 'are'} left out: {names}")
        return told

    def why_left_out(self, name: str) -> str:
        """Why a file of that name is not among the files: the link above it that is left out; else ""."""
        for link, reason in self.links.items():
            if name.startswith(f"{link}/"):
                return f"{shown(link)} {reason} and is left out"
        return ""


def walk_parts(root: Path, folders: Iterable[str]) -> Walk:
    """All files below those of some folders that are there, as one; paths are relative to `root`. Of a folder
    and links to it the folder counts."""
    whole = Walk(root)
    read: dict[str, str] = {}
    top = os.path.realpath(root)
    real = {folder: os.path.realpath(root / folder) for folder in folders}
    for folder in sorted(real, key=lambda folder: real[folder] != os.path.join(top, folder)):
        if real[folder] in read:
            whole.links[folder] = f"is a link to {shown(read[real[folder]])}, which has already been read"
        elif (root / folder).is_dir():
            read[real[folder]] = folder
            part = walk(root / folder)
            whole.files += [f"{folder}/{file}" for file in part.files]
            whole.links |= {f"{folder}/{link}": why for link, why in part.links.items()}
            whole.hidden += [f"{folder}/{name}" for name in part.hidden]
    return whole


def walk(folder: Path) -> Walk:
    """All files below `folder`, by the rule above. Raises DataError when a folder cannot be read."""
    found = Walk(folder)
    above = _with_parents(os.path.realpath(folder))
    seen: dict[tuple[int, int], str] = {}
    links: deque[str] = deque()
    _walk_real("", found, seen, links)
    while links:
        batch, links = sorted(links), deque()
        for link in batch:
            target = os.path.realpath(folder / link)
            if target in above or target in _with_parents(os.path.realpath((folder / link).parent)):
                found.links[link] = f"is a link to {shown(target)}, a folder that it lies in"
            elif (known := seen.get(_identity(folder / link))) is not None:
                found.links[link] = (
                    f"is a link to {shown(known) or 'the folder itself'}, which has already been read"
                )
            else:
                _walk_real(link, found, seen, links)
    found.files.sort()
    found.hidden.sort()
    return found


def _walk_real(start: str, found: Walk, seen: dict[tuple[int, int], str], links: deque[str]) -> None:
    """Take the files of `start` and of all real folders below it; links to folders are put aside."""
    pending = deque([start])
    while pending:
        here = pending.popleft()
        identity = _identity(found.folder / here)
        if identity in seen:
            found.links[here] = f"is the folder {shown(seen[identity])}, which has already been read"
            continue
        seen[identity] = here
        prefix = f"{here}/" if here else ""
        try:
            entries = sorted(os.scandir(found.folder / here), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{shown(found.folder / here)}: cannot be read: {error.strerror}") from error
        for entry in entries:
            name = prefix + entry.name
            if entry.name.startswith("."):
                if is_image_name(entry.name) or _is_folder(entry):
                    found.hidden.append(name)
            elif is_image_name(entry.name) or not _is_folder(entry):
                found.files.append(name)
            elif entry.is_symlink():
                links.append(name)
            else:
                pending.append(name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be read: {error.strerror}") from error
    return status.st_dev, status.st_ino


def _with_parents(path: str) -> set[str]:
    return {path, *(str(parent) for parent in Path(path).parents)}
