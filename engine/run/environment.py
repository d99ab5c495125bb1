"""What a run was computed with: `environment.json` in its folder has a record of each attempt.

Digests are SHA-256. The code's is of every Python and JSON file of the package; those of the data and the
split are of what `split.json` would say of the files as they were in that attempt.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from engine.host.input_files import InputFileError, read_regular
from engine.run.bounds import MAX_FILE
from engine.run.directory import RunDir, RunDirError
from engine.run.files import write_json

PROGRAM = "seg-engine"


class Environment(BaseModel):
    """`packages` are versions by name, `components` digests of code from outside by the name of its file or
    package, `libraries` versions of what torch brings. What is empty is not known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    engine: str = ""
    engine_sha256: str = ""
    python: str = ""
    platform: str = ""
    packages: dict[str, str] = {}
    components: dict[str, str] = {}
    driver: str = ""
    libraries: dict[str, str] = {}
    device: str = ""
    device_name: str = ""
    precision: str = ""
    threads: int = 0
    ranks: int = 0
    data_sha256: str = ""
    split_sha256: str = ""


Environments = Mapping[int, Environment]
"""By attempt."""

_records: TypeAdapter[dict[int, Environment]] = TypeAdapter(dict[int, Environment])


def environment_here(plugins: Mapping[str, str], packages: Iterable[Path] = ()) -> Environment:
    """What this process has, without a device. `plugins` are digests by file name, `packages` the code of
    installed packages that offer components."""
    return Environment(
        engine=_own_version(),
        engine_sha256=code_digest(Path(__file__).resolve().parents[1]),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.machine()}",
        packages=installed_packages(),
        components={**plugins, **{path.name: code_digest(path) for path in packages}},
        driver=_driver(),
    )


def code_digest(place: Path) -> str:
    """Of a file, or of all Python and JSON files in a folder with their names."""
    if place.is_file():
        return hashlib.sha256(place.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(place.rglob("*")):
        if file.suffix in (".py", ".json") and file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{content}  {file.relative_to(place).as_posix()}\n".encode())
    return digest.hexdigest()


def installed_packages() -> dict[str, str]:
    """The version of each package that Python finds, by its normalised name (PEP 503); of two versions that
    which is imported."""
    found: dict[str, str] = {}
    for package in distributions():
        try:
            metadata = package.read_text("METADATA") or package.read_text("PKG-INFO") or ""
        except UnicodeDecodeError:  # of an old package; Python itself cannot tell its name either
            continue
        # Parsing all of the metadata, descriptions too, would take most of the time.
        head = metadata.partition("\n\n")[0]
        told = dict(re.findall(r"^(Name|Version):[ \t]*(.+?)[ \t]*$", head, re.MULTILINE))
        if len(told) == 2:
            found.setdefault(re.sub(r"[-_.]+", "-", told["Name"]).lower(), told["Version"])
    return dict(sorted(found.items()))


def text_digest(value: object) -> str:
    """Of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def record_environment(run: RunDir, attempt: int, environment: Environment) -> None:
    """Keep what an attempt has; what was known of it before and is not now stays. Raises OSError."""
    known = dict(read_environments(run))
    new = environment.model_dump(exclude_defaults=True)
    known[attempt] = known.get(attempt, Environment()).model_copy(update=new)
    write_json(run.environment_file, _records.dump_python(dict(sorted(known.items())), mode="json"))


def read_environments(run: RunDir) -> Environments:
    """What each attempt had; nothing for a run of an earlier version. Raises RunDirError for a damaged
    file."""
    if not run.environment_file.exists():
        return {}
    try:
        return environments_from_json(read_regular(run.environment_file, MAX_FILE))
    except InputFileError as error:
        raise RunDirError(str(error)) from error
    except ValueError as error:
        raise RunDirError(f"{run.environment_file}: {error}") from error


def environments_from_json(content: bytes) -> Environments:
    """Raises ValueError, one line."""
    try:
        return _records.validate_json(content)
    except ValidationError as error:
        raise ValueError(f"is no record of environments: {error.errors()[0]['msg']}") from error


def environments_as_json(environments: Environments) -> bytes:
    return _records.dump_json(dict(environments), indent=1) + b"\n"


def _own_version() -> str:
    try:
        return version(PROGRAM)
    except PackageNotFoundError:  # a source tree that is not installed
        return ""


def _driver() -> str:
    """The version of NVIDIA's driver; "" where its kernel module is not loaded."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return ""
    match = re.search(r"\s(\d+(?:\.\d+)+)\s", text)
    return match[1] if match else ""
