"""`seg-engine views`: the saved views of the table of runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.cli.console import notices, output, print_json
from engine.report.tables import Column, text_table
from engine.requests.views import View, ViewError, folders, named_views, read_view
from engine.workspace import Workspace


def list_views(workspace: Workspace, as_json: bool) -> None:
    """Print the views that there are; one that cannot be read with what is wrong with it."""
    views: dict[str, tuple[Path, View | str]] = {}
    for name, path in named_views(workspace).items():
        try:
            views[name] = path, read_view(path)
        except ViewError as error:
            views[name] = path, str(error)
    if as_json:
        print_json([_record(name, path, view) for name, (path, view) in views.items()])
    elif views:
        told = [view if isinstance(view, str) else view.told() for _, view in views.values()]
        columns = [
            Column("view", [*views]),
            Column("shows", told, least=20),
            Column("file", [str(path) for path, _ in views.values()], rank=1),
        ]
        output.say(text_table(columns, output.table_width))
    else:
        own, shared = folders(workspace)
        notices.say(f"no views yet; f3 in the dashboard saves one, as a file in {own or shared}")


def _record(name: str, path: Path, view: View | str) -> dict[str, Any]:
    told = {"error": view} if isinstance(view, str) else asdict(view)
    return {"name": name, "file": str(path), **told}
