"""Opening a workspace to look at it: nothing is made, and what runs have written meanwhile is folded in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.host.access import explain
from engine.store import NoSuchRun, StoreError
from engine.typed import typed
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.store import Store


def first_run() -> str:
    """What to do where there are no runs."""
    return f"start one with `{typed('run', 'quick', '--data', 'FOLDER')}`, or give --workspace"


def has_database(workspace: Workspace) -> bool:
    """Whether there is one to read; opening it would make it. StoreError: no such folder."""
    if not workspace.root.is_dir():
        raise StoreError(f"{workspace.root}: no such folder; a workspace holds the runs and their database")
    return workspace.on_server or workspace.database.exists()


def open_existing(workspace: Workspace, say: Callable[[str], None], change: bool = False) -> Store:
    """The store of a workspace that has one, updated as far as this user may; `say` gets a line for each run
    that is shown as it was earlier.

    Raises StoreError, with `change` also where the user may look and not write.
    """
    if not has_database(workspace):
        raise StoreError(no_database(workspace))
    store = workspace.open_store(look=True)
    try:
        if change and store.read_only:
            raise StoreError(f"{store.label}: cannot be changed: {store.read_only}")
        catch_up(store, workspace, say)
    except BaseException:
        store.close()
        raise
    return store


def catch_up(store: Store, workspace: Workspace, say: Callable[[str], None]) -> None:
    """Fold in what runs have written that nobody watches: their terminal may be gone, they are not."""
    active = store.queue.active()
    if not active:
        return
    from engine.agent.ingest import refresh  # the events of a journal take longer to import than a look
    from engine.run.journal import JournalError

    for row in active:
        run = workspace.run_dir(row.id)
        try:
            if not store.read_only:
                refresh(store, [run])
            elif run.journal.is_file() and run.journal.stat().st_size > row.journal_offset:
                say(f"{row.id} is shown from the database; its journal has newer entries")
        except NoSuchRun:
            continue  # deleted meanwhile
        except JournalError as error:
            say(f"{row.id} is shown from an earlier state: {error}")
        except OSError as error:
            say(f"{row.id} is shown from an earlier state: {explain(error)}")


def no_database(workspace: Workspace) -> str:
    """What to say where there is no database."""
    folders = workspace.runs.iterdir() if workspace.runs.is_dir() else ()
    count = sum(1 for folder in folders if (folder / "config.json").is_file())
    if count:
        return f"{workspace.root}: has {count} run folders but no database; run `{typed('db', 'rebuild')}`"
    return f"{workspace.root}: no runs here yet; {first_run()}"
