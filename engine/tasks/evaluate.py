"""The task `evaluate`: score the network of a run on a split, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.tasks.task import Arguments, NetworkTask, Outcome, Run, WholeRun, window_options
from engine.typed import typed

USUALLY_KEPT = 8
"""Of how many images the predictions are kept."""


class Evaluate(NetworkTask):
    name = "evaluate"
    does = "score what another run has learned"
    noun = "evaluation"
    evaluates = True
    section = "evaluate"
    uses_crf = True
    worker = "engine.inference.evaluate:evaluate"
    data_check = "engine.data.checks:check_split"
    data_finder = "engine.data.still_there:find_split"
    reads = "labels"
    measures = "scores of a split, image by image"
    tabs = ("classes", "images", "results")
    first_tab = "classes"

    def arguments(self, section: Mapping[str, Any], root: str) -> Arguments:
        options: list[str] = []
        for key in ("split", "at", "label_resize", "tta"):
            options += [f"--{key.replace('_', '-')}", section[key]]
        options += window_options(section)
        options += ["--boundary"] if section.get("boundary") else []
        if "critical" in section:  # which is settled when a run is made, also where nobody named classes
            options += ["--critical", ",".join(section["critical"]) or "none"]
        keep = section.get("keep", USUALLY_KEPT)
        return Arguments(options=options + (["--keep", str(keep)] if keep != USUALLY_KEPT else []))

    def outcome(self, run: Run) -> Outcome | None:
        return None if run.last_dice is None else Outcome("mean Dice", run.last_dice, brief="Dice {}")

    def miou(self, run: Run) -> float | None:
        return run.last_miou

    def next_commands(self, run: str, checkpoints: bool, pictures: bool) -> list[str]:
        return [typed("images", run)]

    def without_pictures(self, run: WholeRun) -> str:
        who, about = f"{run.id} ({run.name})", run.config.get("evaluate") or {}
        if about.get("keep") and not run.ended:
            return f"{who} has no predictions yet: it keeps those of the worst images; it is {run.status}."
        if about.get("keep") and run.status != "finished":
            resume = f"`{typed('resume', run.id)}` goes on with it."
            return f"{who} has no predictions: it is {run.status}. {resume}"
        told = ["--split", about.get("split", "val"), "--at", about.get("at", "original"), "--keep", "8"]
        return (
            f"{who} keeps no predictions. `{typed('evaluate', run.source, *told)}` makes an "
            "evaluation that keeps those of the 8 worst images, --keep -1 those of all."
        )
