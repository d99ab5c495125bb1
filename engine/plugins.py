"""Plugins: single files that register components, named by `--plugin FILE.py` and recorded with the run."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.components.origin import ComponentError, Origin, registering
from engine.components.outside import one_line, outside_code, place_in

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from engine.config.sections import PluginFile
    from engine.run.directory import RunDir


@dataclass(frozen=True)
class Plugin:
    """A file of components that was loaded: its absolute path and the SHA-256 of its bytes."""

    path: Path
    sha256: str


_plugins: dict[Path, Plugin] = {}


def load_plugin(path: Path) -> Plugin:
    """Import a file that registers components; a file that is loaded already is not run again.

    Raises ComponentError, one line with the place in the file, when it cannot be read or fails.
    """
    path = Path(os.path.expanduser(path)).absolute()
    if path in _plugins:
        return _plugins[path]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ComponentError(f"{path}: cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    name = f"seg_engine_plugin_{digest[:12]}"
    import engine.config.run_config  # noqa: F401 - what is built in has its names before anybody else

    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ComponentError(f"{path}: is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks the annotations of a section up here
    try:
        with registering(Origin("file", str(path), digest)):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ComponentError(f"{place_in(error, [path]) or path}: {one_line(error)}") from error
    _plugins[path] = Plugin(path, digest)
    return _plugins[path]


def loaded_plugins() -> tuple[Plugin, ...]:
    return tuple(_plugins.values())


def place_in_plugin(error: BaseException) -> str:
    """FILE:LINE of the last line of code from outside, a loaded plugin or an installed package of components,
    that took part in an error or in what led to it; empty when none did."""
    return place_in(error, [*_plugins, *outside_code()])


@contextmanager
def errors_of_plugins(told_as: type[Exception]) -> Iterator[None]:
    """Within it an error that a loaded plugin raises becomes `told_as`: one line with its file and line.

    Errors that are `told_as` already, and those that no plugin took part in, stay what they are.
    """
    try:
        yield
    except told_as:
        raise
    except Exception as error:
        place = place_in_plugin(error)
        if not place:
            raise
        raise told_as(f"{place}: {one_line(error)}") from error


def load_recorded(files: Iterable[PluginFile]) -> list[str]:
    """Load the plugins that a run was made with. Returns a line for each that has changed since.

    Raises ComponentError, one line, for a file that is gone or fails.
    """
    notes = []
    for file in files:
        path = Path(file.path)
        if not path.is_file():
            link = f"ln -s NEW {shlex.quote(str(path))}"
            told = "the plugin that the run was made with is not there; if it has moved"
            raise ComponentError(f"{path}: {told}, `{link}` leads to it")
        if load_plugin(path).sha256 != file.sha256:
            notes.append(f"{path}: the plugin has changed since the run was made")
    return notes


def usable_config(run: RunDir) -> tuple[RunConfig, list[str]]:
    """The config of a run that is to be worked on, its plugins loaded, and a line for each that has changed.

    Raises RunDirError, and ComponentError, one line, when a component is missing.
    """
    config = run.read_config()
    notes = load_recorded(config.plugins or ())
    if config.plugins:
        config = run.read_config()  # now that its components are known
    if missing := config.missing():
        raise ComponentError("; ".join(missing))
    return config, notes


def config_of_file(path: Path) -> RunConfig:
    """The config in a JSON file, its plugins loaded. Raises ConfigError, and ComponentError for a plugin."""
    from engine.config.files import config_from_json

    content = path.read_bytes()
    load_recorded(config_from_json(content).plugins or ())
    return config_from_json(content)


def with_loaded(config: RunConfig) -> RunConfig:
    """The config with the plugins of this process, and the defaults of their keys, on its record.

    Plugins that it has stay as they are, so that a change since is noticed.
    """
    from engine.config.sections import PluginFile
    from engine.config.stored import outside_defaults

    known = {str(p.path): PluginFile(path=str(p.path), sha256=p.sha256) for p in loaded_plugins()}
    known |= {file.path: file for file in config.plugins or ()}
    record = {"plugins": tuple(known.values()) or None, "component_defaults": outside_defaults(config)}
    return config.model_copy(update=record)
