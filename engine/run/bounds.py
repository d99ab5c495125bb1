"""What the numbers and texts of a run may be: the bounds of journal, card and the other files of its folder.

A run folder may come from anywhere. What is within these bounds fits into both kinds of database and can be
shown; what is not is refused where the file is read.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

MOST_EPOCHS = 1_000_000
MOST_CLASSES = 255
LATEST = 32_503_680_000.0
"""The first second of the year 3000: later times are no times that a run had."""

MAX_LINE = 64 << 20
"""Bytes of the longest line of a journal; a worker's longest has the confusions of 255 classes."""

MAX_FILE = 256 << 20
"""Bytes of the largest card or config; a prediction of a million images has a config of 100 MB."""

Whole = Annotated[int, Field(ge=0, lt=2**31)]
Attempt = Annotated[int, Field(ge=0, le=1_000_000)]
Large = Annotated[int, Field(ge=0, lt=2**63)]
Signed = Annotated[int, Field(ge=-(2**31), lt=2**31)]
EpochNumber = Annotated[int, Field(ge=0, le=MOST_EPOCHS)]
Time = Annotated[float, Field(ge=0, lt=LATEST, allow_inf_nan=False)]
"""UTC seconds since 1970."""
Seconds = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6, allow_inf_nan=False)]
"""A share from 0 to 1; what rounding adds is no reason to lose a night's result."""

RUN_ID = r"[a-z0-9]{8}"
RunId = Annotated[str, Field(pattern=f"^{RUN_ID}$")]
OptionalRunId = Annotated[str, Field(pattern=f"^({RUN_ID})?$")]
Word = Annotated[str, Field(max_length=100)]
Phase = Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,39}$")]
Name = Annotated[str, Field(max_length=600)]
"""Text that a database looks up. An entry of PostgreSQL's indices holds 2,700 bytes, a character up to 4."""
Note = Annotated[str, Field(max_length=1_000_000)]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Classes = Annotated[list[Name], Field(max_length=MOST_CLASSES)]
Colors = Annotated[list[Color], Field(max_length=MOST_CLASSES)]


def is_tag(text: str) -> bool:
    """Whether a text is one word without commas."""
    return re.fullmatch(r"[^\s,]+", text) is not None


def _tag(text: str) -> str:
    if not is_tag(text):
        raise ValueError(f"{text!r} is not a tag; a tag is one word without spaces or commas")
    return text


Tag = Annotated[str, Field(max_length=600), AfterValidator(_tag)]


def stays_inside(path: str) -> bool:
    """Whether a path, taken from some folder, can only be of something in it."""
    return not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def _inside(path: str) -> str:
    if not stays_inside(path):
        raise ValueError("must be a path that stays in the run's folder")
    return path


Inside = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_inside)]
"""A path from the run's folder to something in it."""


def without_nul(json: bytes) -> bytes:
    """JSON text in which U+FFFD stands for each character NUL, which PostgreSQL cannot keep and C ends at."""
    return _NUL.sub(rb"\1\\ufffd", json) if rb"\u0000" in json else json


_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
