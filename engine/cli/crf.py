"""`seg-engine crf-search`: the parameters of a fully connected CRF that suit a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.cli.evaluate import card_of_network
from engine.cli.reading import open_existing
from engine.cli.run import check_data, queue_or_start
from engine.requests.derive import checkpoint_of, derived_config, source_run
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.scoring import CrfSearching


def crf_search(workspace: Workspace, wanted: CrfSearching) -> int:
    """Search as a run of its own; returns the exit status.

    Raises Refused, ConfigError, DataError and StoreError before anything is made.
    """
    place, as_json = wanted.queued.place, wanted.as_json
    with open_existing(workspace, change=True) as store:
        row = source_run(store, wanted.run)
        path = checkpoint_of(workspace, row, wanted.checkpoint, waits=place is not None)
        section = {
            "source": row.id,
            "checkpoint": path,
            "images": wanted.images,
            "trials": wanted.trials,
            "minutes": wanted.minutes,
            "at": wanted.at,
            "label_resize": wanted.label_resize,
            "tta": wanted.tta,
            **wanted.windows.keys,
            "seed": wanted.seed,
        }
        config = derived_config(workspace, row, section, wanted.changes, task="crf-search")
        check_data(config, workspace, row=row)
        made = card_of_network(wanted.new, row, f"{row.name}-crf-search")
        return queue_or_start(workspace, store, made, config, wanted.queued, as_json)
