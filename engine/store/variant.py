"""The variant of a run: what its config has beside the seed, as a short word that can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_NAMES_ONLY = ("seed", "recipe", "executor", "slurm", "report")
"""Keys in which two runs of one variant may differ: the seed, the name by which people found the rest, who
starts them and who is told of them."""

_LENGTH = 12


def variant_of(config: Mapping[str, Any]) -> str:
    """Equal for two stored configs that differ in their seed alone.

    A key that has its default counts as absent, so that a version with more keys gives old configs the same
    word. Of a plugin its content counts, not where it lies.
    """
    from engine.config.stored import told  # takes longer than listing all runs

    rest = {key: value for key, value in told(config).items() if key not in _NAMES_ONLY}
    if plugins := rest.get("plugins"):
        rest["plugins"] = sorted(file["sha256"] for file in plugins)
    data = rest.get("data")
    if (
        isinstance(data, dict)
        and data.get("split") in ("official", "folders")
        and "label_fraction" not in data
    ):
        rest["data"] = {key: value for key, value in data.items() if key != "split_rule"}  # it rules nothing
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:_LENGTH]
