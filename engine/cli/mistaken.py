"""Where somebody names a run and a command takes a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.cli.reading import has_database, open_existing
from engine.config.keys import ConfigError
from engine.config.recipes import UnknownRecipe
from engine.store import NoSuchRun, Store, StoreError
from engine.workspace import Workspace


@contextmanager
def recipe_expected(workspace: Workspace, target: str, of_run: str) -> Iterator[None]:
    """Instead of UnknownRecipe, raise a ConfigError that says what does the like `of_run` if `target` is
    one."""
    try:
        yield
    except UnknownRecipe:
        if _is_run(workspace, target):
            raise ConfigError([f"{target}: is a run, not a recipe; {of_run}"]) from None
        raise


def _is_run(workspace: Workspace, target: str) -> bool:
    if not workspace.root.is_dir() or not has_database(workspace):
        return False
    try:
        with open_existing(workspace) as store:
            return _names_a_run(store, target)
    except StoreError:  # of a database that cannot be read, nobody knows
        return False


def _names_a_run(store: Store, target: str) -> bool:
    try:
        store.resolve(target)
    except NoSuchRun:
        return False
    except StoreError:
        return True  # the name of several
    return True
