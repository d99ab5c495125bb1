"""Averaging the weights of checkpoints: which ones, and the config of the run that does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.config.described import differences, format_value
from engine.config.keys import parse_assignments, validate, with_values
from engine.config.run_config import RunConfig
from engine.requests.configs import check_hardware
from engine.requests.derive import NOT_TAKEN_OVER, trained_config
from engine.requests.refusals import Refused
from engine.run.checkpoint_file import other_classes
from engine.run.directory import RunDir
from engine.run.files import absolute
from engine.store import RunRow
from engine.tasks.average import KEYS, OF_TRAINING, PLAIN, may_change
from engine.workspace import Workspace

OF_READING = (
    *("data.cache", "data.workers", "data.skip_bad", "data.size", "data.class_uniform"),
    "data.label_fraction",
)
"""Keys of the data that may differ: the images that are held out are the same."""

_BY_ITSELF: dict[str, Any] = {"epochs": 1, "schedule": {}, "ema": {}, "early_stop": {}, "budget": {}}
"""What an average is not trained by."""

_EPOCHS = re.compile(r"(\d+)(?:\.\.(\d+))?")


def averaged_config(
    workspace: Workspace, rows: Sequence[RunRow], which: str, out: Path | None, assignments: Sequence[str]
) -> RunConfig:
    """The config of a run that averages checkpoints of the runs `rows`, by the first of which it has its
    network and its data. `which` is that of `checkpoints_of`; `assignments` are KEY=VALUE of KEYS.

    Raises Refused for runs that cannot be averaged, and ConfigError.
    """
    values = parse_assignments(assignments)
    if strange := [key for key in values if not may_change(key)]:
        allowed = f"{', '.join(KEYS)}, runtime.* and slurm.* can be changed"
        raise Refused([f"{key}: is fixed by the training; {allowed}" for key in strange])
    if living := [row for row in rows if not row.ended]:
        raise Refused([f"{row.id}: is {row.status}; its weights still change" for row in living])
    first = trained_config(workspace, rows[0])
    for row in rows[1:]:
        _refuse_different(rows[0], first, row, trained_config(workspace, row))
    found = [
        f"../{row.id}/checkpoints/{name}"
        for row in rows
        for name in checkpoints_of(workspace.run_dir(row.id), which or ("best" if len(rows) > 1 else "kept"))
    ]
    if len(found) < 2:
        name = Path(found[0]).name
        keep = "checkpoint.keep_every=N makes a run keep those of every Nth epoch"
        raise Refused([f"--checkpoints: {rows[0].id} has only {name} of these; an average takes two; {keep}"])
    about = {"checkpoints": found, "out": _free_path(out)}
    table = with_values(first, PLAIN | values).model_dump()
    config = validate(table | NOT_TAKEN_OVER | _BY_ITSELF | {"task": "average", "average": about})
    check_hardware(config)
    return config


def begun_apart(workspace: Workspace, rows: Sequence[RunRow]) -> str:
    """What people should know of runs that began with different random weights; "" where there are none. Only
    from a common start do networks come to rest so near each other that their mean is one (Wortsman et al.
    2022)."""
    configs = [trained_config(workspace, row) for row in rows]
    starts = {config.init.weights or config.model.weights_source() or config.seed for config in configs}
    if len(starts) < 2:
        return ""
    return (
        "these runs began with different weights, so the mean of their weights may score far below each of "
        "them; runs with the same init.weights, or of one seed, average well"
    )


def checkpoints_of(run: RunDir, which: str) -> list[str]:
    """Names of a run's checkpoints: "best", "last", "kept" (of all epochs that `checkpoint.keep_every` kept),
    numbers of such epochs, N or N..M, or several of these, separated by commas. Raises Refused."""
    kept = {
        int(path.stem.removeprefix("epoch_")): path.name for path in run.checkpoints.glob("epoch_[0-9]*.pt")
    }
    names: list[str] = []
    for word in which.split(","):
        numbers = _EPOCHS.fullmatch(word)
        if numbers is not None:
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
            found = [kept[epoch] for epoch in sorted(kept) if first <= epoch <= last]
        elif word == "kept":
            found = [kept[epoch] for epoch in sorted(kept)]
        elif word in ("best", "last"):
            found = [f"{word}.pt"] if (run.checkpoints / f"{word}.pt").is_file() else []
        else:
            raise Refused([f"--checkpoints {word}: must be best, last, kept, an epoch N or epochs N..M"])
        if not found:
            there = ", ".join(sorted(file.name for file in run.checkpoints.glob("*.pt")))
            if word == "kept" and there:
                hint = f"it has {there}; a run keeps those of epochs by checkpoint.keep_every"
                raise Refused([f"--checkpoints kept: {run.id} has kept no epochs: {hint}"])
            raise Refused(
                [f"--checkpoints {word}: {run.id} has no such checkpoint; it has {there or 'none'}"]
            )
        names += found
    return list(dict.fromkeys(names))


def _refuse_different(first: RunRow, config: RunConfig, row: RunRow, other: RunConfig) -> None:
    """Raise Refused when a run has another network or other classes than the first, or holds out other
    images, of which the first may have learned."""
    if row.classes != first.classes:
        raise Refused([f"{row.id}: {other_classes(row.classes, first.classes, whose=first.id)}"])
    may_differ = {*OF_READING, *(f"model.{key}" for key in OF_TRAINING)}
    differing = differences(other, config)
    for what, prefix in (("another network", "model."), ("other data", "data.")):
        told = [
            f"{key} {format_value(own)}, not {format_value(wanted)}"
            for key, (own, wanted) in differing.items()
            if key.startswith(prefix) and key not in may_differ
        ]
        if told:
            raise Refused([f"{row.id}: has {what} than {first.id}: {', '.join(told)}"])
    own, wanted = other.model.input_normalisation(), config.model.input_normalisation()
    if own != wanted:
        raise Refused([f"{row.id}: has images normalised as {own}, {first.id} as {wanted}"])


def _free_path(out: Path | None) -> str:
    """The absolute path of a new file, "" for none. Raises Refused."""
    if out is None:
        return ""
    path = absolute(out)
    if path.exists() or path.is_symlink():
        raise Refused([f"--out {path}: already exists; name another file"])
    if not path.parent.is_dir():
        raise Refused([f"--out {path}: there is no folder {path.parent}"])
    return str(path)
