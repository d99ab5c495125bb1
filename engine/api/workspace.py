"""`engine.Workspace`: the runs of a folder, to be read as tables and to be added to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.api.html import runs_html
from engine.api.run import Run
from engine.api.tables import Tables, notice
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.store import Store


class Workspace(Tables):
    """The runs of a folder, as `seg-engine` and `seg-tui` have them.

    `root` is the folder, SEG_WORKSPACE or the current folder where it is not given. `frames` says what tables
    are: "pandas", "polars", "rows" for lists of frozen rows, or "auto" for the first of them that is
    installed. Every call reads the database anew, so nothing is ever out of date. What a person can mend
    raises an `engine.errors.EngineError`, whose message is what the command line would print; what is worth
    knowing, and no error, is a warning of the category `engine.errors.Notice`.
    """

    def __repr__(self) -> str:
        return f"Workspace({str(self.folders.root)!r})"

    def _repr_html_(self) -> str:
        """The newest runs, as a notebook shows them."""
        return runs_html(self.folders.root, self.rows(sort="-created_at", limit=10))

    def run(self, name: str) -> Run:
        """A run by its id, a prefix of that or its name. Raises StoreError where none or several fit."""
        with self.open() as store:
            return Run(self, store.resolve(name))

    def start(
        self,
        recipe: str,
        *,
        data: str | Path | None = None,
        name: str = "",
        experiment: str = "",
        tags: Sequence[str] = (),
        note: str = "",
        **changes: Any,
    ) -> Run:
        """Start a run before all that waits in the queue, as soon as a device is free; returns at once.

        `recipe` is a recipe's name or a TOML file, `changes` are config keys:
        `start("quick", data="CAMVID", epochs=5, **{"optimizer.lr": 0.01})`. Everything is checked before: the
        keys, the machine, each file of the data. `data` and `experiment` that are not given are those of
        `seg.toml`. Raises EngineError with what is wrong; nothing is made then.
        """
        from engine.api.starting import (  # what only changes need takes a while
            NewRun,
            checked_run,
            next_place,
            queue_run,
        )
        from engine.requests.initial_weights import names_a_run

        self._refuse_no_folder()
        wanted = NewRun(recipe, data, name, experiment, tags, note, changes)
        card, config = checked_run(self.folders, wanted, notice)
        with self._ready(names_a_run(config)) as store:
            return Run(self, queue_run(self.folders, store, card, config, next_place(store), notice))

    def queue(
        self,
        recipe: str,
        *,
        data: str | Path | None = None,
        name: str = "",
        experiment: str = "",
        tags: Sequence[str] = (),
        note: str = "",
        priority: int = 0,
        after: str | Run = "",
        **changes: Any,
    ) -> Run:
        """Give a run its place in the queue: higher priorities start first, and after the run `after`
        finished. All else is as in `start`."""
        from engine.api.starting import NewRun, checked_run, queue_run
        from engine.requests.initial_weights import names_a_run
        from engine.requests.queueing import Place

        self._refuse_no_folder()
        wanted = NewRun(recipe, data, name, experiment, tags, note, changes)
        place = Place(priority, after.id if isinstance(after, Run) else after)
        card, config = checked_run(self.folders, wanted, notice)
        with self._ready(names_a_run(config) or place.after != "") as store:
            return Run(self, queue_run(self.folders, store, card, config, place, notice))

    def _refuse_no_folder(self) -> None:
        if not self.folders.root.is_dir():
            raise EngineError(f"{self.folders.root}: no such folder; make it first")

    @contextmanager
    def _ready(self, is_there: bool) -> Iterator[Store]:
        """The store of the workspace, made where there is none unless it `is_there`, as it has a run that was
        named."""
        with self.open(change=True) if is_there else self.folders.open_store() as store:
            yield store
