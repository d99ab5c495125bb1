"""The confusion matrix of every image of a split, kept in little room.

One image holds few of the possible confusions, so of each matrix only the cells that are not 0 are kept: a
19-class image of 2048x1024 takes about 2 kB in memory and less in the file. Free of torch: whoever compares
two evaluations reads the file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from engine.classes import VOID
from engine.metrics.scores import MetricsError, Scores, scores_from_confusion
from engine.run.files import replacing

Matrix = npt.NDArray[np.int64]


def confusion_of(predicted: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8], classes: int) -> Matrix:
    """The matrix [C, C+1] of one image: train ids uint8 [H, W], predicted and true; pixels whose true id is
    VOID are in no count. Raises MetricsError for other labels."""
    valid = target != VOID
    true, found = target[valid].astype(np.int64), predicted[valid].astype(np.int64)
    found[found == VOID] = classes
    if max(true.max(initial=0), found.max(initial=0) - 1) >= classes:
        raise MetricsError(f"a label is neither a train id below {classes} nor {VOID}")
    counts = np.bincount(true * (classes + 1) + found, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


@dataclass
class ImageConfusions:
    """Matrices [C, C+1] as in `engine.metrics.scores`, one an image, in the order in which they were added.

    `checkpoint` is the SHA-256 of the checkpoint whose predictions they count, and the words of the CRF that
    refined them.
    """

    classes: tuple[str, ...]
    checkpoint: str = ""
    names: list[str] = field(default_factory=list)
    _cells: list[npt.NDArray[np.int32]] = field(default_factory=list, repr=False)
    _counts: list[Matrix] = field(default_factory=list, repr=False)
    _total: Matrix | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.classes), len(self.classes) + 1

    def add(self, name: str, confusion: Matrix) -> Scores:
        """Keep the matrix of one image; returns the scores of that image."""
        scores = scores_from_confusion(confusion)
        if confusion.shape != self.shape:
            raise MetricsError(f"{name}: {list(confusion.shape)} is not {list(self.shape)}")
        cells = np.flatnonzero(confusion).astype(np.int32)
        self._keep(name, cells, confusion.ravel()[cells])
        return scores

    def first(self, count: int) -> ImageConfusions:
        """Those of the first `count` images."""
        cut = ImageConfusions(self.classes, self.checkpoint)
        for name, cells, counts in zip(
            self.names[:count], self._cells[:count], self._counts[:count], strict=True
        ):
            cut._keep(name, cells, counts)
        return cut

    def matrix(self, position: int) -> Matrix:
        """The matrix of one image."""
        matrix = np.zeros(self.shape, dtype=np.int64)
        matrix.ravel()[self._cells[position]] = self._counts[position]
        return matrix

    def matrices(self) -> Sequence[Matrix]:
        """The matrix of each image, made when it is asked for."""
        return _Matrices(self)

    def pooled(self) -> Matrix:
        """The sum over all images."""
        return np.zeros(self.shape, dtype=np.int64) if self._total is None else self._total.copy()

    def scores(self) -> Scores:
        """Of all images: `dice_image` is the mean over those that have a Dice."""
        dices = [scores_from_confusion(self.matrix(position)).dice for position in range(len(self))]
        defined = [dice for dice in dices if dice is not None]
        mean = sum(defined) / len(defined) if defined else None
        return scores_from_confusion(self.pooled(), dice_image=mean)

    def counts(self, names: Sequence[str]) -> tuple[Matrix, Matrix, Matrix]:
        """What Dice and IoU are made of, for images in the order of `names`.

        Each is [N, C]: correct pixels, pixels of the class in the ground truth, pixels predicted as it.
        """
        positions = {name: position for position, name in enumerate(self.names)}
        parts = np.zeros((3, len(names), len(self.classes)), dtype=np.int64)
        for row, name in enumerate(names):
            matrix = self.matrix(positions[name])
            parts[:, row] = matrix.diagonal(), matrix.sum(axis=1), matrix[:, :-1].sum(axis=0)
        return parts[0], parts[1], parts[2]

    def save(self, path: Path, beside: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
        """Write all of it as a compressed .npz, whole or not at all, with arrays that belong `beside` it."""
        sizes = [len(cells) for cells in self._cells]
        arrays: dict[str, Any] = {
            "classes": np.array(self.classes, dtype=np.str_),
            "checkpoint": np.array(self.checkpoint, dtype=np.str_),
            "names": np.array(self.names, dtype=np.str_),
            "first": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            "cells": np.concatenate([np.zeros(0, np.int32), *self._cells]),
            "counts": np.concatenate([np.zeros(0, np.int64), *self._counts]),
        }
        with replacing(path) as stream:
            np.savez_compressed(stream, **arrays | dict(beside or {}))

    def _keep(self, name: str, cells: npt.NDArray[np.int32], counts: Matrix) -> None:
        self.names.append(name)
        self._cells.append(cells)
        self._counts.append(counts)
        if self._total is None:
            self._total = np.zeros(self.shape, dtype=np.int64)
        self._total.ravel()[cells] += counts


class _Matrices(Sequence[Matrix]):
    def __init__(self, of: ImageConfusions) -> None:
        self._of = of

    def __len__(self) -> int:
        return len(self._of)

    @overload
    def __getitem__(self, position: int) -> Matrix: ...

    @overload
    def __getitem__(self, position: slice) -> list[Matrix]: ...

    def __getitem__(self, position: int | slice) -> Matrix | list[Matrix]:
        if isinstance(position, slice):
            return [self._of.matrix(one) for one in range(len(self))[position]]
        return self._of.matrix(range(len(self))[position])


def load_beside(path: Path, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays that were saved beside the matrices, of names that begin so, from a file that
    `load_image_confusions` has read."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name.startswith(prefix)}


def load_image_confusions(path: Path) -> ImageConfusions:
    """Read what `save` wrote. Raises MetricsError for a missing or damaged file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            classes = tuple(str(name) for name in file["classes"])
            loaded = ImageConfusions(classes, str(file["checkpoint"]))
            first, cells, counts = file["first"], file["cells"], file["counts"]
            for position, name in enumerate(file["names"]):
                part = slice(first[position], first[position + 1])
                loaded._keep(str(name), cells[part], counts[part])
    except FileNotFoundError:
        raise MetricsError(f"{path}: does not exist") from None
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise MetricsError(f"{path}: is damaged: {error}") from error
    return loaded
