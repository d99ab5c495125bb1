"""Out-of-distribution evaluations: what the scores say of each image, and how well they tell."""

from __future__ import annotations

from engine.run.scoring_events import Detecting, OodImage, OodResult
from engine.store.folds.folding import Folding, folds
from engine.store.result_tables import ood_images, ood_results


@folds(Detecting)
def detecting(folding: Folding, event: Detecting) -> None:
    folding.take(event, "classes", "colors")
    folding.clear(ood_results, ood_images)  # every attempt judges all images anew


@folds(OodImage, recorded=False)
def ood_image(folding: Folding, event: OodImage) -> None:
    folding.put(ood_images, event)


@folds(OodResult, elsewhere={"risk_coverage"})
def ood_result(folding: Folding, event: OodResult) -> None:
    folding.put(ood_results, event)
