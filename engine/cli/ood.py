"""`seg-engine ood`, `robustness` and `generalise`: what a network does not know, and what it does not cope
with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.evaluate import card_of_network
from engine.cli.reading import open_existing
from engine.cli.run import check_data, queue_or_start
from engine.requests.derive import checkpoint_of, derived_config, source_run, trained_config
from engine.requests.generalise import Unseen, unseen_section
from engine.run.files import absolute
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.scoring import Generalisation, OodEvaluation, RobustnessEvaluation


def ood(workspace: Workspace, wanted: OodEvaluation) -> int:
    """Measure out-of-distribution scores as a run of its own; returns the exit status.

    Raises Refused, ConfigError, DataError and StoreError before anything is made.
    """
    place, as_json = wanted.queued.place, wanted.as_json
    with open_existing(workspace, change=True) as store:
        row = source_run(store, wanted.run)
        path = checkpoint_of(workspace, row, wanted.checkpoint, waits=place is not None)
        in_root = _absolute(wanted.id_data) if wanted.id_data is not None else row.config["data"]["root"]
        section = {
            "pseudo": wanted.pseudo or "none",
            "split": wanted.split,
            "accept": wanted.accept,
            "least_predicted": wanted.least_component[0],
            "least_true": wanted.least_component[1],
            "exact_scores": wanted.exact,
            **wanted.windows.keys,
            "source": row.id,
            "checkpoint": path,
            "in_root": in_root,
            "out_root": _absolute(wanted.ood_data) if wanted.ood_data is not None else "",
        }
        config = derived_config(workspace, row, section, wanted.changes, task="ood")
        check_data(config, workspace, row=row)
        what = wanted.ood_data.name if wanted.ood_data is not None else wanted.pseudo
        made = card_of_network(wanted.new, row, f"{row.name}-ood-{what}")
        return queue_or_start(workspace, store, made, config, wanted.queued, as_json)


def robustness(workspace: Workspace, wanted: RobustnessEvaluation) -> int:
    """Score corrupted images as a run of its own; returns the exit status.

    Raises Refused, ConfigError, DataError and StoreError before anything is made.
    """
    place, as_json = wanted.queued.place, wanted.as_json
    with open_existing(workspace, change=True) as store:
        row = source_run(store, wanted.run)
        path = checkpoint_of(workspace, row, wanted.checkpoint, waits=place is not None)
        section = {"split": wanted.split, "source": row.id, "checkpoint": path, **wanted.windows.keys}
        config = derived_config(
            workspace, row, section, wanted.changes, wanted.data, task="robustness", crf=wanted.crf
        )
        check_data(config, workspace, row=row)
        made = card_of_network(wanted.new, row, f"{row.name}-robustness")
        return queue_or_start(workspace, store, made, config, wanted.queued, as_json)


def generalise(workspace: Workspace, wanted: Generalisation) -> int:
    """Score other environments as a run of its own; returns the exit status.

    Raises Refused, ConfigError, DataError and StoreError before anything is made.
    """
    place, as_json = wanted.queued.place, wanted.as_json
    unseen = Unseen(
        data=wanted.data,
        class_map=wanted.class_map,
        corruptions=wanted.corruptions,
        strengths=tuple(wanted.strength) or (3,),
        split=wanted.split,
    )
    with open_existing(workspace, change=True) as store:
        row = source_run(store, wanted.run)
        path = checkpoint_of(workspace, row, wanted.checkpoint, waits=place is not None)
        section = {
            **unseen_section(trained_config(workspace, row), unseen),
            "source": row.id,
            "checkpoint": path,
            "tta": wanted.tta,
            **wanted.windows.keys,
        }
        config = derived_config(workspace, row, section, wanted.changes, task="generalise")
        check_data(config, workspace, row=row)
        made = card_of_network(wanted.new, row, f"{row.name}-generalise")
        return queue_or_start(workspace, store, made, config, wanted.queued, as_json)


def _absolute(path: Path) -> str:
    return str(absolute(path))
