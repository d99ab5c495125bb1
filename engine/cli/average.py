"""`seg-engine average`: one network out of the weights of several checkpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from engine.cli.console import notices
from engine.cli.reading import open_existing
from engine.cli.run import check_data, queue_or_start
from engine.requests.average import averaged_config, begun_apart
from engine.requests.configs import check_components
from engine.requests.derive import source_run
from engine.requests.refusals import Refused
from engine.run.directory import RunCard, new_run_id
from engine.visible import one_line
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.running import Averaging


def average(workspace: Workspace, wanted: Averaging) -> int:
    """Average as a run of its own; returns the exit status.

    Raises Refused, ConfigError, DataError and StoreError before anything is made.
    """
    with open_existing(workspace, change=True) as store:
        rows = [source_run(store, name) for name in wanted.runs]
        if len({row.id for row in rows}) < len(rows):
            raise Refused(["RUN: one is named twice"])
        config = averaged_config(workspace, rows, wanted.checkpoints, wanted.out, wanted.set_key)
        check_components(config)
        if apart := begun_apart(workspace, rows):
            notices.note(apart)
        check_data(config, workspace, run=workspace.run_dir(rows[0].id))
        new = wanted.new
        card = RunCard(
            id=new_run_id(),
            name=new.name or one_line(f"{rows[0].name}-average"),
            experiment=new.experiment or one_line(rows[0].experiment),
            created=time.time(),
            tags=tuple(dict.fromkeys(new.tag)),
            note=new.note,
        )
        return queue_or_start(workspace, store, card, config, wanted.queued, wanted.as_json)
