"""What people call a run and want of it, written into its folder too, so that a rebuilt database has it."""

from __future__ import annotations

from engine.run.directory import RunCard, RunDir
from engine.store.rows import RunRow
from engine.store.store import Store


def card_of(row: RunRow) -> RunCard:
    """The card that the folder of a run should have."""
    taken_from_queue = row.status in ("starting", "stopping") and row.queued_at is not None
    waits = row.status == "queued" or taken_from_queue
    return RunCard(
        id=row.id,
        name=row.name,
        experiment=row.experiment,
        created=row.created_at,
        tags=row.tags,
        note=row.note,
        priority=row.priority,
        paused=row.paused,
        after=row.after,
        queued_for=row.attempt + 1 if waits else 0,
        queued_at=row.queued_at if waits else None,
        archived=row.archived,
        protected=row.protected,
        trial=row.trial,
    )


def keep_card(store: Store, run: RunDir) -> bool:
    """Write a run's card as the database has it; False when the folder does not take it."""
    card = card_of(store.run(run.id))
    if not run.path.is_dir():
        return False
    try:
        run.write_card(card)
    except OSError:
        return False
    return True
