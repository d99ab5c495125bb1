"""Checkpoints: everything a run needs to go on as if nothing had happened.

Plain numbers, strings, lists, dicts and tensors only, so that `torch.load(weights_only=True)`, which runs no
code from the file, reads them.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from engine.components.stored import reading_stored
from engine.host.input_files import version_of
from engine.models import ModelSection
from engine.run.checkpoint_file import (
    CheckpointError,
    DamagedCheckpoint,
    first_line,
    other_classes,
    sha256_of,
    verify_checkpoint,
)
from engine.run.files import replacing

__all__ = [
    "CheckpointError",
    "DamagedCheckpoint",
    "check_fits",
    "is_checkpoint",
    "load_checkpoint",
    "load_with_digest",
    "random_state",
    "restore_random_state",
    "save_checkpoint",
]

FORMAT = 1


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` so that `path` is at every moment a whole checkpoint or absent.

    Raises CheckpointError when the disk refuses it, or when `content` has a value that could not be read
    again. The checkpoint that was there before is untouched.
    """
    for place, value in _unreadable(content):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise CheckpointError(
            f"{path}: {place} is of type {kind}, which a checkpoint cannot hold; it must be a plain number, "
            "text, list, dict or tensor"
        )
    try:
        with replacing(path) as stream:
            torch.save({"format": FORMAT, **content}, stream)
    except (OSError, RuntimeError) as error:
        # torch's writer stumbles over its own half-written file and buries the reason one level down.
        refusal = error if isinstance(error, OSError) else error.__context__
        if not isinstance(refusal, OSError):
            raise
        raise CheckpointError(f"{path}: cannot be written: {refusal.strerror}") from error


def _unreadable(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The values in a checkpoint that `load_checkpoint` would refuse, with their dotted places."""
    if type(value) in (dict, OrderedDict):
        for key, inner in value.items():
            if type(key) not in _PLAIN:
                yield place, key
            yield from _unreadable(inner, f"{place}.{key}".lstrip("."))
    elif type(value) in (list, tuple):
        for index, inner in enumerate(value):
            yield from _unreadable(inner, f"{place}.{index}")
    elif type(value) not in _PLAIN and not isinstance(value, Tensor):
        yield place, value


_PLAIN = (bool, int, float, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
"""What `torch.load(weights_only=True)` reads beside containers and tensors."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint into the memory of the host, because a device that the run nearly fills has no room
    for the weights and the state of the optimizer twice.

    Raises DamagedCheckpoint for changed bytes, CheckpointError for a missing file or another format."""
    verify_checkpoint(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, ValueError, KeyError, EOFError) as error:
        raise DamagedCheckpoint(f"{path}: is damaged: {first_line(error)}") from error
    except RuntimeError as error:
        if "PytorchStreamReader" not in str(error):  # no memory, or no device, says nothing about the file
            raise
        raise DamagedCheckpoint(f"{path}: is damaged: {first_line(error)}") from error
    if not isinstance(content, dict) or not is_checkpoint(content):
        raise CheckpointError(f"{path}: is no checkpoint of this program (format {FORMAT})")
    return content


def load_with_digest(path: Path) -> tuple[dict[str, Any], str]:
    """A checkpoint, as `load_checkpoint` reads it, and the SHA-256 of the very file that it was read from: a
    training that is under way may put another in its place at any time."""
    while True:
        seen = version_of(path)
        content, sha256 = load_checkpoint(path), sha256_of(path)
        if version_of(path) == seen:
            return content, sha256


def is_checkpoint(content: Mapping[str, Any]) -> bool:
    """Whether what was read from a file is a checkpoint of this program."""
    return content.get("format") == FORMAT


def check_fits(path: Path, content: dict[str, Any], model: ModelSection, classes: list[str]) -> None:
    """Raise CheckpointError unless the checkpoint is of this architecture and these classes.

    A key that an earlier version did not have counts as its default.
    """
    if not _is_of(model, content["model_config"]):
        own = model.model_dump(mode="json")
        raise CheckpointError(f"{path}: is of the model {content['model_config']}, the run's is {own}")
    if content["classes"] != classes:
        raise CheckpointError(f"{path}: {other_classes(content['classes'], classes)}")


def _is_of(model: ModelSection, saved: dict[str, Any]) -> bool:
    try:
        with reading_stored():
            return type(model).model_validate(saved) == model
    except ValidationError:
        return False


def random_state() -> dict[str, Any]:
    """The state of every generator of torch that a run draws from."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    # The run may go on where fewer GPUs are, or more, than when it was saved.
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index, generator in enumerate(state.get("cuda", [])[:here]):
        torch.cuda.set_rng_state(generator, index)
