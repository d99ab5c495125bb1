"""The task `ood`: how well scores tell what a network knows from what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.tasks.task import Arguments, NetworkTask, Outcome, Run, WholeRun, window_options
from engine.typed import typed

DECISIONS = "decisions"
"""Folder of the tables of accepted images, in the outputs of the run."""


class Ood(NetworkTask):
    name = "ood"
    does = "detect out-of-distribution images and pixels with it"
    noun = "out-of-distribution evaluation"
    section = "ood"
    worker = "engine.inference.ood.task:ood"
    data_check = "engine.data.checks:check_material"
    data_finder = "engine.data.still_there:find_material"
    kept = "a finished fit is kept, the images are scored again"
    measures = "out-of-distribution detection"
    usage = "--ood-data FOLDER"

    def arguments(self, section: Mapping[str, Any], root: str) -> Arguments:
        inside, outside = section["in_root"], section["out_root"]
        options = ["--id-data", inside] if inside != root else []
        options += ["--ood-data", outside] if outside else ["--pseudo", section["pseudo"]]
        options += ["--split", section["split"], "--accept", str(section["accept"])]
        components = [str(section["least_predicted"]), str(section["least_true"])]
        exact = str(section["exact_scores"])
        options += window_options(section)
        return Arguments(options=[*options, "--least-component", *components, "--exact", exact])

    def outcome(self, run: Run) -> Outcome | None:
        if run.auroc is None:
            return None
        score = run.auroc_score or ""
        return Outcome("AUROC", run.auroc, score, f"AUROC {{}} {score}".rstrip())

    def next_commands(self, run: str, checkpoints: bool, pictures: bool) -> list[str]:
        return [typed("figure", "ood", run)] if pictures else []

    def files(self, run: WholeRun, folder: Path) -> dict[str, Path]:
        return {"images": folder / "outputs" / DECISIONS}

    def without_pictures(self, run: WholeRun) -> str:
        return f"{run.id} ({run.name}) has no pictures: it is {run.status}, and they come with its results."
