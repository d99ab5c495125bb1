"""The task `latency`: how long one image takes through a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.tasks.task import Arguments, NetworkTask, Outcome, Run


class Latency(NetworkTask):
    name = "latency"
    does = "measure how long it takes for one image"
    noun = "latency"
    section = "latency"
    worker = "engine.inference.latency:latency"
    data_check = "engine.data.checks:check_nothing"
    stops_after = "measurement"
    kept = "all is measured anew"
    doing = "measuring"
    measures = "latency and frames a second"
    usage = "--latency"

    @property
    def command(self) -> str:
        return "bench"

    def arguments(self, section: Mapping[str, Any], root: str) -> Arguments:
        options = ["--latency"]
        for height, width in section["sizes"]:
            options += ["--size", f"{height}x{width}"]
        if len(section["protocols"]) == 1:
            options += ["--protocol", section["protocols"][0]]
        for precision in section["precisions"]:
            options += ["--precision", precision]
        options += ["--compile"] if section["compile"] else []
        options += ["--seconds", f"{section['seconds']:g}"]
        for path in section["exported"]:
            options += ["--exported", path]
        return Arguments(options=options)

    def done(self, run: Run) -> str:
        return f"{run.step or 0}/{run.steps} measurements" if run.steps else "-"

    def stopped_at(self, run: Run) -> str:
        return f"{run.step or 0} of {run.steps or '?'} measurements; {self.kept}"

    def outcome(self, run: Run) -> Outcome | None:
        speed = run.frames_per_second
        return None if speed is None else Outcome("frames/s", speed, brief="{} frames/s", is_speed=True)
