"""`seg-engine ood` and `seg-engine robustness`: what a network does not know, and what it does not cope
with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.cli.evaluate import Chosen
from engine.cli.queue import tell_queued
from engine.cli.reading import open_existing
from engine.cli.run import check_material, check_robustness, start_here
from engine.requests.derive import checkpoint_of, derived_config, source_run
from engine.requests.queueing import Place, enqueue
from engine.run.files import absolute
from engine.workspace import Workspace


def ood(
    workspace: Workspace,
    prefix: str,
    inside: Path | None,
    outside: Path | None,
    assignments: Sequence[str],
    checkpoint: str,
    about: Mapping[str, Any],
    card: Chosen,
    place: Place | None,
    as_json: bool,
) -> int:
    """Measure out-of-distribution scores as a run of its own; returns the exit status.

    `about` are fields of OodConfig, `inside` is by default the run's own data. With a `place` it is queued.
    Raises Refused, ConfigError, DataError and StoreError before anything is made.
    """
    with open_existing(workspace, change=True) as store:
        row = source_run(store, prefix)
        path = checkpoint_of(workspace, row, checkpoint, waits=place is not None)
        in_root = _absolute(inside) if inside is not None else row.config["data"]["root"]
        section = {
            **about,
            "source": row.id,
            "checkpoint": path,
            "in_root": in_root,
            "out_root": _absolute(outside) if outside is not None else "",
        }
        config = derived_config(workspace, row, section, assignments, task="ood")
        check_material(config, workspace, row)
        what = outside.name if outside is not None else about["pseudo"]
        made = card.of(row, f"{row.name}-ood-{what}")
        if place is not None:
            enqueue(workspace, store, made, config, place)
            tell_queued(workspace, [made], as_json)
            return 0
        return start_here(workspace, store, made, config, as_json)


def robustness(
    workspace: Workspace,
    prefix: str,
    assignments: Sequence[str],
    data: Path | None,
    checkpoint: str,
    about: Mapping[str, Any],
    card: Chosen,
    place: Place | None,
    as_json: bool,
) -> int:
    """Score corrupted images as a run of its own; returns the exit status.

    `about` are fields of RobustnessConfig. With a `place` it is queued. Raises Refused, ConfigError,
    DataError and StoreError before anything is made."""
    with open_existing(workspace, change=True) as store:
        row = source_run(store, prefix)
        path = checkpoint_of(workspace, row, checkpoint, waits=place is not None)
        section = {**about, "source": row.id, "checkpoint": path}
        config = derived_config(workspace, row, section, assignments, data, task="robustness")
        check_robustness(config, workspace, row)
        made = card.of(row, f"{row.name}-robustness")
        if place is not None:
            enqueue(workspace, store, made, config, place)
            tell_queued(workspace, [made], as_json)
            return 0
        return start_here(workspace, store, made, config, as_json)


def _absolute(path: Path) -> str:
    return str(absolute(path))
