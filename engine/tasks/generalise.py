"""The task `generalise`: scores in environments that a network has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.tasks.task import Arguments, NetworkTask, Outcome, Run, window_options

KEYS = ("name", "layout", "classes", "split")
"""What the command says of a data set behind its folder."""


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
            # A name with a comma is the folder's own: none that is typed behind name= can have one.
            keys = [key for key in KEYS if key != "name" or "," not in environment["name"]]
            told = "".join(f",{key}={environment[key]}" for key in keys)
            options += ["--data", f"{environment['root']}{told}"]
        options += ["--corruptions", ",".join(section["corruptions"]) or "none"]
        for strength in section["strengths"]:
            options += ["--strength", str(strength)]
        if section["class_map"]:
            options += ["--class-map", section["class_map"]]
        if section.get("tta", "none") != "none":
            options += ["--tta", section["tta"]]
        return Arguments(options=options + window_options(section))

    def outcome(self, run: Run) -> Outcome | None:
        if run.unseen_dice is None:
            return None
        return Outcome("Dice", run.unseen_dice, "in unseen environments", "{} unseen")
