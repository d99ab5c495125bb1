"""The class set goes into a run's config when the run is made, wherever it was read from.

From then on nothing that is done with the run reads the file again: it may be gone, another one may have its
name in the folder from which somebody evaluates, and a data set's own classes.toml may change.
"""

from __future__ import annotations

from pathlib import Path

from engine.classes import ClassSetError, load_class_set
from engine.config.class_set import ClassSetConfig
from engine.config.keys import ConfigError, validate
from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig
from engine.data.catalog import LAYOUTS
from engine.run.files import absolute, expanded

BUILT_IN = "cityscapes"
OWN_FILE = "classes.toml"


def freeze_classes(config: RunConfig) -> RunConfig:
    """The config with its class set written out, and the path it came from made absolute.

    "cityscapes", by name or by layout, needs nothing written. Where `data.classes` is "auto" and the data set
    is not there, or has no readable class set, the config stays as it is: whoever opens the data says so.
    Raises ConfigError when the file that `data.classes` names cannot be used.
    """
    data = config.data
    if data.class_set is not None or data.classes == BUILT_IN:
        return config
    changes: dict[str, object] = {}
    if data.classes == "auto":
        own = _own_class_set(data)
        changes = {"class_set": own} if own is not None and config.needs_labels else {}
    else:
        path = absolute(data.classes)
        changes = {"classes": str(path)}
        if config.needs_labels:
            try:
                changes["class_set"] = ClassSetConfig.of(load_class_set(path))
            except ClassSetError as error:
                raise ConfigError([f"data.classes: {error}"]) from error
    if not changes:
        return config
    return validate({**config.model_dump(), "data": {**data.model_dump(), **changes}})


def class_notes(data: DataConfig) -> list[str]:
    """What a person should know of where the class set comes from; a line each."""
    if data.class_set is None:
        path = Path(data.classes)
        if data.classes in ("auto", BUILT_IN) or path.is_absolute():
            return []
        # Of a version that kept the path as it was typed.
        return [f"data.classes={data.classes} is relative and is read as {absolute(path)}"]
    own = _own_class_set(data) if data.classes == "auto" else None
    if own is None or own.digest == data.class_set.digest:
        return []
    return [
        f"{Path(data.root, OWN_FILE)} has changed since the run was made: it is now {own.told}; "
        f"the run keeps {data.class_set.told}"
    ]


def _own_class_set(data: DataConfig) -> ClassSetConfig | None:
    """The class set that lies with the data; None where there is none, or none that can be read."""
    root = expanded(Path(data.root))
    is_folder = data.kind in ("auto", "folder") and all((root / part).is_dir() for part in LAYOUTS["folder"])
    if not data.root or not is_folder:
        return None
    try:
        return ClassSetConfig.of(load_class_set(root / OWN_FILE))
    except ClassSetError:
        return None
