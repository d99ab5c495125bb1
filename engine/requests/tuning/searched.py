"""What a search looks at: the recipe, what varies, and what must be the same when it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.run_config import RunConfig
from engine.config.run_defaults import RunDefaults
from engine.requests.configs import changed_config
from engine.requests.tuning.space import Axis

CONTENT = "content of the recipe's file"
"""The setting that tells a file that was edited."""


@dataclass(frozen=True)
class Search:
    """What is searched. `name` is the experiment of the runs. `recipe` is the name of one or a TOML file,
    `content` a digest of the file, "" of a name, and `base` its config. `fixed` are the assignments of all
    trials, `defaults` what they have where the recipe leaves it open. `parallel` is how many are in the queue
    or at work at once."""

    name: str
    recipe: str
    content: str
    base: RunConfig
    data: Path | None
    axes: tuple[Axis, ...]
    fixed: tuple[str, ...]
    defaults: RunDefaults
    trials: int
    metrics: tuple[str, ...]
    sampler: str
    pruner: str
    parallel: int
    seed: int
    priority: int
    tags: tuple[str, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same when a search goes on; more trials may be asked for."""
        return {
            "recipe": self.recipe,
            CONTENT: self.content,
            "data": str(self.data) if self.data is not None else self.defaults.data,
            "varies": {axis.key: str(axis.distribution()) for axis in self.axes},
            "sampler": self.sampler if self.sampler == "grid" else "",
            "fixed": sorted(self.fixed),
            "metrics": list(self.metrics),
        }

    def config(self, values: dict[str, Any]) -> RunConfig:
        """The config of a trial. Raises ConfigError."""
        changes = [f"{axis.key}={axis.typed(values[axis.key])}" for axis in self.axes]
        return changed_config(self.base, [*self.fixed, *changes], self.data)
