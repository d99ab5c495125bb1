"""The task `generalise`: scores in environments that a network has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.tasks.task import Arguments, NetworkTask, Outcome, Run, window_options


class Generalise(NetworkTask):
    name = "generalise"
    does = "score it in environments that it has not seen"
    noun = "generalisation"
    section = "generalise"
    usage = "--data DIR"
    worker = "engine.inference.generalise:generalise"
    data_check = "engine.data.environments:check_environments"
    data_finder = "engine.data.environments:find_environments"
    reads = "labels"
    measures = "Dice and mIoU on other data sets and corrupted images, and how much is lost"

    def arguments(self, section: Mapping[str, Any], root: str) -> Arguments:
        options: list[str] = ["--split", section["split"]]
        for environment in section["environments"]:
            told = "".join(f",{key}={environment[key]}" for key in ("name", "layout", "classes", "split"))
            options += ["--data", f"{environment['root']}{told}"]
        options += ["--corruptions", ",".join(section["corruptions"]) or "none"]
        for strength in section["strengths"]:
            options += ["--strength", str(strength)]
        if section["class_map"]:
            options += ["--class-map", section["class_map"]]
        return Arguments(options=options + window_options(section))

    def outcome(self, run: Run) -> Outcome | None:
        if run.unseen_dice is None:
            return None
        return Outcome("Dice", run.unseen_dice, "in unseen environments", "{} unseen")
