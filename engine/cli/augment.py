"""`seg-engine augment`: what augmentation makes of the first training images, as one PNG."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer

from engine.cli.console import notices, progress_bar
from engine.cli.reading import has_database, open_existing
from engine.config.keys import ConfigError, parse_assignments, with_values
from engine.config.recipes import UnknownRecipe
from engine.config.run_config import RunConfig
from engine.config.run_defaults import load_run_defaults
from engine.data.dataset import open_dataset
from engine.data.membership import Membership
from engine.host.access import refuse_unwritable
from engine.host.processes import python_command, python_environment
from engine.plugins import usable_config, with_loaded
from engine.report.augmented import Augmented, augmented_picture
from engine.report.gallery import PictureError
from engine.requests.configs import base_config, check_components, default_name, with_data_root
from engine.run.files import replacing
from engine.store import StoreError
from engine.tasks import TASKS
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.looking import AugmentedStep


def draw_augmented(workspace: Workspace, wanted: AugmentedStep) -> None:
    """Write the picture and print its path. Raises ConfigError, DataError, StoreError and PictureError."""
    out = wanted.out
    if out.suffix.lower() != ".png":
        raise PictureError(f"{out}: the picture is a PNG; the name must end in .png")
    refuse_unwritable(out.parent, "use --out FILE to write it elsewhere")
    config, split, name = _config_of(workspace, wanted.target, wanted.changes, wanted.data)
    if not TASKS[config.task].learns:
        raise ConfigError(
            [f"{wanted.target}: the task {config.task} trains nothing, so nothing is augmented"]
        )
    check_components(config)
    _open_data(config, workspace, split)
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder, "step.npz")
        _compute(config, arrays, workspace, split, wanted.samples)
        with np.load(arrays, allow_pickle=False) as step:
            columns = [step[key] for key in ("names", "images", "labels", "augmented", "augmented_labels")]
            rows = [Augmented(str(row[0]), *row[1:]) for row in zip(*columns, strict=True)]
            classes, colors = step["classes"].tolist(), step["colors"].tolist()
    picture = augmented_picture(rows, classes, colors, f"{name}: the first training step")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as stream:
        picture.save(stream, format="PNG")
    print(out.absolute())


def _config_of(
    workspace: Workspace, target: str, changes: Sequence[str], data: Path | None
) -> tuple[RunConfig, Path | None, str]:
    """The config that is meant, the file of its run's split if it is that of a run, and what it is called."""
    values = parse_assignments(changes)
    if data is not None:
        values["data.root"] = str(data)
    split = None
    try:
        base, name = base_config(target, load_run_defaults(workspace.root), values), ""
    except UnknownRecipe as error:
        if not workspace.root.is_dir() or not has_database(workspace):
            raise
        with open_existing(workspace) as store:
            try:
                row = store.run(store.resolve(target))
            except StoreError as no_run:
                raise ConfigError([f"{error}; nor is it a run: {no_run}"]) from error
        run = workspace.run_dir(row.id)
        (base, notes), name = usable_config(run), row.name
        for note in notes:
            notices.note(note)
        if not any(key.startswith("data.") for key in values):
            split = run.split_file
    config = with_data_root(with_values(base, values))
    return config, split, name or default_name(config)


def _open_data(config: RunConfig, workspace: Workspace, split: Path | None) -> None:
    """Decode what is not cached yet, and tell what there is to tell of it. Raises DataError."""
    began_with = Membership.read(split) if split is not None else None
    with progress_bar("decoding") as report:
        data = open_dataset(
            config.data,
            workspace.cache,
            report,
            notices.say,
            labels=config.needs_labels,
            began_with=began_with,
        )
    for note in data.notes:
        notices.note(note)


def _compute(config: RunConfig, out: Path, workspace: Workspace, split: Path | None, samples: int) -> None:
    """In a process of its own, which waits for torch. What it has to say, it says itself."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(with_loaded(config).model_dump_json())
        file.flush()
        command = python_command("engine.training.probes.augmented", file.name, str(out))
        command += ["--cache", str(workspace.cache), "--samples", str(samples)]
        command += ["--split", str(split)] if split is not None else []
        done = subprocess.run(command, env=python_environment(), check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.stderr.flush()
        raise typer.Exit(done.returncode)
