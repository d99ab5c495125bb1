"""The task `robustness`: scores on corrupted images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.tasks.task import Arguments, NetworkTask, Outcome, Run, window_options

HARDEST = 5
"""The strength of corruption at which a network is judged in one number."""


class Robustness(NetworkTask):
    name = "robustness"
    does = "score it on corrupted images"
    noun = "robustness"
    section = "robustness"
    uses_crf = True
    worker = "engine.inference.robustness:robustness"
    data_check = "engine.data.checks:check_split"
    data_finder = "engine.data.still_there:find_split"
    reads = "labels"
    measures = "Dice on corrupted images"

    def arguments(self, section: Mapping[str, Any], root: str) -> Arguments:
        return Arguments(options=["--split", section["split"], *window_options(section)])

    def outcome(self, run: Run) -> Outcome | None:
        if run.corrupted_dice is None:
            return None
        return Outcome("Dice", run.corrupted_dice, f"at strength {HARDEST}", f"{{}} @ strength {HARDEST}")
