"""Files of class embeddings: what a text encoder makes of the classes' names. Torch-free.

A safetensors file with `embeddings`, float32 [classes, size], and in its metadata `classes`, a JSON list of
names in the order of the rows, and `source`, the encoder and its prompts in words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from engine.models.pretrained import WeightsError
from engine.run.checkpoint_file import CheckpointError, first_line
from engine.run.files import replacing
from engine.run.weight_kinds import kind_of_weights

NAME = "embeddings"
MAKE = "`seg-engine text-embeddings` makes such files"


@dataclass(frozen=True)
class ClassEmbeddings:
    """`vectors` float32 [classes, size], finite and none of length 0."""

    classes: tuple[str, ...]
    vectors: NDArray[np.float32]
    source: str = ""

    def of(self, classes: Sequence[str], path: Path) -> NDArray[np.float32]:
        """The vectors of some classes, in their order. Raises WeightsError for one that is not there."""
        rows = {name: row for row, name in enumerate(self.classes)}
        absent = [name for name in classes if name not in rows]
        if absent:
            there = ", ".join(self.classes[:4])
            more = f" and {len(self.classes) - 4} more" if len(self.classes) > 4 else ""
            raise WeightsError(f"{path}: has no embedding of {', '.join(absent)}; it has {there}{more}")
        return self.vectors[[rows[name] for name in classes]]


def read_embeddings(path: Path) -> ClassEmbeddings:
    """What is in a file of class embeddings. Raises WeightsError, one line that says what is wrong."""
    try:
        if kind_of_weights(path) != "safetensors":
            raise WeightsError(f"{path}: is no safetensors file; {MAKE}")
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            vectors = file.get_tensor(NAME) if NAME in file.keys() else None  # noqa: SIM118  # it is no dict
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: is damaged: {first_line(error)}") from error
    if vectors is None or "classes" not in metadata:
        raise WeightsError(f"{path}: holds no class embeddings; {MAKE}")
    classes = _names(metadata["classes"])
    if vectors.ndim != 2 or not classes or len(vectors) != len(classes):
        shape = "x".join(str(side) for side in vectors.shape)
        raise WeightsError(f"{path}: its embeddings are {shape} for {len(classes)} classes; {MAKE}")
    vectors = vectors.astype(np.float32)
    if not np.isfinite(vectors).all() or not np.linalg.norm(vectors, axis=1).all():
        raise WeightsError(f"{path}: has embeddings that are NaN, infinite or 0; {MAKE}")
    return ClassEmbeddings(classes, vectors, metadata.get("source", ""))


def write_embeddings(path: Path, embeddings: ClassEmbeddings) -> None:
    """Write a file of class embeddings, whole or not at all. Raises OSError."""
    metadata = {"classes": json.dumps(list(embeddings.classes)), "source": embeddings.source}
    with replacing(path) as file:
        file.write(save({NAME: embeddings.vectors}, metadata))


def _names(text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except ValueError:
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()
