"""`seg-engine components`: what a config can name, and where each comes from."""

from __future__ import annotations

from dataclasses import asdict

from engine.cli.console import output, print_json
from engine.config.run_config import registries
from engine.data.layouts.builtin import LAYOUTS
from engine.metrics.builtin import METRICS
from engine.report.tables import Column, text_table
from engine.tasks import TASKS


def list_components(as_json: bool) -> None:
    """One line a component; those that cannot be used say why."""
    kinds = (*registries().values(), LAYOUTS, METRICS, TASKS)
    found = [one for kind in kinds for one in kind.described()]
    if as_json:
        print_json([asdict(one) for one in found])
        return
    columns = [
        Column("kind", [one.kind for one in found]),
        Column("name", [(one.name, "bold") for one in found]),
        Column("from", [one.origin or "-" for one in found], rank=1),
        Column("what it is", [one.help or f"cannot be used: {one.problem}" for one in found], least=30),
    ]
    output.say(text_table(columns, output.table_width))
