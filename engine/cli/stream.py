"""`seg-engine predict RUN --from-stdin raw`: frames from a pipe, their classes or views into another."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.cli.console import notices
from engine.cli.exported import is_exported, seen_in
from engine.config.keys import ConfigError, parse_assignments
from engine.exits import DONE, FAILED
from engine.loading import load
from engine.requests.refusals import Refused
from engine.video.views import Painter
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.scoring import Prediction


OF_FILES = {name: f"--{name}" for name in ("out", "ids", "naming", "tta", "crf", "overwrite")}
OF_FILES |= {"label_resize": "--label-resize", "new": "--name, --experiment, --tag and --note"}
OF_FILES |= {"queued": "--queue", "as_json": "--json"}
"""Options that mean nothing for a stream, by their fields."""


def predict_stream(workspace: Workspace, wanted: Prediction) -> int:
    """Predict frames until stdin ends; returns the exit status, 1 where it ends within a frame. A frame is
    uint8 [H, W, 3] in RGB; written are uint8 [H, W] class ids, or a view as `Painter` makes it.

    Raises Refused and ConfigError before anything is read, BrokenPipeError once nobody reads stdout.
    """
    height, width = frame_size(wanted.size)
    refuse_idle(wanted)
    refuse_terminals()
    values = parse_assignments(wanted.set_key)
    allowed = ("data.size",) if is_exported(wanted.run) else ("device", "data.size")
    if strange := [key for key in values if key not in allowed]:
        what = Path(wanted.run).name if is_exported(wanted.run) else "a stream"
        told = f"has no effect on {what}; {' and '.join(allowed)} can be changed"
        raise ConfigError([f"--set {key}: {told}" for key in strange])
    seen = seen_in(wanted.windows, values.get("data.size", ""))
    network = load(wanted.run, workspace.root, wanted.checkpoint, values.get("device", "auto"), seen)
    view = wanted.view or "ids"
    painter = Painter(view, network.colors)
    done, begun = 0, time.monotonic()
    with open(0, "rb", closefd=False) as source, open(1, "wb", closefd=False) as target:
        while True:
            pixels, missing = read_frame(source, height, width)
            if pixels is None:
                break
            classes = network.class_map(pixels)
            target.write((classes if view == "ids" else painter.paint(pixels, classes)).tobytes())
            target.flush()
            done += 1
    notices.say(f"{done} frames, {done / (time.monotonic() - begun):.1f} frames/s")
    if missing:
        of = height * width * 3
        notices.say(
            f"stdin ended within frame {done + 1}, after {of - missing} of its {of} bytes; is --size right?"
        )
    return FAILED if missing else DONE


def read_frame(source: BinaryIO, height: int, width: int) -> tuple[NDArray[np.uint8] | None, int]:
    """The next frame, uint8 [H, W, 3]; at the end None, and how many bytes are missing of one that began."""
    wanted = height * width * 3
    data = source.read(wanted)
    if len(data) == wanted:
        return np.frombuffer(data, np.uint8).reshape(height, width, 3), 0
    return None, wanted - len(data) if data else 0


def refuse_idle(wanted: Prediction) -> None:
    """Raise ConfigError for options that mean nothing for a stream, or for an exported network."""
    plain = type(wanted)(
        run="",
        from_stdin="raw",
        size="1x1",
        windows=type(wanted.windows)(),
        new=type(wanted.new)(),
        queued=type(wanted.queued)(),
    )
    problems = [
        f"{option}: has no effect on a stream"
        for name, option in OF_FILES.items()
        if getattr(wanted, name) != getattr(plain, name)
    ]
    if is_exported(wanted.run) and wanted.checkpoint != plain.checkpoint:
        problems.append(f"--checkpoint: has no effect on {Path(wanted.run).name}, which is not a run")
    if problems:
        raise ConfigError(problems)


def frame_size(text: str) -> tuple[int, int]:
    """Height and width. Raises ConfigError."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise ConfigError([f"--size {text}: is not a size; it must be HEIGHTxWIDTH such as 720x1280"])
    return int(match[1]), int(match[2])


def refuse_terminals() -> None:
    """Raises Refused where frames would come from, or go to, a terminal."""
    if sys.stdin.isatty():
        raise Refused(["--from-stdin raw: stdin is a terminal; pipe frames into it"])
    if sys.stdout.isatty():
        raise Refused(["--from-stdin raw: stdout is a terminal; pipe it into a program or a file"])
