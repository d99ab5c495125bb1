"""The command that makes a run again, so that another person can."""

from __future__ import annotations

import shlex

from engine.recipes import RECIPES
from engine.report.run import changed_keys
from engine.store import RunRow


def config_file(row: RunRow) -> str:
    """Where a report keeps the config of a run, below its folder."""
    return f"configs/{row.id}.toml"


def command_line(row: RunRow) -> str:
    """`seg-engine run ...` with every key that the run has otherwise than its recipe.

    A run whose recipe does not ship with this version is made from the file that the report keeps of it.
    """
    root = str(row.config.get("data", {}).get("root", ""))
    words = ["seg-engine", "run"]
    if row.recipe in RECIPES:
        words.append(row.recipe)
        words += [f"{key}={own}" for key, (own, _) in changed_keys(row).items()]
    else:
        words.append(config_file(row))
    words += ["--data", root] if root else []
    words += ["--name", row.name] if row.name else []
    words += ["--experiment", row.experiment]
    return shlex.join(words)
