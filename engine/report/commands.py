"""The commands that make runs again, so that another person can."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from engine.config.described import format_value
from engine.config.recipes import RECIPES
from engine.config.stored import flat_config
from engine.report.compare_config import pretraining_epochs
from engine.report.run_config import changed_keys
from engine.store import RunRow
from engine.tasks import TASKS, NetworkTask
from engine.tasks.average import PLAIN, may_change
from engine.tasks.task import may_depart

_OF_RUN = re.compile(r"\.\./([a-z0-9]{8})/checkpoints/")

_BEST_OF_RUN = re.compile(rf"{_OF_RUN.pattern}best\.pt")
"""The checkpoint that the name of a run stands for; any other is called by its path."""


def config_file(row: RunRow) -> str:
    """Where a report keeps the config of a run, below its folder."""
    return f"configs/{row.id}.toml"


def command_lines(rows: Sequence[RunRow]) -> list[str]:
    """A line for each run, in the order given; none for a pre-training that comes with its training."""
    by_id = {row.id: row for row in rows}
    implied = {source_id(row) for row in rows if pretraining_epochs(row)}
    return [command_line(row, by_id) for row in rows if row.id not in implied]


def command_line(row: RunRow, others: Mapping[str, RunRow]) -> str:
    """The command of one run. Runs that it builds upon are called by their names, which the same commands
    give again; one that is not among `others`, by its id."""
    task = TASKS[row.task]
    if isinstance(task, NetworkTask):
        made = _of_network(task, row, others)
    else:
        made = _average(row, others) if row.task == "average" else _training(row, others)
    words = ["seg-engine", *made]
    words += ["--name", row.name] if row.name else []
    return shlex.join([*words, "--experiment", row.experiment])


def source_id(row: RunRow) -> str:
    """Id of the run whose weights this one began with or looks at, "" for none of the workspace."""
    found = _OF_RUN.match(flat_config(row.stored_config).get("init.weights", ""))
    return row.source or (found[1] if found else "")


def _training(row: RunRow, others: Mapping[str, RunRow]) -> list[str]:
    """A run whose recipe does not ship with this version is made from the file that a report keeps of it."""
    words = ["run"]
    if row.recipe in RECIPES:
        changed = {key: own for key, (own, _) in changed_keys(row).items()}
        if source_id(row) and pretraining_epochs(row):
            changed.pop("init.weights", None)  # the pre-training comes with the command
        for key in ("init.weights", "distill.from"):
            if best := _BEST_OF_RUN.fullmatch(changed.get(key, "")):
                changed[key] = _called(best[1], others)
        words += [row.recipe, *(f"{key}={value}" for key, value in changed.items())]
    else:
        words.append(config_file(row))
    for file in row.config["plugins"] or ():
        words += ["--plugin", file["path"]]
    root = flat_config(row.stored_config).get("data.root", "")
    return [*words, "--data", root] if root else words


def _average(row: RunRow, others: Mapping[str, RunRow]) -> list[str]:
    """The command that averages the same checkpoints, with the keys that it was told to change."""
    paths = [PurePosixPath(path) for path in row.config["average"]["checkpoints"]]
    runs = dict.fromkeys(path.parts[1] for path in paths)
    which = dict.fromkeys(path.stem.removeprefix("epoch_").lstrip("0") for path in paths)
    words = ["average", *(_called(run, others) for run in runs), "--checkpoints", ",".join(which)]
    first = next(iter(runs))
    trained = flat_config(others[first].stored_config) if first in others else {}
    trained |= {key: format_value(value) for key, value in PLAIN.items() if key in trained}
    for key, value in flat_config(row.stored_config).items():
        if may_change(key) and trained.get(key, value) != value:
            words += ["--set", f"{key}={value}"]
    out = row.config["average"].get("out")
    return [*words, "--out", out] if out else words


def _of_network(task: NetworkTask, row: RunRow, others: Mapping[str, RunRow]) -> list[str]:
    """The command that looks at the network of another run as this one does."""
    config, section, source = flat_config(row.stored_config), row.config[task.section], source_id(row)
    given = task.arguments(section, config["data.root"])
    words = [task.command, _called(source, others), *given.operands]
    for change in _changes(task, config, source, others):
        words += [task.change_option, change] if task.change_option else [change]
    return [*words, *given.options, *_checkpoint(section["checkpoint"])]


def _changes(
    task: NetworkTask, config: Mapping[str, str], source: str, others: Mapping[str, RunRow]
) -> list[str]:
    """In what a run that looks at a network departs from the training of that network."""
    if source not in others:
        return []
    trained = flat_config(others[source].stored_config)
    words = [
        f"{key}={value}"
        for key, value in config.items()
        if trained.get(key, value) != value and may_depart(task, key)
    ]
    return words + (["--data", config["data.root"]] if config["data.root"] != trained["data.root"] else [])


def _checkpoint(path: str) -> list[str]:
    """A checkpoint of the run by its file's name, any other file by its path."""
    name = path if path.startswith("/") else path.rpartition("/")[2]
    return [] if name == "best.pt" else ["--checkpoint", "last" if name == "last.pt" else name]


def _called(run_id: str, others: Mapping[str, RunRow]) -> str:
    """What a command calls a run."""
    if run_id not in others:
        return run_id
    name = others[run_id].name
    same = [row for row in others.values() if row.name == name]
    return name if name and len(same) == 1 else run_id
