"""What the scores learned from a checkpoint's training data, and the thresholds that follow from it.

It lies with the run whose checkpoint it is of, `outputs/ood-<first 16 digits of its SHA-256>.npz`, so the
next evaluation finds it. It is used only for that very checkpoint, the same images and labels, the same size
and precision and the same share to be accepted; anything else is fitted anew.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.classes import ClassSet
from engine.data.cache import cache_key
from engine.data.catalog import Sample
from engine.inference.ood.scores import State
from engine.run.files import replacing

SHARES = np.concatenate([np.arange(0, 900) / 1000, np.arange(9000, 10001) / 10000])
"""Shares of in-distribution pixels whose scores are kept for score maps: finer where thresholds lie."""


@dataclass(frozen=True)
class Fit:
    """`scores` is the state of all scores. `pixel` and `image` are the thresholds of each score: accepted is
    what does not exceed them. `quantiles` has, for each pixel score, those of SHARES of the held-out pixels.
    """

    scores: State
    pixel: dict[str, float]
    image: dict[str, float]
    quantiles: dict[str, NDArray[np.float64]]


def fit_identity(
    checkpoint: str,
    seen: Sequence[int],
    precision: str,
    accept: float,
    training: Sequence[Sample],
    calibrating: Sequence[Sample],
    class_set: ClassSet,
    root: Path,
) -> str:
    """What a fit depends on, as text: the checkpoint's SHA-256, the sizes that the network sees, and the
    images and labels, which are known by their lengths and times as in caches."""
    size = seen[0], seen[1]
    keys = [cache_key(samples, size, class_set, root) for samples in (training, calibrating)]
    return json.dumps([checkpoint, list(seen), precision, accept, *keys])


def fit_path(checkpoint_path: Path, sha256: str, own_outputs: Path) -> Path:
    """Where the fit of a checkpoint lies: with the run that it is of, else, where this user cannot write
    there, with the run that needs it."""
    name = f"ood-{sha256[:16]}.npz"
    outputs = checkpoint_path.parent.parent / "outputs"
    theirs = outputs / name
    return theirs if theirs.is_file() or os.access(outputs, os.W_OK) else own_outputs / name


def save_fit(path: Path, identity: str, fit: Fit) -> None:
    """Write a fit whole or not at all. Raises OSError."""
    arrays: dict[str, Any] = {f"scores/{name}": value for name, value in fit.scores.items()}
    arrays |= {f"quantiles/{name}": value for name, value in fit.quantiles.items()}
    thresholds = json.dumps({"pixel": fit.pixel, "image": fit.image})
    with replacing(path) as stream:
        np.savez_compressed(stream, identity=np.array(identity), thresholds=np.array(thresholds), **arrays)


def load_fit(path: Path, identity: str) -> Fit | None:
    """The fit in a file; None when there is none, it is damaged or was made of something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["identity"]) != identity:
                return None
            thresholds = json.loads(str(file["thresholds"]))
            return Fit(
                _below(file, "scores/"), thresholds["pixel"], thresholds["image"], _below(file, "quantiles/")
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _below(file: Any, start: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(start): file[name] for name in file.files if name.startswith(start)}
