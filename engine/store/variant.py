"""The variant of a run: what its config has beside the seed, as a short word that can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_NAMES_ONLY = ("seed", "recipe", "executor", "slurm")
"""Keys in which two runs of one variant may differ: the seed, the name by which people found the rest, and
who starts them."""

_LENGTH = 12


def variant_of(config: Mapping[str, Any]) -> str:
    """Equal for two stored configs that differ in their seed alone.

    A key that has its default counts as absent, so that a version with more keys gives old configs the same
    word. A config that this version cannot read is taken as it is.
    """
    from engine.config.run_config import RunConfig, variant_sections

    try:
        known = RunConfig.of_stored(config)
    except ValueError:
        told = dict(config)
    else:
        told = known.model_dump(mode="json", exclude_defaults=True)
        for section, registry in variant_sections().items():
            name = getattr(known, section).name
            if not registry.is_built_in(name):
                told[section] = config[section]  # its defaults are known only where its plugin is loaded
            elif name != registry.default:
                told[section]["name"] = name  # which its own section has as the default
        if not known.data.chooses_images and "data" in told:
            told["data"].pop("split_rule", None)  # it has nothing to rule
            told = {key: value for key, value in told.items() if value or key != "data"}
    rest = {key: value for key, value in told.items() if key not in _NAMES_ONLY}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:_LENGTH]
