"""A synthetic data set in the layout of Cityscapes: street scenes drawn from a seed.

It needs no download and no licence, so that every part of the engine can be tried at once, and it is
hard enough that a network has to learn shapes and context: a class has many colours, and colours belong
to many classes. It does not replace photographs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import CITYSCAPES
from engine.data.scenes.street import render
from engine.data.scenes.styles import DAY, STYLES
from engine.errors import EngineError
from engine.host.processes import python_environment
from engine.run.files import replacing

IMAGES, LABELS = FOLDERS = ("leftImg8bit", "gtFine")

DRAWING = ".drawing"
"""The folder of those that are not all drawn yet."""

SMALLEST_SIDE, LARGEST_SIDE = 64, 4096
"""Bounds of height and width in pixels."""

FEW_PIXELS = 1_000_000
"""Up to this many in all, drawing them here takes less time than starting processes."""


class SyntheticError(EngineError, ValueError):
    """A synthetic data set that cannot be made; the message is one line a person can act on."""


@dataclass(frozen=True)
class SyntheticSummary:
    """What was written: images in each split, and the names of the classes that occur, in class order."""

    train: int
    val: int
    classes: tuple[str, ...]


@dataclass(frozen=True)
class _Picture:
    """One image and label file to draw."""

    root: Path
    split: str
    seed: int
    index: int
    size: tuple[int, int]
    style: str


def synthesize(
    root: Path,
    images: int,
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    val_fraction: float = 0.2,
    on_progress: Callable[[int, int], None] | None = None,
    style: str = DAY,
) -> SyntheticSummary:
    """Draw `images` street scenes of `size` (height, width) in pixels below `root`, on all cores.

    Image i is the same for the same `seed`, i, `size` and `style`, whatever the other arguments are. Its
    labels are the same in all of STYLES but "other-city". The
    validation images, `val_fraction` (0 to 1) of all and at least one, are spread evenly.
    `on_progress` is called in the calling thread with images done and images in all.

    Files: `leftImg8bit/<split>/synth/synth_<i>_000019_leftImg8bit.png` (RGB) and
    `gtFine/<split>/synth/synth_<i>_000019_gtFine_labelIds.png` (source ids of Cityscapes, 8 bits),
    split `train` or `val`. They are there when all are drawn: whatever ends the drawing leaves none.

    Raises SyntheticError for arguments out of range, a `root` that holds anything, or a failed write.
    """
    if style not in STYLES:
        raise SyntheticError(f"style is {style!r}; it must be one of {', '.join(STYLES)}")
    _check(root, images, size, seed, val_fraction)
    splits = _splits(images, val_fraction)
    hidden, is_new = root / DRAWING, not root.exists()
    pictures = [_Picture(hidden, split, seed, i, size, style) for i, split in enumerate(splits)]
    found: set[int] = set()
    with contextlib.ExitStack() as held:
        try:
            root.mkdir(parents=True, exist_ok=True)
            held.enter_context(_alone_in(root))
            _refuse_occupied(root)  # by whoever had it until now
            held.callback(_tidy, root, is_new)
            shutil.rmtree(hidden, ignore_errors=True)  # of one that was killed
            for folder in {path.parent for picture in pictures for path in _paths(picture)}:
                folder.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(_drawn(pictures)) as drawn:
                for done, source_ids in enumerate(drawn, start=1):
                    found |= source_ids
                    if on_progress is not None:
                        on_progress(done, images)
            for name in FOLDERS:
                (hidden / name).rename(root / name)
        except OSError as error:
            raise SyntheticError(f"{root}: cannot be written: {error.strerror or error}") from error
        except BrokenProcessPool as error:
            raise SyntheticError(
                f"{root}: a drawing process was killed, perhaps out of memory; draw smaller images"
            ) from error
    classes = tuple(c.name for c in CITYSCAPES.classes if found.intersection(c.ids))
    return SyntheticSummary(splits.count("train"), splits.count("val"), classes)


def _check(root: Path, images: int, size: tuple[int, int], seed: int, val_fraction: float) -> None:
    if images < 2:
        raise SyntheticError(f"images is {images}; at least 2 are needed, one to train and one to validate")
    for name, side in zip(("height", "width"), size, strict=True):
        if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
            raise SyntheticError(
                f"{name} is {side}; it must be from {SMALLEST_SIDE} to {LARGEST_SIDE} pixels"
            )
    if seed < 0:
        raise SyntheticError(f"seed is {seed}; it must be 0 or more")
    if not 0.0 < val_fraction < 1.0:
        raise SyntheticError(f"val_fraction is {val_fraction}; it must lie between 0 and 1, such as 0.2")
    _refuse_occupied(root)


def _refuse_occupied(root: Path) -> None:
    try:
        if root.exists() and (not root.is_dir() or any(path.name != DRAWING for path in root.iterdir())):
            raise SyntheticError(f"{root}: is not empty; give a new folder")
    except OSError as error:
        raise SyntheticError(f"{root}: cannot be read: {error.strerror or error}") from error


@contextlib.contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Hold a folder to draw in. Raises SyntheticError while another process does, and OSError."""
    folder = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SyntheticError(f"{root}: another process is drawing in it; give a new folder") from None
        except OSError:
            pass  # a file system that has no locks of folders
        yield
    finally:
        os.close(folder)


def _tidy(root: Path, is_new: bool) -> None:
    """Remove what is not all drawn, and a new folder where nothing came of it."""
    shutil.rmtree(root / DRAWING, ignore_errors=True)
    with contextlib.suppress(OSError):
        if is_new:
            root.rmdir()


def _splits(images: int, val_fraction: float) -> list[str]:
    """The split of every image: one in 1 / `val_fraction` validates."""
    splits = [
        "val" if int((i + 1) * val_fraction) > int(i * val_fraction) else "train" for i in range(images)
    ]
    splits[0] = "train"
    if "val" not in splits:
        splits[-1] = "val"
    return splits


def _paths(picture: _Picture) -> tuple[Path, Path]:
    """Image file and label file."""
    name = f"synth_{picture.index:06d}_000019"
    return (
        picture.root / IMAGES / picture.split / "synth" / f"{name}_leftImg8bit.png",
        picture.root / LABELS / picture.split / "synth" / f"{name}_gtFine_labelIds.png",
    )


def _draw(picture: _Picture) -> set[int]:
    """Draw and write one picture; returns the source ids in it."""
    image, labels = render(picture.seed, picture.index, picture.size, picture.style)
    image_path, label_path = _paths(picture)
    _write_png(label_path, labels, compression=6)
    # Noise hardly compresses: level 6 would take longer than the drawing.
    _write_png(image_path, image, compression=1)
    return set(np.flatnonzero(np.bincount(labels.ravel())).tolist())


def _write_png(path: Path, pixels: NDArray[np.uint8], compression: int) -> None:
    with replacing(path) as stream:
        Image.fromarray(pixels).save(stream, "png", compress_level=compression)


# --- processes ----------------------------------------------------------------------------------


def _drawn(pictures: list[_Picture]) -> Generator[set[int], None, None]:
    """Draw all pictures; yields the source ids of each as it is done, in no particular order."""
    height, width = pictures[0].size
    processes = min(len(pictures), _cores())
    if processes == 1 or len(pictures) * height * width <= FEW_PIXELS:
        yield from map(_draw, pictures)
        return
    waiting = iter(pictures)
    # Spawned, since a fork of a caller with threads can hang.
    os.environ.update(python_environment())  # they would take modules from the folder where they start
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_settle_process)
    try:
        with _interrupts_ignored():
            drawing = {pool.submit(_draw, picture) for picture in islice(waiting, 4 * processes)}
        while drawing:
            done, drawing = wait(drawing, return_when=FIRST_COMPLETED)
            drawing |= {pool.submit(_draw, picture) for picture in islice(waiting, len(done))}
            yield from (future.result() for future in done)
    finally:
        # After an error or Ctrl-C the pictures in hand are finished and the rest is dropped.
        pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started in here ignore Ctrl-C from their first moment: it is the caller's to handle."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may; `_settle_process` does the same a little later
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _settle_process() -> None:
    """In a drawing process: leave Ctrl-C to the caller, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
