"""What a word of a command may be, for the shell to complete: recipes, keys and values, runs, experiments.

Each function gives candidates; Typer keeps those that begin as typed. They only look, and never into the
database: what runs are called stands in their folders, which can be read while the database is locked, on a
server or of another version, without making a file beside it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

MOST_SECONDS = 0.15
"""For reading what runs are called; ids come of the names of their folders alone."""

RUN_KEYS = ("init.weights", "init.from", "distill.from")
"""Config keys whose value may be a run."""


def among(*words: str) -> Callable[[], tuple[str, ...]]:
    """Candidates that are always the same."""
    return lambda: words


def recipes() -> list[str]:
    from engine.config.recipes import RECIPES

    return list(RECIPES)


def model_names() -> list[str]:
    """Architectures and encoders."""
    from engine.models.builtin import MODELS
    from engine.models.smp.encoders import encoder_names

    return [*MODELS.sections(), *encoder_names()]


def config_groups(incomplete: str) -> list[str]:
    """Keys, and the groups that they are in."""
    from engine.config.described import config_keys

    keys = list(config_keys())
    groups = {key.rpartition(".")[0] for key in keys} - {""}
    return [*sorted(groups), *keys]


def changes(ctx: typer.Context, incomplete: str) -> list[str]:
    """`KEY=` of every key, or `KEY=VALUE` once the key is there; of several values the last."""
    from engine.config.described import config_keys

    key, equals, typed = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in config_keys()]
    before = f"{key}={typed[: typed.rfind(',') + 1]}"
    about = config_keys().get(key)
    if key in RUN_KEYS:
        found: Iterable[str] = runs(ctx)
    elif about is None:
        found = ()
    elif about.kind == "true/false":
        found = ("true", "false")
    else:
        found = (*map(str, about.choices), *about.suggestions)
    return [before + value for value in found]


def filters(ctx: typer.Context, incomplete: str) -> list[str]:
    """Filters of runs: their tags, and the values of config keys."""
    if incomplete.startswith("tag:"):
        return [f"tag:{tag}" for tag in tags(ctx)]
    return ["tag:", "name~", *changes(ctx, incomplete)]


def sort_keys(incomplete: str) -> list[str]:
    """Columns and config keys, either way round."""
    from engine.config.described import config_keys

    turned = "-" if incomplete.startswith("-") else ""
    return [turned + name for name in ("dice", "miou", "created", "name", "epoch", "status", *config_keys())]


def views(ctx: typer.Context) -> list[str]:
    """The saved views of the person and of the workspace."""
    from engine.requests.views import named_views
    from engine.workspace import find_workspace

    return [*named_views(find_workspace(ctx.obj))]


def checkpoints() -> list[str]:
    return ["best", "last"]


def runs(ctx: typer.Context) -> list[str]:
    """Ids and names of the runs of the workspace."""
    folders = _folders(ctx)
    return [*(folder.name for folder in folders), *_each(_cards(folders), "name")]


def recipes_and_runs(ctx: typer.Context) -> list[str]:
    return [*recipes(), *runs(ctx)]


def experiments(ctx: typer.Context) -> list[str]:
    return _each(_cards(_folders(ctx)), "experiment")


def tags(ctx: typer.Context) -> list[str]:
    found = (tag for card in _cards(_folders(ctx)) for tag in card.get("tags") or ())
    return sorted({tag for tag in found if isinstance(tag, str)})


def _folders(ctx: typer.Context) -> list[Path]:
    """The folders of runs, the newest first."""
    from engine.workspace import find_workspace

    place = find_workspace(ctx.obj).runs
    folders = (
        [folder for folder in place.iterdir() if not folder.name.startswith(".")] if place.is_dir() else []
    )
    return sorted(folders, key=_changed_at, reverse=True)


def _changed_at(folder: Path) -> float:
    """0 for a folder that has gone since it was listed, and for a link that leads nowhere now."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _cards(folders: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """What runs are called; those that time allows."""
    from engine.host.input_files import open_regular
    from engine.run.directory import RunDir

    begun = time.monotonic()
    for folder in folders:
        if time.monotonic() - begun > MOST_SECONDS:
            return
        try:
            with open_regular(RunDir(folder).card_file) as stream:
                card = json.loads(stream.read(100_000))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(card, dict):
            yield card


def _each(cards: Iterable[dict[str, Any]], what: str) -> list[str]:
    return list(dict.fromkeys(card[what] for card in cards if isinstance(card.get(what), str)))
