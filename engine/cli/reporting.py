"""The commands that put runs side by side and on paper."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli.arguments import RunNames, workspace_of

commands = typer.Typer()


@commands.command()
def compare(
    context: typer.Context,
    runs: RunNames,
    baseline: Annotated[
        str, typer.Option(metavar="RUN", help="Differences are to this one [default: the first].")
    ] = "",
    fold_seeds: Annotated[
        bool, typer.Option("--fold-seeds", help="Runs equal but for the seed become mean ± deviation.")
    ] = False,
    form: Annotated[
        str, typer.Option("--format", metavar="WORD", help="table, csv, md, latex or json.")
    ] = "table",
    published: Annotated[
        bool, typer.Option("--published", help="Add the study's numbers, marked as published.")
    ] = False,
) -> None:
    """Put runs side by side: numbers, classes and the keys that differ."""
    from engine.cli.compare import compare_runs

    compare_runs(workspace_of(context), runs, baseline, fold_seeds, form, published)


def add_to(app: typer.Typer) -> None:
    app.registered_commands += commands.registered_commands
