"""Runs that look at the network of another run: which checkpoint, and the config that follows from it.

Both front ends ask here. Nothing is made; what cannot be done is refused before a run exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.classes import CITYSCAPES, ClassSet
from engine.config.keys import parse_assignments, validate, with_values
from engine.config.run_config import RunConfig
from engine.data.frozen_classes import BUILT_IN, freeze_classes
from engine.host.input_files import InputFileError, refuse_irregular
from engine.metrics.image_confusions import ImageConfusions, load_image_confusions
from engine.plugins import usable_config
from engine.report.compare_config import other_weights
from engine.requests.configs import check_hardware
from engine.requests.refusals import Refused
from engine.requests.source_paths import BEST
from engine.run.checkpoint_file import CheckpointError, verify_checkpoint
from engine.run.directory import RunDir, RunDirError
from engine.run.files import absolute, expanded, is_same_folder
from engine.run.freed import when_freed
from engine.store import EvaluationRow, RunRow, Store
from engine.tasks import TASKS, learns_classes
from engine.tasks.task import OF_LOOKING, groups_of_looking, may_depart
from engine.typed import typed
from engine.workspace import Workspace

NOT_TAKEN_OVER: dict[str, Any] = {"init": {}, "pretrain": {}, "distill": {}, "average": None}
"""Sections that say how a network came about, as a run that looks at it has them."""

CONFUSIONS = "confusions.npz"


def source_run(store: Store, prefix: str) -> RunRow:
    """The training run that a person means. Raises Refused for a run without a network of its own."""
    row = store.run(store.resolve(prefix))
    if not learns_classes(row.task, row.classes):
        of = f"; {row.source} is the run whose network it looked at" if row.source else ""
        raise Refused([f"{row.id}: is of the task {row.task}, not train{of}"])
    return row


def checkpoint_of(workspace: Workspace, row: RunRow, which: str, waits: bool) -> str:
    """The checkpoint as the config of another run names it: "best", "last", a file of the run, or any file.

    A path from the other run's folder, so that the workspace may move. `waits`: the run that needs it will
    start later, and the checkpoint may come until then. Raises Refused when there is none.
    """
    run = workspace.run_dir(row.id)
    is_kind = which in ("best", "last")
    elsewhere = expanded(Path(which)).absolute()
    name = f"{which}.pt" if is_kind else elsewhere.name if elsewhere.parent == run.checkpoints else which
    may_come = waits and is_kind and not row.ended
    if "/" not in name and ((run.checkpoints / name).is_file() or may_come):
        return f"../{row.id}/checkpoints/{name}"
    if not is_kind and (elsewhere.exists() or elsewhere.is_symlink()):
        try:
            refuse_irregular(elsewhere)
            verify_checkpoint(elsewhere)
        except (InputFileError, CheckpointError) as error:
            raise Refused([f"--checkpoint {error}"]) from error
        return str(elsewhere)
    there = ", ".join(sorted(file.name for file in run.checkpoints.glob("*.pt")))
    if freed := when_freed(run, f"checkpoints/{name}"):
        told = f"{row.id}: `seg-engine clean` removed it on {freed}; it has {there or 'none'}"
        raise Refused([f"--checkpoint {which}: {told}"])
    raise Refused([f"--checkpoint {which}: {row.id} has no such checkpoint; it has {there or 'none yet'}"])


def derived_config(
    workspace: Workspace,
    row: RunRow,
    about: Mapping[str, Any],
    assignments: Sequence[str],
    data: Path | None = None,
    task: str = "evaluate",
    crf: bool = False,
) -> RunConfig:
    """The config of the run `row` made that of a `task` that looks at its network; `about` is its section.

    `crf`: with the CRF whose parameters were searched for the checkpoint; a key of `crf` among the
    assignments gives them instead. `assignments` are KEY=VALUE of keys that `may_depart`. `data` is the root
    of another data set, of which the run has held out no part: its own folders count, unless data.split is
    among the assignments. A link to the run's own data set is no other. Raises Refused and ConfigError."""
    values = parse_assignments(assignments)
    refined = {key: value for key, value in values.items() if key.startswith("crf.")}
    if refined and not TASKS[task].uses_crf:
        raise Refused([f"{key}: has no effect in the task {task}" for key in refined])
    strange = [key for key in values if not may_depart(TASKS[task], key)]
    if strange:
        groups = " and ".join(f"{group}*" for group in groups_of_looking(TASKS[task]))
        allowed = f"{', '.join(OF_LOOKING)}, {groups} can be changed"
        raise Refused([f"{key}: is fixed by the training of {row.id}; {allowed}" for key in strange])
    if crf and refined.get("crf.mode") == "off":
        raise Refused(["crf.mode: off contradicts --crf"])
    if crf or refined:
        refined = {"crf.mode": "on" if refined else "searched"} | refined
    own = expanded(Path(row.config["data"]["root"])).absolute()
    if data is not None and not is_same_folder(absolute(data), own):
        values = {"data.split": "official", "data.root": str(absolute(data))} | values
    if values.get("data.split", "folders") != "folders":
        values["data.val_folders"] = ""
    trained = trained_config(workspace, row)
    plain = {key: value for key, value in values.items() if key not in refined}
    # Where a network was trained says nothing about where it is looked at, nor that compiling pays there.
    here: dict[str, Any] = {"executor": "local", "devices": "1", "slurm.nodes": 1}
    here |= {"runtime.compile": "auto"} if trained.runtime.compile == "on" else {}
    table = with_values(trained, here | plain).model_dump()
    config = freeze_classes(
        validate(table | NOT_TAKEN_OVER | {"task": task, TASKS[task].section: dict(about)})
    )
    config = with_values(config, refined) if refined else config
    if config.evaluate is not None and "critical" not in about:
        config = _with_critical(config, classes_of(config).critical)
    if "data.classes" not in values and config.data.class_set is not None:
        refuse_strange_classes(row, config.data.class_set.class_set())
    check_hardware(config)
    return config


def where_it_trains(row: RunRow) -> list[str]:
    """The assignments with which what looks at the network of a run by itself, as a part of a study or a
    search, is a job of the cluster where the training is one, on one GPU."""
    if row.config["executor"] != "slurm":
        return []
    return ["executor=slurm", f"slurm.gpus={min(1, row.config['slurm']['gpus'])}"]


def classes_of(config: RunConfig) -> ClassSet:
    """The classes that a run of this config tells apart."""
    frozen = config.data.class_set
    known = CITYSCAPES if frozen is None else frozen.class_set()
    return known.without([name for name in config.data.held_out if name in known.names])


def _with_critical(config: RunConfig, critical: tuple[str, ...]) -> RunConfig:
    assert config.evaluate is not None
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"critical": critical})})


def trained_config(workspace: Workspace, row: RunRow) -> RunConfig:
    """The config of a run, its plugins loaded. Raises Refused, and ComponentError where one is missing."""
    try:
        return usable_config(workspace.run_dir(row.id))[0]
    except RunDirError as error:
        raise Refused([str(error)]) from error


def has_relative_classes(row: RunRow) -> bool:
    """Whether the run is of a version that kept the path of its class set as it was typed."""
    data = row.config["data"]
    typed = str(data["classes"])
    return data.get("class_set") is None and typed not in ("auto", BUILT_IN) and not Path(typed).is_absolute()


def refuse_strange_classes(row: RunRow, found: ClassSet) -> None:
    """Raise Refused when a relative path led to another class set than that which the run has learned."""
    if not has_relative_classes(row) or not row.classes:
        return
    classes = {c.name: c.hex_color for c in found.classes}
    held_out = str(row.config["data"].get("hold_out", "")).split(",")
    known = {name: color for name, color in classes.items() if name not in held_out}
    if known != dict(zip(row.classes, row.colors, strict=True)) or tuple(known) != row.classes:
        path = absolute(row.config["data"]["classes"])
        raise Refused(
            [
                f"{path}: is not the class set of {row.id}, which was named by a relative path; "
                "data.classes=PATH names the right one"
            ]
        )


def find_baseline(store: Store, prefix: str, wanted: RunConfig) -> EvaluationRow:
    """The evaluation to compare with one of the config `wanted`: the run itself, or the newest made of its
    best checkpoint, with the weights that the training validated, for which a run stands.

    Raises Refused when there is none of the same images, size and way to it.
    """
    row = store.run(store.resolve(prefix))
    if row.source:
        found = store.results.evaluations(row.id)
    else:
        made = store.results.evaluations_of(row.id)
        of_best = [each for each in made if each.checkpoint in ("", f"../{row.id}/checkpoints/{BEST}")]
        found = [each for each in of_best if not other_weights(row, store.run(each.run_id))]
    about = wanted.evaluate
    assert about is not None
    label_resize = about.label_resize if about.at == "original" else ""
    windows = tuple(about.window_fields.values())
    kind = (about.split, about.at, label_resize, about.tta, wanted.crf.mode != "off", windows)
    for evaluation in reversed(found):
        other = store.run(evaluation.run_id).config["data"]
        way = (evaluation.label_resize, evaluation.tta, evaluation.crf != "")
        its_windows = (evaluation.window_size, evaluation.window_stride)
        same_kind = (evaluation.split, evaluation.at, *way, its_windows) == kind
        if same_kind and (other["root"], other["split"]) == (wanted.data.root, wanted.data.split):
            return evaluation
    options = ["--data", str(wanted.data.root), "--split", about.split, "--at", about.at]
    options += ["--label-resize", about.label_resize] if about.at == "original" else []
    options += ["--tta", about.tta] if about.tta != "none" else []
    options += ["--crf"] if wanted.crf.mode != "off" else []
    options += ["--window", str(about.window)] if about.window != "none" else []
    options += ["--stride", str(about.stride)] if about.stride != "auto" else []
    command = typed("evaluate", row.source or row.id, *options)
    raise Refused([f"--baseline {prefix}: has no evaluation of this kind; `{command}` makes one"])


def confusions_of(run: RunDir) -> ImageConfusions:
    """What an evaluation counted in each image. Raises MetricsError when its file is missing or damaged."""
    return load_image_confusions(run.outputs / CONFUSIONS)
