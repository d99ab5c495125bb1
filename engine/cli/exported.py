"""`seg-engine evaluate MODEL.onnx` and `predict MODEL.onnx`: an exported network, without torch or a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from engine.classes import CITYSCAPES
from engine.cli.console import notices, output, print_json, progress_bar
from engine.cli.evaluate import critical_names, refuse_strange, tell_requirements
from engine.cli.predict import refuse_for_images, refuse_for_video
from engine.config.fields import Size
from engine.config.keys import ConfigError, parse_assignments, with_values
from engine.config.run_config import RunConfig
from engine.config.seen import Seen
from engine.config.windows import SlidingWindowKeys
from engine.data.class_map_files import ClassMapWriter
from engine.data.frozen_classes import freeze_classes
from engine.exits import DONE, FAILED
from engine.exported.evaluate import score_split
from engine.exported.network import ExportedModel
from engine.exported.predict import write_predictions
from engine.exported.video import write_video
from engine.report.evaluation import evaluation_text, metrics_text
from engine.requests.derive import classes_of
from engine.requests.predict import find_images, output_names, refuse_existing, refuse_no_folder
from engine.requests.predict_video import find_video, names_video
from engine.requests.requirements import Known, scores_of
from engine.run.event import MetricScore
from engine.run.files import absolute
from engine.store import EvaluationRow, MetricRow
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.arguments import InWindows
    from engine.cli.scoring import Evaluation, Prediction

SUFFIX = ".onnx"

OF_EVALUATIONS = ("tta", "crf", "checkpoint", "baseline", "keep", "new", "queued")
OF_PREDICTIONS = ("tta", "crf", "checkpoint", "new", "queued", "as_json")
"""Options that mean nothing for a file."""

OPTIONS = {"new": "--name, --experiment, --tag and --note", "queued": "--queue", "as_json": "--json"}
"""What a field is called on the command line, where that does not follow from its name."""


def is_exported(name: str) -> bool:
    """Whether what was named is a file that `export` has made, not a run."""
    return name.endswith(SUFFIX)


def evaluate_file(workspace: Workspace, wanted: Evaluation) -> int:
    """Print the scores and the speed; returns the exit status, 1 where a requirement is not met. Raises
    ConfigError, ExportedError and DataError."""
    data, size = data_config(wanted)
    model = opened(wanted.run, wanted.windows, size)
    of_size = data.data.model_copy(update={"size": model.size})  # another network than this suits it
    data = data.model_copy(update={"data": of_size})
    critical = (
        critical_names(wanted.critical) if wanted.critical else classes_of(freeze_classes(data)).critical
    )
    if wanted.critical:  # classes that nobody named are those of the data, which have to be the network's
        refuse_strange(critical, model.classes)
    requirements = Known(model.classes, critical, wanted.boundary).requirements(wanted.require)
    notices.say(f"scoring {wanted.split} of {data.data.root}")
    scored = score_split(
        model,
        data.data,
        wanted.split,
        wanted.at,
        wanted.label_resize,
        workspace.cache,
        critical,
        wanted.boundary,
    )
    for note in scored.notes:
        notices.say(f"note: {note}")
    found = scored.confusions
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
        latency_seconds=speed.median,
        latency_p95_seconds=speed.percentile(0.95),
        frames_per_second=1 / speed.median,
        crf="",
        **model.windows.fields,
    )
    metrics = metric_rows(scored.metrics, row)
    reached = scores_of(row, metrics)
    met = all(each.met(reached) for each in requirements)
    if wanted.as_json:
        told = {
            "metrics": [metric.model_dump() for metric in scored.metrics],
            "requirements": [each.record(reached) for each in requirements],
        }
        print_json(asdict(row) | told, indent=2)
    else:
        output.say(evaluation_text(row, model.colors))
        if metrics:
            output.say()
            output.say(metrics_text(metrics))
        if requirements:
            tell_requirements(requirements, reached)
    return DONE if met else FAILED


def metric_rows(metrics: Sequence[MetricScore], row: EvaluationRow) -> list[MetricRow]:
    """Metrics as they come from a database, of the split as a whole and of each class."""
    return [
        MetricRow(
            run_id=row.run_id,
            source=row.source,
            seq=row.seq,
            measured="result",
            split=row.split,
            at=row.at,
            epoch=row.epoch,
            metric=metric.name,
            class_name=name,
            value=value,
            unit=metric.unit,
            low=metric.low,
            high=metric.high,
            better=metric.better,
        )
        for metric in metrics
        for name, value in ({"": metric.value} | metric.classes).items()
    ]


def opened(name: str, windows: InWindows, size: str) -> ExportedModel:
    """A file for images of data.size in windows. Raises ConfigError and ExportedError."""
    seen = seen_in(windows, size)
    model = ExportedModel.open(absolute(name))
    return model.at(*seen.settled(model.size))


def seen_in(windows: InWindows, size: str) -> Seen:
    """What a network sees of an image of data.size, which is "" where it is the usual. Raises ConfigError."""
    keys = SlidingWindowKeys.model_validate(windows.keys)
    try:
        wanted = TypeAdapter(Size).validate_python(size) if size else None
    except ValueError as error:
        told = "must be HEIGHTxWIDTH such as 512x1024, each from 16 to 8192"
        raise ConfigError([f"data.size: {size!r} {told}"]) from error
    return Seen(wanted, keys.window_size, keys.window_stride)


def data_config(wanted: Evaluation) -> tuple[RunConfig, str]:
    """A config with the data that a file is to be scored on, and the size that its images are to have, "":
    that of the export. Raises ConfigError for words that only a run has a use for."""
    name = Path(wanted.run).name
    refuse_idle(
        wanted,
        type(wanted)(
            run="", windows=type(wanted.windows)(), new=type(wanted.new)(), queued=type(wanted.queued)()
        ),
        OF_EVALUATIONS,
    )
    if wanted.data is None:
        raise ConfigError([f"--data DIR: is needed, as {name} does not say where images and labels are"])
    values = parse_assignments(wanted.changes)
    size = values.pop("data.size", "")
    strange = [key for key in values if not key.startswith("data.")]
    if strange:
        raise ConfigError(
            [f"{key}: is fixed by the export of {name}; data.* can be changed" for key in strange]
        )
    values = {"data.split": "official", "data.root": str(absolute(wanted.data))} | values
    return with_values(RunConfig(), values), size


def refuse_idle(
    wanted: Evaluation | Prediction, plain: Evaluation | Prediction, options: Sequence[str]
) -> None:
    """Raise ConfigError for options that were given and have no effect on a file; `plain` has none given."""
    idle = [option for option in options if getattr(wanted, option) != getattr(plain, option)]
    if idle:
        name = Path(wanted.run).name
        told = [OPTIONS.get(option, f"--{option}") for option in idle]
        raise ConfigError([f"{each}: has no effect on {name}, which is not a run" for each in told])


def predict_file(wanted: Prediction) -> int:
    """Write class maps into --out; returns the exit status, 1 when some image could not be used. Raises
    ConfigError, Refused, ExportedError and DataError before anything is made."""
    plain = type(wanted)(
        run="",
        images=[""],
        windows=type(wanted.windows)(),
        new=type(wanted.new)(),
        queued=type(wanted.queued)(),
    )
    refuse_idle(wanted, plain, OF_PREDICTIONS)
    name = Path(wanted.run).name
    values = parse_assignments(wanted.set_key)
    if strange := [key for key in values if key != "data.size"]:
        told = f"has no effect on {name}; data.size can be changed"
        raise ConfigError([f"--set {key}: {told}" for key in strange])
    size = values.get("data.size", "")
    if wanted.out is None:
        raise ConfigError([f"--out DIR: is needed, as {name} has no folder for outputs"])
    if names_video(wanted.images):
        return predict_video_file(wanted, wanted.out, size)
    refuse_for_images(wanted)
    model = opened(wanted.run, wanted.windows, size)
    if wanted.ids == "raw" and model.classes != CITYSCAPES.names:
        raise ConfigError([f"--ids raw: {name} does not know the ids of its classes in label files"])
    ids = [info.ids[0] for info in CITYSCAPES.classes] if wanted.ids == "raw" else range(len(model.classes))
    found = find_images(wanted.images)
    for note in found.notes:
        notices.say(f"note: {note}")
    names = output_names(found.images, wanted.naming)
    out = absolute(wanted.out)
    refuse_no_folder(out)
    if not wanted.overwrite:
        refuse_existing(out, names)
    writer = ClassMapWriter.of(out, list(ids), model.colors)
    writer.make_room(names, wanted.overwrite)
    images = list(zip(found.images, names, strict=True))
    faults = write_predictions(model, images, writer, wanted.label_resize)
    for fault in faults:
        notices.say(f"left out: {fault}")
    output.say(f"{len(images) - len(faults)} of {len(images)} images: {out}")
    return FAILED if faults else DONE


def predict_video_file(wanted: Prediction, out: Path, size: str) -> int:
    """Write a video; returns the exit status, 1 where the video is damaged. Raises Refused, ExportedError and
    VideoError."""
    refuse_for_video(wanted)
    video, target = find_video(wanted.images, out, wanted.overwrite)
    assert target is not None
    model = opened(wanted.run, wanted.windows, size)
    if video.note:
        notices.say(f"note: {video.note}")
    begun = time.monotonic()
    with progress_bar("predicting") as report:
        frames = write_video(model, video, target, wanted.view or "overlay", wanted.label_resize, report)
    rate = frames / (time.monotonic() - begun)
    output.say(f"{frames} frames, {rate:.1f} frames/s: {target}")
    if video.fault:
        notices.say(f"left out: {video.fault}")
    return FAILED if video.fault else DONE
