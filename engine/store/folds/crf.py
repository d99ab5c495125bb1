"""Fully connected CRFs: what they make of predictions, and the trials of a search for their parameters."""

from __future__ import annotations

from typing import Any

from engine.run.crf_events import CrfResult, CrfSearching, CrfTrial, CrfUse
from engine.store.folds.folding import Folding, folds
from engine.store.result_tables import crf_results, crf_trials

_PARAMETERS = ("iterations", "gaussian_weight", "gaussian_sigma", "bilateral_weight", "bilateral_sigma_xy",
               "bilateral_sigma_rgb")  # fmt: skip
_SCORES = ("dice", "dice_image", "miou", "pixel_accuracy", "class_dice", "class_iou")


@folds(CrfResult, elsewhere={"before", "after"})
def crf_result(folding: Folding, event: CrfResult) -> None:
    told = (
        "seq",
        "split",
        "at",
        "corruption",
        "strength",
        "images",
        "searched",
        "timed",
        "seconds",
        "p95_seconds",
    )
    row = {name: getattr(event, name) for name in told} | _parameters(event.use)
    for when in ("before", "after"):
        scores = getattr(event, when)
        row |= {f"{name}_{when}": getattr(scores, name, None) for name in _SCORES}
    folding.put_row(crf_results, row)


@folds(CrfSearching)
def crf_searching(folding: Folding, event: CrfSearching) -> None:
    folding.take(event, "classes", "colors")
    if event.done == 0:
        folding.clear(crf_trials)


@folds(CrfTrial, elsewhere={"class_iou"})
def crf_trial(folding: Folding, event: CrfTrial) -> None:
    told = ("trial", "seq", "t", "kind", "miou", "dice", "pixel_accuracy", "class_iou", "seconds")
    folding.put_row(crf_trials, {name: getattr(event, name) for name in told} | _parameters(event.use))


def _parameters(use: CrfUse | None) -> dict[str, Any]:
    return {name: getattr(use, name, None) for name in _PARAMETERS}
