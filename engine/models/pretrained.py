"""Weights that come with an architecture: what `model.weights` may be. Torch-free.

The key names weights of the network's makers, which are downloaded, or a file. A new run loads them after its
network is drawn; a resumed or evaluated one has its own.
"""

from __future__ import annotations

from collections.abc import Collection

from engine.errors import EngineError

NONE = "none"
"""The weights of a network that is drawn at random."""

Channels = tuple[float, float, float]

IMAGENET = "imagenet"
"""How every network gets its images normalised."""

NORMALISATIONS: dict[str, tuple[Channels, Channels]] = {
    IMAGENET: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "dpn": ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    "satellite": ((0.43, 0.411, 0.296), (0.213, 0.156, 0.143)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation of red, green and blue by which weights that others have made want pixels from
0 to 1 normalised; the names are those of timm's constants. `satellite` is DINOv3's on satellite images."""

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
