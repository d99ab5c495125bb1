"""Comparing the database with the run folders and with what lives, and mending what can be mended."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path
from typing import Any, Literal

from engine.agent.ingest import catch_up, is_clustered, is_over, owner_of, refresh
from engine.config.run_config import RunConfig
from engine.host.processes import is_alive
from engine.run.checkpoint_file import CheckpointError, verify_checkpoint
from engine.run.deletion import finish, left_behind
from engine.run.directory import RunCard, RunDir, RunDirError, is_run_folder
from engine.run.events import AnyEvent
from engine.run.freed import when_freed
from engine.run.journal import JournalError, read_events, read_pieces
from engine.store import DamagedRow, NoSuchRun, RunRow, Store, StoreError
from engine.store.cards import card_of, keep_card
from engine.store.checks import belied, unlike
from engine.store.queue import ACTIVE_STATUSES
from engine.typed import typed
from engine.workspace import Workspace

Kind = Literal[
    "database",
    "folder",
    "missing",
    "journal",
    "behind",
    "rows",
    "card",
    "status",
    "checkpoint",
    "experiment",
]


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be. `run` is "" where it is the database as a whole.

    `kind`: the `database` file is damaged; a `folder` is unreadable or gone; a run is `missing` in the
    database; its `journal` is damaged or another than the one that was read; the database is `behind` it;
    `rows` are not what it gives; the `card` in the folder says otherwise; the `status` cannot be true; a
    `checkpoint` is missing or damaged; an `experiment` is not as old as its oldest run.
    """

    run: str
    kind: Kind
    what: str
    fixable: bool = False
    fixed: bool = False


@dataclass(frozen=True)
class CheckReport:
    """How many runs were compared, and what was found."""

    runs: int
    differences: tuple[Difference, ...]


def check(
    store: Store,
    workspace: Workspace,
    fix: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckReport:
    """Compare everything, run by run; with `fix` mend it. `on_progress` gets (done, total) runs.

    May be used while runs are going on: what their agent is about to do is no difference. Raises StoreError
    when the database cannot be read.
    """
    faults = store.checks.faults()
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        what = f"is damaged: {faults[0]}{more}; `{typed('db', 'rebuild')}` rebuilds it from runs/"
        return CheckReport(0, (Difference("", "database", what),))
    found = _check_deletions(store, workspace, fix)
    known, elsewhere = set(store.run_ids([store.mine])), set(store.run_ids([f"workspace!={store.workspace}"]))
    folders = run_folders(workspace.runs) - elsewhere  # copies of what others look after
    ids = sorted(known | folders)
    with (
        tempfile.TemporaryDirectory(prefix="seg-check-") as scratch,
        Store(f"sqlite:///{Path(scratch) / 'folded.db'}") as folded,
    ):
        for done, run_id in enumerate(ids):
            on_progress(done, len(ids))
            one = _Comparison(store, folded, workspace.run_dir(run_id), fix)
            try:
                one.compare(run_id in known, run_id in folders)
            except NoSuchRun:
                continue  # deleted meanwhile
            except DamagedRow as error:
                told = f"{error}; `{typed('db', 'rebuild')}` rebuilds the database"
                one.found.append(Difference(run_id, "rows", told))
            found += one.found
        on_progress(len(ids), len(ids))
    return CheckReport(len(ids), (*found, *_check_experiments(store, fix)))


def _check_deletions(store: Store, workspace: Workspace, fix: bool) -> list[Difference]:
    """What a deletion, or the making of a run, has left where it was interrupted."""
    left = left_behind(workspace.runs)
    if left and fix:
        with store.lifecycle.list_held() as is_known:
            finish(workspace.runs, is_known)
    return [
        Difference(
            "",
            "folder",
            f"{path} was left behind by an interrupted operation",
            True,
            fix and not lexists(path),
        )
        for path in left
    ]


def _check_experiments(store: Store, fix: bool) -> list[Difference]:
    odd = store.checks.experiments_of_another_age()
    if odd and fix:
        store.checks.settle_experiments()
    return [
        Difference("", "experiment", f"{name}: created_at is {age!r}, its runs give {wanted!r}", True, fix)
        for name, age, wanted in odd
    ]


def run_folders(runs: Path) -> set[str]:
    """Names of the folders that are runs, or would like to be."""
    if not runs.is_dir():
        return set()
    return {path.name for path in runs.iterdir() if is_run_folder(path)}


class _Comparison:
    """One run, in the database and in its folder."""

    def __init__(self, store: Store, folded: Store, run: RunDir, fix: bool) -> None:
        self.store, self.folded, self.run, self.fix = store, folded, run, fix
        self.found: list[Difference] = []

    def compare(self, known: bool, has_folder: bool) -> None:
        if not has_folder:
            self._without_folder()
            return
        try:
            card, config = self.run.read_card(), self.run.read_config()
            if card.id != self.run.id:
                raise RunDirError(f"{self.run.path}: belongs to run {card.id}; rename the folder to that id")
        except RunDirError as error:
            self._note("folder", str(error))
            return
        if not known:
            if not self._note("missing", "is in runs/ but not in the database", self._import):
                return
            card = self.run.read_card()
        try:
            self._compare_rows(config)
            self._compare_status(config)
        except JournalError as error:
            self._note("journal", str(error))
        except OSError as error:
            self._note("journal", f"{self.run.journal}: cannot be read: {error.strerror}")
        finally:
            self._forget_folded()
        self._compare_card(card)
        self._compare_checkpoints()

    def _note(self, kind: Kind, what: str, mend: Callable[[], object] | None = None) -> bool:
        """Put a difference on the list, mended if that is wanted and works; returns whether it was."""
        fixed = False
        if self.fix and mend is not None:
            try:
                mend()
                fixed = True
            except NoSuchRun:
                raise
            except (StoreError, JournalError, RunDirError, OSError) as error:
                what = f"{what}; it cannot be fixed: {error}"
        self.found.append(Difference(self.run.id, kind, what, mend is not None, fixed))
        return fixed

    def _without_folder(self) -> None:
        row = self.store.run(self.run.id)
        gone = f"its folder {self.run.path} is gone"
        if not row.ended:
            self._note(
                "status",
                f"is {row.status}, {gone}",
                lambda: self.store.lifecycle.set_status(row.id, "failed", "exception", gone, seen=row),
            )
        self._note("folder", f"{gone}; `{typed('delete', row.id)}` also removes its rows")

    def _compare_rows(self, config: RunConfig) -> None:
        """Hold what is stored against what the same stretch of the journal gives. Raises JournalError."""
        rows = self.store.checks.rows_of_run(self.run.id)
        offset = int(rows.run["journal_offset"])
        reached = self._fold(config, offset)
        if reached != offset:
            what = (
                f"was read up to byte {offset}, which is not the end of a line: it was truncated or replaced"
            )
            self._note("journal", what, lambda: self._refold(config))
            return
        lines = unlike(rows, self.folded.checks.rows_of_run(self.run.id))
        if not _same_config(rows.run["config"], config):
            lines.append("the config differs from config.json")
        if lines:
            self._note("rows", "; ".join(lines), lambda: self._refold(config))
        row = self.store.run(self.run.id)
        owner = owner_of(row)
        watched = row.status in ACTIVE_STATUSES and owner is not None and is_alive(owner) is not False
        _, end = read_events(self.run.journal, offset)
        if end > row.journal_offset and not watched:
            what = f"its journal continues after byte {offset}, up to which it was read"
            self._note("behind", what, lambda: catch_up(self.store, self.run))

    def _fold(self, config: RunConfig, end: int | None) -> int:
        """Fold the journal up to byte `end`, None for all of it, into the second database; returns where it
        ends there."""
        try:
            offset = self.folded.run(self.run.id).journal_offset
        except NoSuchRun:
            self.folded.lifecycle.create(RunCard(self.run.id, "", "", 0.0), config)
            offset = 0
        while end is None or offset < end:
            limit = 4 << 20 if end is None else min(4 << 20, end - offset)
            events, new = read_events(self.run.journal, offset, limit)
            if not events or (end is not None and new > end):
                return new
            self.folded.journals.ingest(self.run.id, events, new, offset)
            offset = new
        return offset

    def _compare_status(self, config: RunConfig) -> None:
        """Hold the status against the whole journal, and against what lives on this machine."""
        row = self.store.run(self.run.id)
        self._fold(config, None)
        folded = self.folded.run(self.run.id)
        why = belied(_as_told(row), _as_told(folded))
        owner, process = owner_of(row), self.run.read_proc()
        if row.status in ACTIVE_STATUSES and owner is not None and is_alive(owner) is not False:
            return  # it is about to say so itself
        if why:
            self._note("status", why, lambda: self._refold(config))
        elif row.status in ACTIVE_STATUSES and not is_clustered(row) and is_over(self.run) is True:
            self._note("status", f"is {row.status}, but its worker is not running", self._settle)
        elif row.ended and not folded.ended and process and is_alive(process):
            what = f"is {row.status}, but its worker is running (process {process.pid})"
            self._note("status", what, lambda: self.store.lifecycle.set_status(row.id, "running", seen=row))

    def _compare_card(self, card: RunCard) -> None:
        row = self.store.run(self.run.id)
        wanted = card_of(row)
        odd = [
            f"{name} is {getattr(card, name)!r} in run.json and {getattr(wanted, name)!r} in the database"
            for name in _ON_CARD
            if getattr(card, name) != getattr(wanted, name)
        ]
        if (card.queued_for > row.attempt) != (row.status == "queued") and _rests(row):
            odd.append(f"run.json has it {'not ' if row.status == 'queued' else ''}waiting in the queue")
        if odd:
            self._note("card", "; ".join(odd), lambda: self._keep_card())

    def _compare_checkpoints(self) -> None:
        told = [event for event in self.store.results.events(self.run.id) if event.event == "checkpoint"]
        for path in dict.fromkeys(str(event.payload["path"]) for event in told):
            if when_freed(self.run, path):
                continue
            try:
                verify_checkpoint(self.run.path / path)
            except CheckpointError as error:
                self._note("checkpoint", str(error))

    # ------------------------------------------------------------------ mending

    def _import(self) -> None:
        self.store.journals.import_run(self.run)
        self._settle()

    def _settle(self) -> None:
        refresh(self.store, [self.run])

    def _keep_card(self) -> None:
        if not keep_card(self.store, self.run):
            raise OSError(f"{self.run.card_file} cannot be written")

    def _refold(self, config: RunConfig) -> None:
        events: list[AnyEvent] = []
        end = 0
        for _, more, behind in read_pieces(self.run.journal):
            events += more
            end = behind
        self.store.checks.refold(self.run.id, config, events, end)

    def _forget_folded(self) -> None:
        try:
            self.folded.lifecycle.delete(self.run.id, protected_too=True)
        except NoSuchRun:
            return


_ON_CARD = (
    *("name", "experiment", "created", "tags", "note"),
    *("priority", "paused", "after", "archived", "protected"),
)


def _as_told(row: RunRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in _TOLD}


_TOLD = ("status", "cause", "attempt", "claimed_by", "ended_at", "message", "traceback")


def _rests(row: RunRow) -> bool:
    """Whether nobody has taken the run just now."""
    return row.status not in ACTIVE_STATUSES


def _same_config(stored: dict[str, Any], config: RunConfig) -> bool:
    """Whether a stored config means this one; it may be of a version that knew fewer keys."""
    try:
        return RunConfig.of_stored(stored) == config
    except ValueError:
        return False
