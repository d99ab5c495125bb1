"""`seg-engine text-embeddings`: what a text encoder makes of the classes' names, for `model.text`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from engine.classes import CITYSCAPES, ClassSet, ClassSetError, load_class_set
from engine.cli.console import notices, output, print_json
from engine.cli.torch_process import asked
from engine.config.keys import ConfigError
from engine.data.frozen_classes import BUILT_IN
from engine.host.access import refuse_unwritable
from engine.run.checkpoint_file import CheckpointError
from engine.run.files import absolute
from engine.run.weight_kinds import kind_of_weights
from engine.typed import typed

if TYPE_CHECKING:
    from engine.cli.exporting import TextEmbeddings


def text_embeddings(wanted: TextEmbeddings) -> None:
    """Write the file and tell what is in it. Raises ConfigError before anything is made."""
    if importlib.util.find_spec("open_clip") is None:
        raise ConfigError(["text-embeddings: needs open_clip; `pip install 'seg-engine[text]'` installs it"])
    for template in wanted.template:
        if "{}" not in template:
            raise ConfigError([f"--template {template!r}: has no {{}}, where the class's name goes"])
    checkpoint, file = absolute(wanted.weights), absolute(wanted.out)
    try:
        kind_of_weights(checkpoint)
    except CheckpointError as error:
        raise ConfigError([f"--weights {error}"]) from error
    if file.suffix != ".safetensors":
        raise ConfigError([f"--out {file}: must end in .safetensors"])
    refuse_unwritable(file.parent, "name another place with --out FILE")
    classes = [each.name for each in class_set(wanted.classes).classes]
    notices.say("importing open_clip")
    order: dict[str, object] = {"model": wanted.model, "checkpoint": str(checkpoint), "classes": classes}
    order |= {"templates": wanted.template, "file": str(file)}
    made = asked("engine.models.embed_text", order, "embedding")
    if wanted.as_json:
        print_json(made, indent=2)
        return
    output.say(f"{made['file']}: embeddings of {made['classes']} classes, {made['size']} numbers each")
    output.say(f"next: {typed('run', 'RECIPE', 'model.name=vltseg', 'model.text=' + str(made['file']))}")


def class_set(name: str) -> ClassSet:
    """The class set that a person means. Raises ConfigError."""
    if name == BUILT_IN:
        return CITYSCAPES
    try:
        return load_class_set(Path(absolute(name)))
    except ClassSetError as error:
        raise ConfigError([f"CLASSES: {error}"]) from error
