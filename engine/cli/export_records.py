"""`seg-engine export RUN... --format csv`, tensorboard and so on: what is recorded of runs, for other
programs."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.console import notices, output, print_json
from engine.cli.reading import open_existing
from engine.config.keys import ConfigError
from engine.host.access import refuse_unwritable
from engine.report.outside import tables, trackers
from engine.report.outside.recorded import Recorded
from engine.report.triptych import gallery_picture
from engine.requests.refusals import Refused
from engine.run.files import FULL, absolute
from engine.store import RunRow, Store
from engine.tasks import TASKS
from engine.typed import typed
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.exporting import Export

PICTURES = 4
"""Images of a gallery that are drawn for a program that shows pictures."""


@dataclass(frozen=True)
class Format:
    """`write` makes files below a new folder and returns what a person may open. One of `packages` is
    needed, from `extra`."""

    write: Callable[[Path, Sequence[Recorded]], list[Path]]
    packages: tuple[str, ...] = ()
    extra: str = ""
    next: str = ""
    """The command that reads it, with {} for the folder."""


FORMATS: Mapping[str, Format] = {
    "csv": Format(tables.write_csv),
    "json": Format(tables.write_json),
    "parquet": Format(tables.write_parquet, ("polars", "pyarrow"), "frames"),
    "tensorboard": Format(
        trackers.write_tensorboard, ("tensorboard",), "tensorboard", "tensorboard --logdir {}"
    ),
    "mlflow": Format(
        trackers.write_mlflow,
        ("mlflow",),
        "mlflow",
        f"{trackers.ALLOW_FILES}=true mlflow ui --backend-store-uri {{}}",
    ),
    "wandb-offline": Format(trackers.write_wandb, ("wandb",), "wandb", "wandb sync {}/wandb/offline-run-*"),
}


def export_records(workspace: Workspace, wanted: Export) -> None:
    """Write the files and print where they are. Raises StoreError, Refused and ConfigError before anything
    is made."""
    form = FORMATS[wanted.format]
    if form.packages and not any(importlib.util.find_spec(name) for name in form.packages):
        needed = " or ".join(form.packages)
        raise ConfigError(
            [f"--format {wanted.format}: needs {needed}: pip install 'seg-engine[{form.extra}]'"]
        )
    folder = absolute(wanted.out) if wanted.out else workspace.root / "exports" / wanted.format
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused([f"--out {folder}: already exists; name a new or an empty folder"])
    with open_existing(workspace) as store:
        ids = dict.fromkeys(store.resolve(name) for name in wanted.runs)
        runs = [_recorded(workspace, store, store.run(run_id)) for run_id in ids]
    for row in (run.row for run in runs if run.row.source):
        if not TASKS[row.task].evaluates:
            told = (
                f"what the task {row.task} finds is in no table; `{typed('show', row.id, '--json')}` has it"
            )
            notices.note(f"{row.id}: {told}")
        elif row.source not in ids:
            notices.note(
                f"{row.id}: its scores are in the tables of {row.source}, whose network it scored, not here"
            )
    refuse_unwritable(folder.parent, "use --out DIR to write elsewhere")
    with _made_whole(folder):
        made = form.write(folder, runs)
    if wanted.as_json:
        print_json({"format": wanted.format, "files": [str(path) for path in made]}, indent=2)
        return
    for path in made:
        output.say(str(path))
    if form.next:
        notices.say("next: " + form.next.format(folder))


@contextlib.contextmanager
def _made_whole(folder: Path) -> Iterator[None]:
    """An empty folder, as it was before where it cannot be filled. A full disk is told with the folder: the
    libraries of other programs do not say what they were writing."""
    was_there = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException as error:
        _empty(folder)
        if not was_there:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None and error.errno in FULL:
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise


def _empty(folder: Path) -> None:
    """Remove what can be removed of a folder, which keeps its owner, its mode and whoever stands in it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def _recorded(workspace: Workspace, store: Store, row: RunRow) -> Recorded:
    gallery = workspace.run_dir(row.id).gallery
    own = [] if row.source else store.results.evaluations(row.id)
    return Recorded(
        row,
        store.results.epochs(row.id),
        [*own, *store.results.evaluations_of(row.id)],
        partial(gallery_picture, gallery, row.classes, row.colors, None, PICTURES, row.name),
    )
