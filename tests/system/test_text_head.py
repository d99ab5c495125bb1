"""A network that compares with class embeddings, from the command to an evaluation without their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.classes import CITYSCAPES
from engine.models.class_embeddings import ClassEmbeddings, write_embeddings
from tests.system.test_run_command import Command, command, done  # noqa: F401

VLTSEG = ("model.name=vltseg", "model.backbone=eva02_tiny_patch14", "model.channels=8", "data.size=28x42")
SHORT = ("epochs=1", "batch_size=4", "runtime.threads=1", "gallery.every=0", "data.val_fraction=0.25")


def test_class_embeddings_are_read_once_and_then_in_the_checkpoint(
    street: Path,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    file = tmp_path / "classes.safetensors"
    names = tuple(each.name for each in CITYSCAPES.classes)
    few = ClassEmbeddings(names[:3], np.eye(3, 8, dtype=np.float32), "made up")
    whole = ClassEmbeddings(names, np.eye(19, 24, dtype=np.float32), "made up")
    words = ("run", "quick", "--data", str(street), *VLTSEG, *SHORT, f"model.text={file}", "--name")
    assert f"error: model.text: {file}: does not exist" in done(command(*words, "none"))[2]
    write_embeddings(file, few)
    status, _, err = done(command(*words, "few"))
    assert (status, "has no embedding of" in err) == (1, True), err
    write_embeddings(file, whole)
    status, _, err = done(command(*words, "all"))
    assert status == 0, err
    file.unlink()
    status, _, err = done(command("evaluate", "all", "runtime.threads=1"))
    assert status == 0, err
