"""Queue: the commands of the queue, and of runs that an agent looks after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from engine.cli import words
from engine.cli.arguments import Commands, Json, RunNames, group, workspace_of
from engine.config.priority import MOST_PRIORITY
from engine.host.occupancy import MOST_GIB

queue_app = group("List running and queued runs; reorder and pause them.")
commands = Commands("Queue")
commands.add_group(queue_app, "queue")


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
            metavar="N",
            min=-MOST_PRIORITY,
            max=MOST_PRIORITY,
            help="Higher priorities start first; the default is 0.",
        ),
    ],
    runs: RunNames,
) -> None:
    """Change the priority of queued runs."""
    from engine.cli.queue import set_priority

    set_priority(workspace_of(context), runs, priority)


@queue_app.command("pause")
def queue_pause(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs [default: all].", autocompletion=words.runs),
    ] = None,
) -> None:
    """Pause queued runs; they keep their place."""
    from engine.cli.queue import pause

    pause(workspace_of(context), runs or [], paused=True)


@queue_app.command("unpause")
def queue_unpause(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs [default: all].", autocompletion=words.runs),
    ] = None,
) -> None:
    """Unpause queued runs."""
    from engine.cli.queue import pause

    pause(workspace_of(context), runs or [], paused=False)


@queue_app.command("on-end")
def queue_on_end(
    context: typer.Context,
    command: Annotated[str, typer.Argument(metavar="CMD", help="A shell command.")],
) -> None:
    """Run a command once nothing is running or queued."""
    from engine.cli.notify import on_queue_end

    on_queue_end(workspace_of(context), command)


@commands.command()
def notify(
    context: typer.Context,
    test: Annotated[bool, typer.Option("--test", help="Send everybody a test notification now.")] = False,
    as_json: Json = False,
) -> None:
    """Show who is notified when runs end (seg.toml)."""
    from engine.cli.notify import show_notices

    raise typer.Exit(show_notices(workspace_of(context), test, as_json))


@commands.command()
def stop(context: typer.Context, runs: RunNames) -> None:
    """Stop runs after the current step, with a checkpoint."""
    from engine.cli.control import stop as command

    command(workspace_of(context), runs)


@commands.command()
def requeue(
    context: typer.Context,
    runs: RunNames,
    priority: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=-MOST_PRIORITY, max=MOST_PRIORITY, help="Higher priorities start first."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Requeue runs that stopped, failed or were lost."""
    from engine.cli.control import requeue as command

    command(workspace_of(context), runs, priority, as_json)


@dataclass(frozen=True)
class Heeds:
    """Keys of `AgentConfig`; None where the file of the workspace says it."""

    slots: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=1024, help="Concurrent runs per device [default: seg.toml, else 1]."
        ),
    ] = None
    free_memory: Annotated[
        float | None,
        typer.Option(
            metavar="GIB",
            min=0,
            max=MOST_GIB,
            help="Start a run only on a GPU with this much free memory [default: seg.toml].",
        ),
    ] = None
    wait_for_idle: Annotated[
        bool | None,
        typer.Option(
            "--wait-for-idle/--no-wait-for-idle",
            help="Start a run only on a GPU where nobody else is [default: seg.toml].",
        ),
    ] = None
    quiet_hours: Annotated[
        str | None,
        typer.Option(
            metavar="HOURS",
            help="Start no run in these hours of local time, such as 22:00-07:00 or 'Mon-Fri 09:00-18:00' "
            "[default: seg.toml].",
        ),
    ] = None


@commands.command()
def agent(
    context: typer.Context,
    idle_exit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, max=10_000_000, help="Exit after this long without work."),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=10_000_000,
            help="Grace period for a worker to stop before it is killed.",
        ),
    ] = 60.0,
    lease: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=5,
            max=10_000_000,
            help="A run on another host without a heartbeat for this long is lost.",
        ),
    ] = 120.0,
    *,
    heeds: Heeds,
) -> None:
    """Start and watch queued runs; Ctrl-C leaves them running."""
    from engine.agent.loop import AgentOptions
    from engine.cli.agent import agent as command

    given = {name: value for name, value in asdict(heeds).items() if value is not None}
    command(workspace_of(context), AgentOptions(idle_exit, grace, lease, given))
