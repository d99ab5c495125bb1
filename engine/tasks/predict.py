"""The task `predict`: class maps of images, labelled or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.tasks.task import Arguments, NetworkTask, Outcome, Run, WholeRun, window_options

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig


class Predict(NetworkTask):
    name = "predict"
    does = "make class maps with it"
    noun = "prediction"
    section = "predict"
    uses_crf = True
    worker = "engine.inference.predict:predict"
    data_check = "engine.data.checks:check_nothing"  # each image is looked at when its turn comes
    usage = "IMAGES..."
    change_option = "--set"
    doing = "predicting"
    tabs = ()
    first_tab = "files"

    def arguments(self, section: Mapping[str, Any], root: str) -> Arguments:
        options = [] if not section["out"].startswith("/") else ["--out", section["out"]]
        values = list(section["values"])
        options += ["--ids", "raw"] if values != list(range(len(values))) else []
        keys = ("view", "label_resize", "tta") if section.get("video") else ("naming", "label_resize", "tta")
        for key in keys:
            options += [f"--{key.replace('_', '-')}", section[key]]
        options += window_options(section)
        return Arguments(section["images"], options + (["--overwrite"] if section["overwrite"] else []))

    def outcome(self, run: Run) -> Outcome | None:
        return Outcome("images", run.step or 0, brief="{} images") if run.steps else None

    def files(self, run: WholeRun, folder: Path) -> dict[str, Path]:
        made = Path(folder, run.config["predict"]["out"]).resolve()
        if run.config["predict"].get("video"):
            return {"video": made}
        return {"class maps (ids/), colours (color/) and overlays (overlay/)": made}

    def outside(self, config: RunConfig) -> Mapping[str, str]:
        return {"predict.out": config.predict.out} if config.predict is not None else {}

    def without_pictures(self, run: WholeRun) -> str:
        out = run.config["predict"]["out"]
        where = out if out.startswith("/") else f"{out} of its folder"
        return f"{run.id} ({run.name}) keeps no gallery: what it predicts is in {where}."
