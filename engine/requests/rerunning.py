"""What a run that is made once more takes from the first: all but what was true of that run alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.plugins import usable_config
from engine.run.directory import RunDir
from engine.store import BEST, PRUNED

OF_TRIALS = (BEST, PRUNED)
"""Tags that a search gives its trials; a run that is made once more is none."""


def config_again(run: RunDir, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """The config of a run with `changes` by key, its plugins loaded. It has no record of them: they may be
    others by now, and a new run records what it was made with. Raises RunDirError, ComponentError,
    ConfigError."""
    config, _ = usable_config(run)
    changed = with_values(config, changes) if changes else config
    return changed.model_copy(update={"plugins": None})


def tags_again(tags: Sequence[str], trial: int | None) -> tuple[str, ...]:
    """The tags of a run, which was a `trial` of a search or none (None), for one like it."""
    return tuple(tags) if trial is None else tuple(tag for tag in tags if tag not in OF_TRIALS)
