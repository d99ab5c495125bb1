"""The task `crf-search`: find the parameters of a fully connected CRF that suit a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.tasks.task import Arguments, NetworkTask, Outcome, Run, window_options


class CrfSearch(NetworkTask):
    name = "crf-search"
    does = "search the parameters of a CRF for it, on training images"
    noun = "CRF search"
    section = "crf_search"
    worker = "engine.inference.crf.search:crf_search"
    data_check = "engine.data.checks:check_crf_images"
    data_finder = "engine.data.still_there:find_training_images"
    reads = "labels"
    kept = "the trials that are done are kept"
    doing = "searching"
    measures = "parameters of a fully connected CRF"

    def arguments(self, section: Mapping[str, Any], root: str) -> Arguments:
        options: list[str] = []
        for key in ("at", "images", "trials", "minutes", "seed", "label_resize", "tta"):
            options += [f"--{key.replace('_', '-')}", f"{section[key]}"]
        return Arguments(options=options + window_options(section))

    def done(self, run: Run) -> str:
        return f"{run.step or 0}/{run.steps} trials" if run.steps else "-"

    def stopped_at(self, run: Run) -> str:
        return f"{run.step or 0} of {run.steps or '?'} trials; {self.kept}"

    def outcome(self, run: Run) -> Outcome | None:
        return None if run.crf_miou is None else Outcome("mIoU", run.crf_miou, "with its CRF", "mIoU {}")
