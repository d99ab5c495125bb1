"""`seg-engine`: every command with its arguments. What a command needs is imported when it is called, so that
help is there at once and nothing here ever waits for torch. `engine.exits` has the exit statuses.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli import detecting, queueing, reporting, scoring
from engine.cli.arguments import After, Json, Priority, Queue, RunName, group, workspace_of
from engine.cli.queueing import check_place
from engine.cli.usage import PROGRAM, WrongUse, choice, plugins_first, refuse_empty, usage_line
from engine.exits import DONE, INTERRUPTED, complain, tell
from engine.visible import guard_streams, one_line

app = group(
    "Train segmentation networks and keep every epoch's scores in a database.",
    epilog="Begin with: seg-engine data synthesize demo-data && seg-engine run quick --data demo-data",
)
recipes_app = group("List the recipes; `recipes show NAME` prints one.")
data_app = group("Check, make and cache data sets.")
db_app = group("Look after the database.")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit()


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.callback()
def _root(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            readable=False,  # whose it is, and what may be read of it, is said when it is opened
            help="Folder of experiments.db, runs/ and cache/ [default: SEG_WORKSPACE, else this folder].",
        ),
    ] = None,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.py", help="A file of components of your own; may be given again."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = workspace
    if plugin:
        from engine.plugins import load_plugin

        for file in plugin:
            load_plugin(file)
    _help_without_command(context)


@app.command()
def run(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE_OR_FILE", help="A recipe's name or a TOML file.")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes, such as epochs=20.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data set.")] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What to call the run [default: the recipe].")
    ] = "",
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="The experiment it belongs to.", show_default=True)
    ] = "default",
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="A tag; may be given again.")] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="A note.")] = "",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Go on without faulty images and labels.")
    ] = False,
    queue: Queue = False,
    after: After = "",
    priority: Priority = 0,
    as_json: Json = False,
) -> None:
    """Train: check everything, start a worker, show its epochs. Ctrl-C saves and stops."""
    from engine.cli.run import run as command
    from engine.requests.queueing import Place

    check_place(queue, after, priority)
    place = Place(priority, after) if queue else None
    workspace = workspace_of(context)
    assignments = [*(changes or ()), *(["data.skip_bad=true"] if skip_bad else ())]
    raise typer.Exit(
        command(workspace, recipe, assignments, data, name, experiment, tag or [], note, as_json, place)
    )


@app.command()
def resume(context: typer.Context, run: RunName, as_json: Json = False) -> None:
    """Go on with a run that stopped, failed or was lost."""
    from engine.cli.run import resume as command

    raise typer.Exit(command(workspace_of(context), run, as_json))


@app.command()
def runs(
    context: typer.Context,
    filters: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILTER", help="Such as 'dice>0.6' model.width=64 tag:night name~camvid."),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="KEY", help="By a column or config key; -KEY: largest first.")
    ] = "-dice",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="How many at most; 0: all [default: 50 in a table]."),
    ] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Of this experiment only.")] = None,
    status: Annotated[str | None, typer.Option(metavar="WORD", help="Of this status only.")] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
) -> None:
    """List runs, the best Dice first."""
    from engine.cli.runs import list_runs

    if as_json and as_csv:
        raise WrongUse("--json and --csv: choose one")
    list_runs(workspace_of(context), filters or [], sort, limit, experiment, status, as_json, as_csv)


@app.command()
def show(context: typer.Context, run: RunName, as_json: Json = False) -> None:
    """Show one run: its end, curves, classes, config and files."""
    from engine.cli.show import show_run

    show_run(workspace_of(context), run, as_json)


@app.command()
def picture(
    context: typer.Context,
    run: RunName,
    epoch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of this epoch [default: the last kept].")
    ] = None,
    samples: Annotated[int, typer.Option(metavar="K", min=1, help="How many images at most.")] = 6,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to [default: outputs/picture.png of the run].")
    ] = None,
) -> None:
    """Draw image, target, prediction and error side by side."""
    from engine.cli.picture import draw_picture

    draw_picture(workspace_of(context), run, epoch, samples, out)


@app.command()
def config(
    prefix: Annotated[str, typer.Argument(metavar="[KEY]", help="Only this key or group of keys.")] = "",
    as_json: Json = False,
) -> None:
    """List the config keys: what they mean and what is allowed."""
    from engine.cli.recipes import show_config

    show_config(prefix, as_json)


@app.command()
def components(as_json: Json = False) -> None:
    """List networks, losses and augmentations with their origin."""
    from engine.cli.components import list_components

    list_components(as_json)


@recipes_app.callback()
def recipes(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        from engine.cli.recipes import list_recipes

        list_recipes(as_json)


@recipes_app.command("show")
def recipes_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The recipe.")], as_json: Json = False
) -> None:
    """Print a recipe as TOML, which `seg-engine run FILE.toml` takes."""
    from engine.cli.recipes import show_recipe

    show_recipe(name, as_json)


@data_app.callback()
def _data(context: typer.Context) -> None:
    _help_without_command(context)


@data_app.command("check")
def data_check(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")],
    kind: Annotated[str, typer.Option(metavar="WORD", help="auto, cityscapes or folder.")] = "auto",
    classes: Annotated[
        str, typer.Option(metavar="FILE", help="auto, cityscapes or a classes.toml.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Open every image and label, say what is in them and what is wrong with them."""
    from engine.cli.data import check

    raise typer.Exit(check(root, kind, classes, as_json))


@data_app.command("synthesize")
def data_synthesize(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    images: Annotated[int, typer.Option(metavar="N", help="How many.")] = 200,
    size: Annotated[str, typer.Option(metavar="HEIGHTxWIDTH", help="In pixels.")] = "256x512",
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed draws the same scenes.")] = 0,
    val_fraction: Annotated[float, typer.Option(metavar="SHARE", help="Share that validates.")] = 0.2,
) -> None:
    """Draw street scenes with labels, laid out as Cityscapes is."""
    from engine.cli.data import make_scenes

    make_scenes(folder, images, size, seed, val_fraction)


@data_app.command("cache")
def data_cache(
    context: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY", help="Caches to remove.")] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove caches instead of listing them.")] = False,
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, max=1_000_000, help="With --prune: those unused for so long."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With --prune: all of them.")] = False,
    as_json: Json = False,
) -> None:
    """List the image caches of the workspace, or remove some."""
    from engine.cli.data import list_or_prune

    chosen = bool(keys) or older_than is not None or everything
    if chosen and not prune:
        raise WrongUse("KEY, --older-than and --all say what to remove; add --prune")
    if prune and not chosen:
        raise WrongUse("--prune: which? name keys, or add --older-than DAYS or --all")
    list_or_prune(workspace_of(context), prune, keys or [], older_than, everything, as_json)


@db_app.callback()
def _db(context: typer.Context) -> None:
    _help_without_command(context)


@db_app.command("path")
def db_path(context: typer.Context) -> None:
    """Print where the database is, a server without its password."""
    workspace = workspace_of(context)
    if workspace.on_server:
        with workspace.open_store(look=True) as store:
            print(store.label)
    else:
        print(workspace.database)


@db_app.command("upgrade")
def db_upgrade(context: typer.Context) -> None:
    """Bring the database to this version, as every command that opens a file does."""
    from engine.cli.database import upgrade

    upgrade(workspace_of(context))


@db_app.command("rebuild")
def db_rebuild(context: typer.Context, as_json: Json = False) -> None:
    """Make the database again from the run folders; the old one is kept beside it."""
    from engine.cli.database import rebuild_database

    raise typer.Exit(rebuild_database(workspace_of(context), as_json))


@db_app.command("check")
def db_check(
    context: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Ingest or rebuild what can be.")] = False,
    as_json: Json = False,
) -> None:
    """Compare the database with the run folders; exit status 1 when something differs."""
    from engine.cli.database import check_database

    raise typer.Exit(check_database(workspace_of(context), fix, as_json))


@db_app.command("copy")
def db_copy(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="WHERE", help="server (SEG_DATABASE_URL) or file.")],
) -> None:
    """Copy the workspace's runs from experiments.db to the server, or back; all rows or none."""
    from engine.cli.database import copy_database

    copy_database(workspace_of(context), choice("--to", to, ("server", "file")))


@db_app.command("import")
def db_import(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Run folders.")],
) -> None:
    """Take run folders from elsewhere into the workspace; twice changes nothing."""
    from engine.cli.database import import_runs

    raise typer.Exit(import_runs(workspace_of(context), folders))


@app.command()
def bench(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE_OR_FILE", help="A recipe's name or a TOML file.")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes, such as data.size=256x512.")
    ] = None,
    largest: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65536, help="Largest batch tried; 0: twice the config's."),
    ] = 0,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.1, max=100_000, help="Time for each batch size.")
    ] = 3.0,
    as_json: Json = False,
) -> None:
    """Measure how fast a recipe trains here, and which batch fits."""
    from engine.cli.bench import bench as command

    command(recipe, changes or [], largest, seconds, as_json)


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look whether this machine is fit, and say what would help."""
    from engine.cli.doctor import examine

    raise typer.Exit(examine(workspace_of(context), as_json))


app.add_typer(recipes_app, name="recipes")
app.add_typer(data_app, name="data")
app.add_typer(db_app, name="db")
scoring.add_to(app)
detecting.add_to(app)
reporting.add_to(app)
queueing.add_to(app)


def main() -> None:
    """The console script."""
    # Imports make many objects and no garbage; looking for it at every 700th costs a seventh of the start.
    gc.set_threshold(100_000)
    guard_streams()
    warnings.showwarning = partial(_note, warnings.showwarning)
    status = command_line(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # All is closed and written. Taking the interpreter apart, object by object, would cost a sixth of the
    # time that listing the runs takes.
    os._exit(status)


def _note(usual: Callable[..., None], message: object, category: type[Warning], *place: Any) -> None:
    """Print a warning of the engine's own as a line: where in the program it was given helps nobody."""
    if category.__module__.startswith("engine."):
        print(f"note: {message}", file=sys.stderr)
    else:
        usual(message, category, *place)


def command_line(arguments: Sequence[str]) -> int:
    """Do one command; returns its exit status. Here, and only here, errors are told on stderr."""
    try:
        refuse_empty(arguments)
        arguments = plugins_first(arguments)
        command = typer.main.get_command(app)
        with command.make_context(PROGRAM, list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        return complain(one_line(usage_line(error)))
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain again when it closes the streams.
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    except (Exception, KeyboardInterrupt) as error:
        return tell(error)
    return DONE
