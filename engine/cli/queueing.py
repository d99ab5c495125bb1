"""The commands of the queue and of runs that are looked after by an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.arguments import (
    After,
    Commands,
    Json,
    Priority,
    Queue,
    RunName,
    RunNames,
    Yes,
    group,
    workspace_of,
)
from engine.cli.usage import WrongUse
from engine.config.task_names import MOST_PRIORITY

queue_app = group("List what runs and what waits; reorder and pause it.")
commands = Commands()

Changes = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes, such as epochs=20.")]


@queue_app.callback()
def queue(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        from engine.cli.queue import list_queue

        list_queue(workspace_of(context), as_json)


@queue_app.command("priority")
def queue_priority(
    context: typer.Context,
    priority: Annotated[
        int,
        typer.Argument(
            metavar="N", min=-MOST_PRIORITY, max=MOST_PRIORITY, help="Higher ones start first; 0 is usual."
        ),
    ],
    runs: RunNames,
) -> None:
    """Give queued runs another place."""
    from engine.cli.queue import set_priority

    set_priority(workspace_of(context), runs, priority)


@queue_app.command("pause")
def queue_pause(
    context: typer.Context,
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Which; else all.")] = None,
) -> None:
    """Hold back runs that are queued now; they keep their place."""
    from engine.cli.queue import pause

    pause(workspace_of(context), runs or [], paused=True)


@queue_app.command("unpause")
def queue_unpause(
    context: typer.Context,
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Which; else all.")] = None,
) -> None:
    """Let paused runs start again."""
    from engine.cli.queue import pause

    pause(workspace_of(context), runs or [], paused=False)


@commands.command()
def watch(context: typer.Context, run: RunName, as_json: Json = False) -> None:
    """Follow a run live; Ctrl-C leaves it running."""
    from engine.cli.watch import watch as command

    raise typer.Exit(command(workspace_of(context), run, as_json))


@commands.command()
def logs(
    context: typer.Context,
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="The last N; 0: all.")] = 0,
) -> None:
    """Print what a run's worker printed."""
    from engine.cli.watch import logs as command

    raise typer.Exit(command(workspace_of(context), run, follow, lines))


@commands.command()
def stop(context: typer.Context, runs: RunNames) -> None:
    """Stop runs after their step, with a checkpoint."""
    from engine.cli.control import stop as command

    command(workspace_of(context), runs)


@commands.command()
def requeue(
    context: typer.Context,
    runs: RunNames,
    priority: Annotated[
        int | None,
        typer.Option(metavar="N", min=-MOST_PRIORITY, max=MOST_PRIORITY, help="Higher ones start first."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Queue runs again that stopped, failed or were lost."""
    from engine.cli.control import requeue as command

    command(workspace_of(context), runs, priority, as_json)


@commands.command()
def rerun(
    context: typer.Context,
    run: RunName,
    changes: Changes = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Default: that of the other run.")] = "",
    experiment: Annotated[str, typer.Option(metavar="NAME", help="Default: that of the other run.")] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="In place of the other run's tags; may be given again, '': none."),
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="A note.")] = "",
    queue: Queue = False,
    after: After = "",
    priority: Priority = 0,
    as_json: Json = False,
) -> None:
    """Make a new run of another one's config."""
    from engine.cli.control import rerun as command
    from engine.requests.queueing import Place

    check_place(queue, after, priority)
    place = Place(priority, after) if queue else None
    raise typer.Exit(
        command(workspace_of(context), run, changes or [], name, experiment, tag, note, place, as_json)
    )


@commands.command()
def sweep(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE_OR_FILE", help="A recipe's name or a TOML file.")],
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUES",
            help="Such as optimizer.lr=0.1,0.01 seed=0..4 'data.hold_out=\"rider,train\",bus'; quotes hold a "
            "value together that has a comma.",
        ),
    ],
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data set.")] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the names begin with.")] = "",
    experiment: Annotated[str, typer.Option(metavar="NAME", help="The experiment they belong to.")] = "sweep",
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="A tag; may be given again.")] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="A note.")] = "",
    after: Annotated[str, typer.Option(metavar="RUN", help="Start when that run has finished.")] = "",
    priority: Annotated[
        int,
        typer.Option(metavar="N", min=-MOST_PRIORITY, max=MOST_PRIORITY, help="Higher ones start first."),
    ] = 0,
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="A random N of them; always the same.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Queue every combination of some values."""
    from engine.cli.sweep import sweep as command
    from engine.requests.queueing import Place

    place = Place(priority, after)
    workspace = workspace_of(context)
    command(workspace, recipe, changes, data, name, experiment, tag or [], note, place, sample, yes, as_json)


@commands.command()
def tag(
    context: typer.Context,
    run: RunName,
    words: Annotated[list[str] | None, typer.Argument(metavar="WORD", help="Tags to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="WORD", help="A tag to take away.")] = None,
) -> None:
    """Add tags to a run, or take them away."""
    from engine.cli.control import tag as command

    command(workspace_of(context), run, words or [], remove or [])


@commands.command()
def note(
    context: typer.Context,
    run: RunName,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help='The note; "" removes it.')] = None,
) -> None:
    """Put a note on a run, or print the one it has."""
    from engine.cli.control import note as command

    command(workspace_of(context), run, text)


@commands.command()
def delete(context: typer.Context, runs: RunNames, yes: Yes = False) -> None:
    """Delete runs, their files and rows; never one that lives."""
    from engine.cli.control import delete as command

    command(workspace_of(context), runs, yes)


@commands.command()
def agent(
    context: typer.Context,
    slots: Annotated[
        int, typer.Option(metavar="N", min=1, max=1024, help="Runs at once on each device.")
    ] = 1,
    idle_exit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, max=10_000_000, help="Leave when idle for so long."),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, max=10_000_000, help="For a worker to stop before it is killed."
        ),
    ] = 60.0,
    lease: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=5, max=10_000_000, help="Rest of a heartbeat elsewhere: lost."),
    ] = 120.0,
) -> None:
    """Start queued runs and watch them; Ctrl-C leaves them running."""
    from engine.agent.loop import AgentOptions
    from engine.cli.agent import agent as command

    command(workspace_of(context), AgentOptions(slots, idle_exit, grace, lease))


def check_place(queue: bool, after: str, priority: int) -> None:
    """Raises WrongUse for a place in the queue of a run that does not go there."""
    if not queue and (after or priority):
        raise WrongUse("--after and --priority order the queue; add --queue")


def add_to(app: typer.Typer) -> None:
    app.add_typer(queue_app, name="queue")
    app.registered_commands += commands.registered_commands
