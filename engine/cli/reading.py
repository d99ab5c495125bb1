"""Opening a workspace to look at it, with notices on stderr."""

from __future__ import annotations

from engine.cli.console import notices
from engine.requests import opening
from engine.requests.opening import first_run, has_database, no_database
from engine.store import END_STATUSES, Store
from engine.workspace import Workspace

__all__ = ["UNFINISHED", "first_run", "has_database", "no_database", "open_existing", "open_for_new"]

UNFINISHED = tuple(f"status!={status}" for status in END_STATUSES)
"""Filters that leave the runs that have not ended."""


def open_existing(workspace: Workspace, change: bool = False) -> Store:
    """The store of a workspace that has one, updated as far as this user may.

    Raises StoreError, with `change` also where the user may look and not write.
    """
    return opening.open_existing(workspace, notices.say, change)


def open_for_new(workspace: Workspace, names_a_run: bool) -> Store:
    """The store of a workspace that is to get a run, made where there is none. Where the new run names
    another there must be one, as that is looked up there, and to look makes none. Raises StoreError."""
    return open_existing(workspace, change=True) if names_a_run else workspace.open_store()
