"""The model card of an exported network: what it is, what it was made of, and how well it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.config.export import ExportConfig
from engine.report.compare_formats import or_dash
from engine.report.compare_ood import corruption_block, corruptions_told, ood_block, ood_lines
from engine.report.environments import ABOUT, environment_block
from engine.report.instances import CAPTION, instances_block, newest
from engine.report.measures import ComparedRun
from engine.report.page import Block, Bullets, Code, Heading, Marked, table, text, to_markdown
from engine.report.tables import data_size, large, score

MARK = "exported by seg-engine"
"""What a card says of itself, by which another export knows that it may replace it."""


def model_card(run: ComparedRun, wanted: ExportConfig, made: Mapping[str, Any]) -> str:
    """Markdown; `made` is what the exporting process said of the file."""
    about = made["about"]
    blocks: list[Block] = [
        Heading(run.row.name or run.row.id, 1),
        text(
            f"A network for semantic segmentation in the format {wanted.format}, {MARK} {about['version']}."
        ),
        Heading("Use"),
        Bullets(tuple(_use(wanted, made))),
    ]
    if wanted.format == "onnx":
        blocks.append(Code(_EXAMPLE.format(file=made["name"], name=_output_name(wanted)), "python"))
    blocks += [Heading("Origin"), Bullets(tuple(_origin(run, about)))]
    blocks += [Heading("Scores"), *_scores(run)]
    if instances := newest(run.metrics):
        blocks += [
            Heading("Instances"),
            text(f"{CAPTION[0].upper()}{CAPTION[1:]}."),
            instances_block(instances),
        ]
    if run.ood:
        about_ood = (
            "The run is A. FPR95 is at the first threshold that takes in 95 % of what is out-of-distribution."
        )
        lines = ood_lines([("A", [(run.row.seed, run.ood)])])
        blocks += [Heading("Out-of-distribution detection"), text(about_ood), ood_block(lines)]
    if run.corruptions:
        scored = [("", run.corruptions)]
        blocks += [Heading("Robustness"), text(corruptions_told(scored)), corruption_block(scored)]
    if run.environments:
        blocks += [Heading("Unseen environments"), text(ABOUT), environment_block([("", run.environments)])]
    return to_markdown(blocks)


_EXAMPLE = """\
import json, onnxruntime
session = onnxruntime.InferenceSession("{file}")
about = json.loads(session.get_modelmeta().custom_metadata_map["seg_engine"])
{name}, = session.run(None, {{"images": images}})"""


def _output_name(wanted: ExportConfig) -> str:
    return "class_ids" if wanted.argmax else "logits"


def _use(wanted: ExportConfig, made: Mapping[str, Any]) -> Iterator[str]:
    about = made["about"]
    height, width = wanted.size
    stride, least = about["multiple_of"], about.get("least_side", 1)
    sides = f"sides multiples of {stride}" + (f", at least {least}" if least > stride else "")
    yield f"Input: {wanted.input}; " + (
        f"any number of images, {sides}; exported at {height}x{width}"
        if wanted.dynamic
        else f"one image of {height}x{width} (height x width)"
    )
    if not wanted.uint8_input:
        mean, std = (", ".join(f"{value:g}" for value in about[name]) for name in ("mean", "std"))
        yield f"mean {mean}; std {std} (RGB, pixels from 0 to 255)"
    yield f"Output: {wanted.output}"
    if made["weights"]:
        yield f"Its weights are in {made['weights']}, which has to lie beside it"
    yield "Classes, from 0: " + ", ".join(about["classes"])
    difference = made["largest_difference"]
    logits = "" if difference is None else f"logits differ by at most {difference:.2g}, "
    yield (
        f"Compared with the network when it was exported: {logits}"
        f"{100 * made['pixels_differing']:g} % of the pixels differ in class"
    )
    yield f"Size: {data_size(made['bytes'])}; the file's metadata has all of this as JSON, under `seg_engine`"


def _origin(run: ComparedRun, about: Mapping[str, Any]) -> Iterator[str]:
    row = run.row
    epoch = f"epoch {about['epoch']} of {row.epochs or row.epoch}"
    yield f"Run {row.id}, recipe {row.recipe or '-'}, seed {row.seed}, {epoch}"
    yield f"Checkpoint {about['checkpoint']}, SHA-256 {about['sha256']}"
    training, validation = or_dash(row.train_images), or_dash(row.val_images)
    yield f"Data: {about['data']}, {training} images for training, {validation} for validation"
    if row.parameters is not None:
        yield f"{large(row.parameters)} parameters, {large(row.flops_per_sample, 'FLOP')} an image"
    if about["initial_weights"]:
        named = about["initial_weights_licence"]
        licence = f"their licence, {named}," if named else "their licence"
        yield f"Trained from the weights {about['initial_weights']}; {licence} applies as well"
    else:
        yield "Trained from scratch"
    yield "The licence of the data may apply to what was learned from it"
    if about["data_licence"]:
        yield f"Of the data: {'; '.join(about['data_licence'])}"


def _scores(run: ComparedRun) -> Iterator[Block]:
    row = run.row
    if row.best_dice is None:
        yield text("No epoch has been validated.")
        return
    yield text(
        "Validation Dice ",
        Marked(score(row.best_dice), "strong"),
        f", mIoU {score(row.best_miou)}, at the best epoch, {row.best_epoch}.",
    )
    yield table(["class", "Dice"], [[name, score(value)] for name, value in run.classes.items()])
    rows = [[each.kind, *map(score, (each.scores.dice, each.scores.miou))] for each in run.evaluations]
    if rows:
        yield text("Evaluations of checkpoints of this run.")
        yield table(["images", "Dice", "mIoU"], rows)
