"""Weights that come with an architecture: what `model.weights` may be. Torch-free.

The key names weights of the network's makers, which are downloaded, or a file. A new run loads them after its
network is drawn; a resumed or evaluated one has its own.
"""

from __future__ import annotations

from collections.abc import Collection

from engine.errors import EngineError

NONE = "none"
"""The weights of a network that is drawn at random."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""How the names of weight files end."""


class WeightsError(EngineError):
    """Weights that cannot be had, or of another network; the message is one line."""


def is_weights_file(weights: str) -> bool:
    """Whether weights are a file, by how they are written."""
    return weights.endswith(SUFFIXES) or "/" in weights


def problem_with_weights(weights: str, names: Collection[str], owner: str) -> str:
    """Why weights cannot be those of a network that has weights of these names; "" where they can."""
    if weights == NONE or weights in names or is_weights_file(weights):
        return ""
    has = f"it has {', '.join(names)}" if names else "it has none by name"
    return f"there are no weights {weights!r} of {owner}; {has}; none or the path of a file works, too"
