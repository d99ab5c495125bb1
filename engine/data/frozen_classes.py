"""The class set goes into a run's config when the run is made, wherever it was read from.

From then on nothing that is done with the run reads the file again: it may be gone, another one may have its
name in the folder from which somebody evaluates, and a data set's own classes.toml may change.
"""

from __future__ import annotations

from pathlib import Path

from engine.classes import CITYSCAPES, ClassSet, ClassSetError, load_class_set
from engine.config.class_set import ClassSetConfig
from engine.config.keys import ConfigError, validate
from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig
from engine.data.faults import DataError
from engine.data.layouts import Layout
from engine.data.layouts.recognise import found_layout
from engine.plugins import errors_of_plugins
from engine.run.files import absolute, expanded

BUILT_IN = "cityscapes"
OF_DATA = ("auto", BUILT_IN)
"""The values of `data.classes` with which the data set says what its label values mean."""


def freeze_classes(config: RunConfig) -> RunConfig:
    """The config with its class set written out, and the path it came from made absolute.

    Label files of Cityscapes need nothing written. Where `data.classes` is "auto" and the data set
    is not there, or has no readable class set, the config stays as it is: whoever opens the data says so.
    Raises ConfigError when the file that `data.classes` names cannot be used.
    """
    data = config.data
    if data.class_set is not None:
        return config
    changes: dict[str, object] = {}
    if data.classes in OF_DATA:
        own = _own_classes(data)
        if own is not None and own[1] != CITYSCAPES and config.needs_labels:
            changes = {"class_set": ClassSetConfig.of(own[1])}
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
        if data.classes in OF_DATA or path.is_absolute():
            return []
        # Of a version that kept the path as it was typed.
        return [f"data.classes={data.classes} is relative; it is read as {absolute(path)}"]
    found = _own_classes(data) if data.classes in OF_DATA else None
    if found is None:
        return []
    layout, own = found[0], ClassSetConfig.of(found[1])
    if own.digest == data.class_set.digest:
        return layout.mapping_notes(expanded(Path(data.root))) if data.classes == BUILT_IN else []
    source = layout.classes_from(Path(data.root))
    return [
        f"{source} has changed since the run was made: it is now {own.told}; "
        f"the run keeps {data.class_set.told}"
    ]


def usual_classes(root: Path, layout: str, learned: ClassSet) -> str:
    """Where the classes of another data set come from unless somebody says it: from the table to those of
    Cityscapes where a network learned these, whether some were held out or not, and the layout has one; else
    from the data set itself."""
    found = found_layout(root, layout)
    names = {c.name for c in (*learned.classes, *learned.held_out)}
    return BUILT_IN if found is not None and found.is_mapped and names == set(CITYSCAPES.names) else "auto"


def _own_classes(data: DataConfig) -> tuple[Layout, ClassSet] | None:
    """The layout of the data, and the class set that it brings; None where there is none that can be read."""
    root = expanded(Path(data.root))
    layout = found_layout(root, data.layout) if data.root else None
    if layout is None:
        return None
    try:
        with errors_of_plugins(DataError):
            mapped = data.classes == BUILT_IN
            return layout, layout.cityscapes_classes(root) if mapped else layout.class_set(root)
    except DataError:
        return None
