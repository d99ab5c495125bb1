"""Checkpoints: everything a run needs to go on as if nothing had happened.

Plain numbers, strings, lists, dicts and tensors only, so that `torch.load(weights_only=True)`, which runs no
code from the file, reads them.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from engine.files import replacing

FORMAT = 1


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message is one line that names the file."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` so that `path` is at every moment a whole checkpoint or absent."""
    with replacing(path) as stream:
        torch.save({"format": FORMAT, **content}, stream)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Raises CheckpointError when the file is missing, damaged or of another format."""
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: is not there") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: is damaged: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is no checkpoint of this program (format {FORMAT})")
    return content


def check_fits(path: Path, content: dict[str, Any], model: dict[str, Any], classes: list[str]) -> None:
    """Raise CheckpointError unless the checkpoint is of this architecture and these classes."""
    if content["model_config"] != model:
        raise CheckpointError(f"{path}: is of the model {content['model_config']}, the run's is {model}")
    if content["classes"] != classes:
        raise CheckpointError(
            f"{path}: knows the {len(content['classes'])} classes {', '.join(content['classes'])}; "
            f"the run's {len(classes)} are {', '.join(classes)}"
        )


def random_state() -> dict[str, Any]:
    """The state of every generator of torch that a run draws from."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
