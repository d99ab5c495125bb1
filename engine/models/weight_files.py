"""Reading files of weights, wherever they were made, without running code from them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.run.checkpoint_file import CheckpointError, DamagedCheckpoint, first_line, verify_checkpoint
from engine.run.weight_kinds import ADVICE, kind_of_weights

__all__ = ["WRAPPERS", "read_content", "read_weights", "weights_in"]

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights")
"""Names under which training programs keep the weights beside other things, the likeliest first."""

_OPTIMIZERS = ("optim", "sched", "scaler")
_DEEPEST = 4
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""How torch names what `weights_only` refuses."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by name, in the host's memory: those of torch.save, within a wrapper or not, and
    safetensors. Raises CheckpointError, one line that names the file and says what is wrong."""
    return weights_in(read_content(path), path)


def read_content(path: Path) -> dict[str, Any]:
    """All that a file holds. Raises CheckpointError; DamagedCheckpoint where bytes are missing or changed."""
    kind = kind_of_weights(path)
    content = _read_safetensors(path) if kind == "safetensors" else _read_torch(path, kind == "torch zip")
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not weights by name")
    return dict(content)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedCheckpoint(f"{path}: is damaged: {first_line(error)}") from error


def _read_torch(path: Path, is_zip: bool) -> Any:
    if is_zip:
        verify_checkpoint(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = _GLOBAL.search(str(error))
        if code is None:
            raise DamagedCheckpoint(f"{path}: is damaged: {first_line(error)}") from error
        raise CheckpointError(
            f"{path}: holds {code[1]}, which only unpickling can read, and that may run any code; "
            f"if you trust the file, {ADVICE}"
        ) from error
    except (ValueError, KeyError, IndexError, EOFError, AttributeError, TypeError) as error:
        raise DamagedCheckpoint(f"{path}: is damaged: {first_line(error)}") from error
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise DamagedCheckpoint(f"{path}: is damaged: {first_line(error)}") from error


def weights_in(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The weights by name in what a file holds: it may be all, or under a name such as "state_dict".

    Raises CheckpointError when there are none, several of them of which none has a usual name, or one that is
    not finite.
    """
    found = dict(_groups(content, set()))
    if not found:
        raise CheckpointError(f"{path}: holds no weights by name, only {', '.join(_names(content))}")
    if len(found) > 1:
        usual = [place for name in WRAPPERS for place in found if place.split(".")[0] == name]
        if not usual and "" not in found:
            raise CheckpointError(
                f"{path}: holds several groups of weights, {', '.join(sorted(found))}; "
                "save the right one alone"
            )
        found = {"": found[usual[0] if usual else ""]}  # a lone number may lie beside the weights
    (weights,) = found.values()
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
            raise CheckpointError(f"{path}: {name} has values that are NaN or infinite")
    return weights


def _groups(
    content: Mapping[str, Any], seen: set[int], place: str = "", depth: int = 0
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The groups of tensors by name within a file, by their dotted places; none of an optimizer."""
    own = {name: each for name, each in content.items() if isinstance(name, str) and _is_weight(each)}
    if own:
        yield place, own
    for name, inner in content.items():
        is_other = not isinstance(name, str) or any(word in name.lower() for word in _OPTIMIZERS)
        if isinstance(inner, Mapping) and not is_other and depth < _DEEPEST and id(inner) not in seen:
            seen.add(id(inner))  # a file may hold itself
            yield from _groups(inner, seen, f"{place}.{name}".lstrip("."), depth + 1)


def _is_weight(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_quantized or value.is_complex() or value.is_meta)
    )


def _names(content: Mapping[str, Any]) -> list[str]:
    names = [str(name) for name in content]
    return [*names[:4], *([f"{len(names) - 4} more"] if len(names) > 4 else [])] or ["nothing"]
