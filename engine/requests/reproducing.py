"""Making a run again: what is known of it, in its folder or in a bundle, and the run that follows from that.

A bundle is a ZIP file whose bytes depend on the run alone. It holds no code and no images: plugins are named
by their digests, images by theirs.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.components.origin import ComponentError
from engine.config.files import config_from_json
from engine.config.keys import ConfigError
from engine.config.run_config import RunConfig
from engine.data.frozen_classes import freeze_classes
from engine.errors import EngineError
from engine.host.input_files import InputFileError, read_regular, shown
from engine.plugins import load_plugin, loaded_plugins
from engine.report.reproduction import Origin, Reproduction, compared, last, scores_of
from engine.requests.refusals import Refused
from engine.run.bounds import MAX_FILE
from engine.run.directory import RunDir, RunDirError
from engine.run.environment import environments_as_json, environments_from_json, read_environments
from engine.run.files import absolute, replacing
from engine.store import RunRow, Store
from engine.tasks import TASKS
from engine.workspace import Workspace

ABOUT, CONFIG, ENVIRONMENT, LOCK, SCORES, SPLIT = (
    *("about.json", "config.json", "environment.json", "requirements.txt", "scores.json", "split.json"),
)
"""The files of a bundle."""

_STAMP = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a ZIP file can hold: when a bundle was written is no part of it."""


_DAMAGED = (zlib.error, lzma.LZMAError, OSError, EOFError)
"""What unpacking a file of a ZIP file fails with that is damaged, by how it was packed."""


class BundleError(EngineError):
    """A bundle that cannot be used; the message is one line."""


class _About(BaseModel):
    """Which run a bundle, or the folder of a run that was made again, tells of."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    run: str
    name: str
    experiment: str = "default"


@dataclass(frozen=True)
class First:
    """A run as it was made first. `config` and `split` are its files; `split` is None where it has none."""

    origin: Origin
    experiment: str
    config: bytes
    split: bytes | None


# ---------------------------------------------------------------------- what is known of a run


def first_of(workspace: Workspace, store: Store, row: RunRow) -> First:
    """A run of the workspace. Raises Refused for a run that does not learn or has no scores, RunDirError."""
    if not TASKS[row.task].learns:
        raise Refused([f"{row.id}: is of the task {row.task}; only runs that train can be reproduced"])
    run = workspace.run_dir(row.id)
    scores = scores_of(store.results.epochs(row.id))
    if not scores:
        raise Refused([f"{row.id}: is {row.status} and has no scores to compare with"])
    run.read_config()  # what this version cannot read is told now
    split = run.split_file.read_bytes() if run.split_file.exists() else None
    origin = Origin(row.id, row.name, read_environments(run), scores)
    return First(origin, row.experiment, run.config_file.read_bytes(), split)


def first_in(path: Path) -> First:
    """The run that a bundle tells of. Raises BundleError."""
    try:
        content = read_regular(path, MAX_FILE)
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            files = {name: _member(bundle, name) for name in bundle.namelist() if name != LOCK}
        about = _About.model_validate_json(files[ABOUT])
        if about.format != 1:
            raise ValueError(f"is of format {about.format}; this version reads 1")
        origin = Origin(
            about.run, about.name, environments_from_json(files[ENVIRONMENT]), _read_scores(files[SCORES])
        )
        return First(origin, about.experiment, files[CONFIG], files.get(SPLIT))
    except InputFileError as error:
        raise BundleError(str(error)) from error
    except KeyError as error:
        raise BundleError(f"{shown(path)}: is no bundle of seg-engine: it has no {error.args[0]}") from error
    except ValidationError as error:
        raise BundleError(f"{shown(path)}: {ABOUT}: {error.errors()[0]['msg']}") from error
    except _DAMAGED as error:
        told = f"is damaged: {str(error) or 'a file in it ends too early'}"
        raise BundleError(f"{shown(path)}: {told}") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        told = "is no ZIP file" if isinstance(error, zipfile.BadZipFile) else str(error)
        raise BundleError(f"{shown(path)}: {told}") from error


def _member(bundle: zipfile.ZipFile, name: str) -> bytes:
    if bundle.getinfo(name).file_size > MAX_FILE:
        raise ValueError(f"{name}: is larger than {MAX_FILE} bytes")
    return bundle.read(name)


def write_bundle(first: First, path: Path) -> None:
    """Whole or not at all. Raises BundleError where a file is already, OSError."""
    if path.exists() or path.is_symlink():
        raise BundleError(f"{shown(path)}: already exists; name another file")
    origin = first.origin
    environment = last(origin.environments)
    packages = environment.packages if environment is not None else {}
    files = {
        ABOUT: _as_json(_about(first)),
        CONFIG: first.config,
        ENVIRONMENT: environments_as_json(origin.environments),
        LOCK: "".join(f"{name}=={version}\n" for name, version in packages.items()).encode(),
        SCORES: _as_json(_scores_table(origin)),
    }
    if first.split is not None:
        files[SPLIT] = first.split
    with replacing(path) as stream, zipfile.ZipFile(stream, "w") as bundle:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            bundle.writestr(entry, content)


def _about(first: First) -> dict[str, Any]:
    origin = first.origin
    return {"format": 1, "run": origin.run, "name": origin.name, "experiment": first.experiment}


def _as_json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _scores_table(origin: Origin) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "split": split, "scores": dict(scores)}
        for (epoch, split), scores in sorted(origin.scores.items())
    ]


def _read_scores(content: bytes) -> dict[tuple[int, str], dict[str, float | None]]:
    """Raises ValueError."""
    try:
        return {
            (int(row["epoch"]), str(row["split"])): {
                str(name): None if value is None else float(value) for name, value in row["scores"].items()
            }
            for row in json.loads(content)
        }
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{SCORES}: is no table of scores") from error


# ---------------------------------------------------------------------- the run that follows


def config_again(first: First, data: Path | None) -> RunConfig:
    """The config of a run that makes another again, on its data or that in the folder `data`.

    Its class set is kept. A run on the CPU gets as many threads, as sums depend on them. Raises ConfigError,
    and ComponentError for a plugin that is not there.
    """
    config = _usable(first.config)
    root = absolute(data if data is not None else config.data.root)
    if not root.is_dir() or (data is None and not config.data.root):
        raise ConfigError([f"data.root: {root} is not here; --data DIR names the folder of the data set"])
    config = config.model_copy(update={"data": config.data.model_copy(update={"root": str(root)})})
    environment = last(first.origin.environments)
    if environment is not None and environment.device == "cpu" and config.runtime.threads == 0:
        runtime = config.runtime.model_copy(update={"threads": environment.threads})
        config = config.model_copy(update={"runtime": runtime})
    return freeze_classes(config.model_copy(update={"plugins": None}))


def _usable(content: bytes) -> RunConfig:
    """The config with its plugins loaded: from where they were, or those of `--plugin` by their digests, else
    by their names."""
    for file in config_from_json(content).plugins or ():
        path, loaded = Path(file.path), loaded_plugins()
        if any(one.sha256 == file.sha256 or one.path.name == path.name for one in loaded):
            continue
        if not path.is_file():
            raise ComponentError(
                f"{path}: the plugin that the run was made with (SHA-256 {file.sha256[:12]}) is not there; "
                "--plugin FILE.py names it"
            )
        load_plugin(path)
    config = config_from_json(content)
    if missing := config.missing():
        raise ComponentError("; ".join(missing))
    return config


def files_again(first: First) -> dict[str, bytes]:
    """What the folder of the new run begins with: what is known of the first one, and its split."""
    origin = first.origin
    known = {
        **_about(first),
        "environments": json.loads(environments_as_json(origin.environments)),
        "scores": _scores_table(origin),
    }
    files = {RunDir(Path()).origin_file.name: _as_json(known)}
    if first.split is not None:
        files[RunDir(Path()).split_file.name] = first.split
    return files


def reproduction_of(run: RunDir, config: Mapping[str, Any], rows: Sequence[Any]) -> Reproduction | None:
    """How a run with these scores compares with the one that it makes again; None for any other run. Raises
    RunDirError for a damaged file."""
    if not run.origin_file.exists():
        return None
    try:
        table = json.loads(read_regular(run.origin_file, MAX_FILE))
        about = _About.model_validate(table)
        environments = environments_from_json(json.dumps(table["environments"]).encode())
        origin = Origin(
            about.run, about.name, environments, _read_scores(json.dumps(table["scores"]).encode())
        )
    except (OSError, InputFileError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunDirError(f"{run.origin_file}: cannot be read: {error}".splitlines()[0]) from error
    return compared(origin, config, read_environments(run), rows)
