"""Data and Admin: the commands that look after data sets, the database and this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli import words
from engine.cli.arguments import (
    Commands,
    Json,
    RunName,
    RunNames,
    Yes,
    group,
    help_without_command,
    one_of,
    workspace_of,
)
from engine.cli.usage import WrongUse, choice

data = Commands("Data")
data_app = group("Check, create and cache data sets.")
data_app.callback()(help_without_command)
data.add_group(data_app, "data")

admin = Commands("Admin")


@admin.command("init")
def init(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The project's folder [default: the workspace].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a project folder: seg.toml, a plugin, a Slurm job."""
    from engine.cli.init import init as command

    command(folder or workspace_of(context).root, as_json)


db_app = group("Maintain the database.")
db_app.callback()(help_without_command)
admin.add_group(db_app, "db")


@data_app.command("check")
def data_check(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")],
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto, or a layout that `seg-engine components` lists.",
            autocompletion=lambda: _layouts(),
        ),
    ] = "auto",
    classes: Annotated[
        str, typer.Option(metavar="FILE", help="auto, cityscapes or a classes.toml.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Open every image and label; report statistics and faults."""
    from engine.cli.data import check

    raise typer.Exit(check(root, layout, classes, as_json))


def _layouts() -> list[str]:
    from engine.data.layouts.builtin import LAYOUTS

    return ["auto", *(name for name, layout in LAYOUTS.all().items() if layout.labelled)]


@data_app.command("get")
def data_get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="camvid, camvid_segnet or cityscapes.", autocompletion=lambda: _published()
        ),
    ],
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put it.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept its licence without being asked.")
    ] = False,
    mirror: Annotated[
        str, typer.Option(metavar="URL", help="A folder on the web with the same archives.")
    ] = "",
) -> None:
    """Download a published data set, unpack and check it; run again to resume."""
    from engine.cli.data_get import get

    raise typer.Exit(get(choice("NAME", name, _published()), root, accept_licence, mirror))


def _published() -> list[str]:
    from engine.data.published.sources import SOURCES

    return list(SOURCES)


@data_app.command("synthesize")
def data_synthesize(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    images: Annotated[int, typer.Option(metavar="N", help="How many.")] = 200,
    size: Annotated[str, typer.Option(metavar="HEIGHTxWIDTH", help="In pixels.")] = "256x512",
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same scenes.")] = 0,
    val_fraction: Annotated[float, typer.Option(metavar="SHARE", help="Fraction for validation.")] = 0.2,
    style: Annotated[
        str,
        one_of(
            *("day", "night", "rain", "fog", "snow", "other-city"),
            help="The world: day, night, rain, fog, snow or other-city.",
        ),
    ] = "day",
) -> None:
    """Draw labelled street scenes in the Cityscapes layout."""
    from engine.cli.data import make_scenes

    make_scenes(folder, images, size, seed, val_fraction, style)


@data_app.command("cache")
def data_cache(
    context: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY", help="Caches to remove.")] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove caches instead of listing them.")] = False,
    older_than: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", min=0, max=1_000_000, help="With --prune: caches unused for this many days."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With --prune: all caches.")] = False,
    as_json: Json = False,
) -> None:
    """List the image caches of the workspace, or remove some."""
    from engine.cli.data import list_or_prune

    chosen = bool(keys) or older_than is not None or everything
    if chosen and not prune:
        raise WrongUse("KEY, --older-than and --all select what to remove; add --prune")
    if prune and not chosen:
        raise WrongUse("--prune: give cache keys, --older-than DAYS or --all")
    list_or_prune(workspace_of(context), prune, keys or [], older_than, everything, as_json)


@db_app.command("path")
def db_path(context: typer.Context) -> None:
    """Print where the database is; a server's password is left out."""
    workspace = workspace_of(context)
    if workspace.on_server:
        with workspace.open_store(look=True) as store:
            print(store.label)
    else:
        print(workspace.database)


@db_app.command("upgrade")
def db_upgrade(context: typer.Context) -> None:
    """Migrate the database to this version, as commands do with a file."""
    from engine.cli.database import upgrade

    upgrade(workspace_of(context))


@db_app.command("rebuild")
def db_rebuild(context: typer.Context, as_json: Json = False) -> None:
    """Rebuild the database from the run folders; keep a backup of the old one."""
    from engine.cli.database import rebuild_database

    raise typer.Exit(rebuild_database(workspace_of(context), as_json))


@db_app.command("check")
def db_check(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed.")] = False,
    as_json: Json = False,
) -> None:
    """Compare the database with the run folders; exit status 1 when something differs."""
    from engine.cli.database import check_database

    raise typer.Exit(check_database(workspace_of(context), fix, as_json))


@db_app.command("copy")
def db_copy(
    context: typer.Context,
    to: Annotated[str, one_of("server", "file", metavar="WHERE", help="server (SEG_DATABASE_URL) or file.")],
) -> None:
    """Copy the workspace's runs from experiments.db to the server, or back; all rows or none."""
    from engine.cli.database import copy_database

    copy_database(workspace_of(context), to)


@db_app.command("import")
def db_import(
    context: typer.Context,
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Run folders; with --from, folders of its records.")
    ],
    program: Annotated[
        str,
        one_of(
            *("tensorboard", "csv", "mlflow"),
            name="--from",
            help="Make runs of another program's records: tensorboard, csv or mlflow.",
        ),
    ] = "",
    dice: Annotated[
        str, typer.Option(metavar="NAME", help="With --from: the metric to read as dice/val.")
    ] = "",
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="WHAT=NAME",
            help="With --from: another metric, such as loss/train=train_loss; repeatable.",
        ),
    ] = None,
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="With --from: the experiment of the runs.")
    ] = "",
) -> None:
    """Import run folders from elsewhere; importing again changes nothing."""
    if program:
        from engine.cli.import_records import import_from

        chosen = [f"dice/val={dice}"] if dice else []
        status = import_from(workspace_of(context), program, folders, [*(metrics or []), *chosen], experiment)
        raise typer.Exit(status)
    if dice or metrics or experiment:
        raise WrongUse("--dice, --metric and --experiment are for records of other programs; add --from")
    from engine.cli.database import import_runs

    raise typer.Exit(import_runs(workspace_of(context), folders))


@admin.command()
def clean(
    context: typer.Context,
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KIND",
            help="caches, last, galleries or logs; none: show what takes disk space.",
            autocompletion=words.among("caches", "last", "galleries", "logs"),
        ),
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="RUN", help="Only of this run; repeatable.", autocompletion=words.runs),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Free it; there is no way back.")] = False,
    as_json: Json = False,
) -> None:
    """Show what takes disk space, and free what you name."""
    from engine.cli.clean import clean as command

    command(workspace_of(context), kinds or [], runs or [], yes, as_json)


@admin.command()
def delete(context: typer.Context, runs: RunNames, yes: Yes = False) -> None:
    """Delete runs, files and rows; never a running one."""
    from engine.cli.control import delete as command

    command(workspace_of(context), runs, yes)


@admin.command()
def rename(
    context: typer.Context,
    run: RunName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
) -> None:
    """Rename a run; its id stays."""
    from engine.cli.control import rename as command

    command(workspace_of(context), run, name)


@admin.command()
def move(
    context: typer.Context,
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT", help="Its name; made if it is new.", autocompletion=words.experiments
        ),
    ],
    runs: RunNames,
) -> None:
    """Move runs to another experiment."""
    from engine.cli.control import move as command

    command(workspace_of(context), experiment, runs)


@admin.command()
def archive(context: typer.Context, runs: RunNames) -> None:
    """Hide ended runs in lists; nothing is deleted."""
    from engine.cli.control import archive as command

    command(workspace_of(context), runs, archived=True)


@admin.command()
def unarchive(context: typer.Context, runs: RunNames) -> None:
    """Show archived runs in lists again."""
    from engine.cli.control import archive as command

    command(workspace_of(context), runs, archived=False)


@admin.command()
def protect(context: typer.Context, runs: RunNames) -> None:
    """Protect runs from deletion."""
    from engine.cli.control import protect as command

    command(workspace_of(context), runs, protected=True)


@admin.command()
def unprotect(context: typer.Context, runs: RunNames) -> None:
    """Let protected runs be deleted again."""
    from engine.cli.control import protect as command

    command(workspace_of(context), runs, protected=False)


@admin.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check this machine and say how to fix problems."""
    from engine.cli.doctor import examine

    raise typer.Exit(examine(workspace_of(context), as_json))
