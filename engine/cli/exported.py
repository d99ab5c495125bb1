"""`seg-engine evaluate MODEL.onnx`: score an exported network, without torch and without a run."""

from __future__ import annotations

import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.console import notices, output, print_json
from engine.config.keys import ConfigError, parse_assignments, with_values
from engine.config.run_config import RunConfig
from engine.exits import DONE
from engine.exported.evaluate import score_split
from engine.exported.network import ExportedModel
from engine.report.evaluation import evaluation_text
from engine.run.files import absolute
from engine.store import EvaluationRow
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.scoring import Evaluation

SUFFIX = ".onnx"

OF_RUNS = ("tta", "crf", "boundary", "checkpoint", "baseline", "keep", "new", "queued")
"""Options of `evaluate` that mean nothing for a file."""


def is_exported(name: str) -> bool:
    """Whether what was named is a file that `export` has made, not a run."""
    return name.endswith(SUFFIX)


def evaluate_file(workspace: Workspace, wanted: Evaluation) -> int:
    """Print the scores and the speed; returns the exit status. Raises ConfigError, ExportedError and
    DataError."""
    data = data_config(wanted)
    model = ExportedModel.open(absolute(wanted.run))
    config = with_values(data, {"data.size": "{}x{}".format(*model.size)}).data
    notices.say(f"scoring {wanted.split} of {config.root}")
    found, notes = score_split(model, config, wanted.split, wanted.at, wanted.label_resize, workspace.cache)
    for note in notes:
        notices.say(f"note: {note}")
    scores, speed = found.scores(), model.latency()
    row = EvaluationRow(
        run_id="",
        source=str(model.about.get("run", "")),
        seq=0,
        t=time.time(),
        split=wanted.split,
        at=wanted.at,
        epoch=int(model.about.get("epoch", 0)),
        images=len(found),
        dice=scores.dice,
        dice_image=scores.dice_image,
        miou=scores.miou,
        pixel_accuracy=scores.pixel_accuracy,
        class_dice=dict(zip(model.classes, scores.class_dice, strict=True)),
        class_iou=dict(zip(model.classes, scores.class_iou, strict=True)),
        confusion=found.pooled().tolist(),
        checkpoint=str(model.path),
        label_resize=wanted.label_resize if wanted.at == "original" and not model.gives_ids else "",
        tta="none",
        parameters=model.about.get("parameters"),
        flops_per_sample=None,
        latency_seconds=speed["latency_seconds"],
        latency_p95_seconds=speed["latency_p95_seconds"],
        frames_per_second=speed["frames_per_second"],
        crf="",
    )
    if wanted.as_json:
        print_json(asdict(row), indent=2)
    else:
        output.say(evaluation_text(row, model.colors))
    return DONE


def data_config(wanted: Evaluation) -> RunConfig:
    """A config with the data that a file is to be scored on. Raises ConfigError for words that only a run has
    a use for."""
    name = Path(wanted.run).name
    given = {field.name: field for field in fields(wanted)}
    plain = type(wanted)(run="", new=type(wanted.new)(), queued=type(wanted.queued)())
    idle = [
        option for option in OF_RUNS if getattr(wanted, option) != getattr(plain, option) and option in given
    ]
    if idle:
        told = {"new": "--name, --experiment, --tag and --note", "queued": "--queue"}
        raise ConfigError(
            [
                f"{told.get(option, f'--{option}')}: mean nothing for {name}, which is no run"
                for option in idle
            ]
        )
    if wanted.data is None:
        raise ConfigError([f"--data DIR: is needed, as {name} does not say where images and labels are"])
    values = parse_assignments(wanted.changes)
    strange = [key for key in values if not key.startswith("data.") or key == "data.size"]
    if strange:
        raise ConfigError(
            [f"{key}: is fixed by the export of {name}; data.* can be changed" for key in strange]
        )
    return with_values(
        RunConfig(), {"data.split": "official", "data.root": str(absolute(wanted.data))} | values
    )
