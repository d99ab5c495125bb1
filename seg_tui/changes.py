"""Changes of runs that can be undone: what people call them, where they belong, whether they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineError
from engine.host.access import why_unwritable
from engine.requests import lifecycle, refusals
from engine.store import NoSuchRun, RunRow, Store
from engine.workspace import Workspace
from seg_tui.actions import words_of
from seg_tui.commands import PartlyDone

Put = Callable[[Workspace, Store, RunRow, Any], bool]
"""Gives a run a value; returns whether its folder keeps it, too."""


@dataclass(frozen=True)
class Field:
    """Something of a run that people change."""

    name: str
    read: Callable[[RunRow], Any]
    put: Put


@dataclass(frozen=True)
class Undo:
    """Gives runs back what a change took from them. `before` and `after` are the field's values by id."""

    field: Field
    named: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    def __call__(self, workspace: Workspace, store: Store) -> str:
        """Undo it where nobody has changed the same since; returns a line. Raises StoreError."""
        gone, others = 0, 0
        for run_id, value in self.before.items():
            try:
                row = store.run(run_id)
            except NoSuchRun:
                gone += 1
                continue
            if self.field.read(row) == self.after[run_id]:
                self.field.put(workspace, store, row, value)
            elif self.field.read(row) != value:
                others += 1
        count = len(self.before)
        told = f"{'undone' if gone + others < count else 'not undone'}: {self.field.name} of {self.named}"
        if others:
            told += "; " + (f"{others} of them changed since, and stay" if count > 1 else "it changed since")
        if gone:
            told += "; " + (f"{gone} of them no longer exist" if count > 1 else "the run no longer exists")
        return told


@dataclass(frozen=True)
class Done:
    """What became of an action, in a line, and how to take it back."""

    line: str
    undo: Undo | None = None


def _all_kept(ask: Callable[[Workspace, Store, Sequence[RunRow], Any], list[RunRow]]) -> Put:
    return lambda workspace, store, row, value: not ask(workspace, store, [row], value)


TAGS = Field(
    "tags",
    lambda row: row.tags,
    lambda workspace, store, row, tags: lifecycle.set_tags(workspace, store, row.id, tags),
)
NOTE = Field(
    "note",
    lambda row: row.note,
    lambda workspace, store, row, note: lifecycle.set_note(workspace, store, row.id, note),
)
NAME = Field("name", lambda row: row.name, lifecycle.rename)
EXPERIMENT = Field("experiment", lambda row: row.experiment, _all_kept(lifecycle.move))
ARCHIVED = Field("archive", lambda row: row.archived, _all_kept(lifecycle.archive))
PROTECTED = Field("protection", lambda row: row.protected, _all_kept(lifecycle.protect))


def change_tags(
    workspace: Workspace, store: Store, ids: Sequence[str], before: Sequence[str], after: Sequence[str]
) -> Done:
    """Give runs the tags `after` in place of those `before`; others that they have stay."""
    told = " ".join(after) if after else "no tags"
    gone = set(before)
    return _change(
        workspace, store, ids, TAGS, lambda row: tuple(sorted({*row.tags} - gone | {*after})), told
    )


def set_note(workspace: Workspace, store: Store, ids: Sequence[str], note: str) -> Done:
    return _change(workspace, store, ids, NOTE, lambda row: note, f"note {'saved' if note else 'removed'}")


def rename(workspace: Workspace, store: Store, ids: Sequence[str], name: str) -> Done:
    """Call runs otherwise; several get the same name."""
    return _change(workspace, store, ids, NAME, lambda row: name, f"now called {name}")


def move(workspace: Workspace, store: Store, ids: Sequence[str], experiment: str) -> Done:
    return _change(
        workspace, store, ids, EXPERIMENT, lambda row: experiment, f"moved to the experiment {experiment}"
    )


def archive(workspace: Workspace, store: Store, ids: Sequence[str], archived: bool) -> Done:
    told = "archived, which hides it" if archived else "not archived any more"
    if archived:
        refusals.refuse_unarchivable([store.run(run_id) for run_id in ids])
    return _change(workspace, store, ids, ARCHIVED, lambda row: archived, told)


def protect(workspace: Workspace, store: Store, ids: Sequence[str], protected: bool) -> Done:
    told = "protected from deletion" if protected else "not protected any more"
    return _change(workspace, store, ids, PROTECTED, lambda row: protected, told)


def _change(
    workspace: Workspace,
    store: Store,
    ids: Sequence[str],
    field: Field,
    wanted: Callable[[RunRow], Any],
    told: str,
) -> Done:
    """Give each run its new value. Raises Refused, StoreError; PartlyDone where not all have it."""
    rows = [store.run(run_id) for run_id in ids]
    before = {row.id: field.read(row) for row in rows}
    after = {row.id: wanted(row) for row in rows}
    named = rows[0].name if len(rows) == 1 else f"{len(rows)} runs"
    unkept = []
    for place, row in enumerate(rows):
        try:
            if not field.put(workspace, store, row, after[row.id]):
                unkept.append(row)
        except (EngineError, OSError) as error:
            if place == 0:
                raise
            changed = {row.id: before[row.id] for row in rows[:place]}
            undo = Undo(field, f"{place} of {named}", changed, after)
            line = f"{place} of {named}: {told}; {row.id}: {words_of(error)}; z undoes it"
            raise PartlyDone(line, ids[place:], undo) from error
    warning = ""
    if unkept:
        folder = workspace.run_dir(unkept[0].id).path
        gone = "cannot be written" if folder.is_dir() else "the run's folder is gone"
        warning = f"; {why_unwritable(folder) or gone}, so only the database has it"
    return Done(f"{named}: {told}{warning}", Undo(field, named, before, after))
