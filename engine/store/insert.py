"""The rows of a run of which nothing has been heard yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from engine.store.cleared import NO_END, NO_PROGRESS
from engine.store.errors import StoreError
from engine.store.schema import experiments, runs, tags
from engine.store.variant import variant_of
from engine.tasks.imported import Imported

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from engine.run.directory import RunCard


def insert_run(
    connection: sa.Connection,
    card: RunCard,
    config: RunConfig,
    status: str,
    workspace: str,
    place: dict[str, Any] | None = None,
) -> None:
    """Enter a run. `place` overrules what the card says of its place in the queue and its end."""
    wanted = {
        "id": card.id,
        "experiment_id": experiment_id(connection, card.experiment, card.created),
        "name": card.name,
        "created_at": card.created,
        "note": card.note,
        "priority": card.priority,
        "paused": card.paused,
        "after": card.after,
        "archived": card.archived,
        "protected": card.protected,
        "trial": card.trial,
        "workspace": workspace,
        "status": status,
        "queued_at": (card.queued_at or card.created) if status == "queued" else None,
    }
    connection.execute(runs.insert(), unheard(config) | NO_END | wanted | (place or {}))
    set_tags(connection, card.id, card.tags)


def unheard(config: RunConfig) -> dict[str, Any]:
    """The columns that config and journal decide, before anything of the journal is known."""
    stored = config.model_dump(mode="json", exclude_unset=config.task == Imported.name)
    return NO_PROGRESS | {
        "task": config.task,
        "recipe": config.recipe,
        "seed": config.seed,
        "attempt": 0,
        "host": "",
        "device": "",
        "device_name": "",
        "precision": "",
        "epochs": 0 if config.budget.is_given else config.epochs,
        "epoch": 0,
        "budget_used": None,
        "journal_offset": 0,
        "journal_seq": -1,
        "classes": [],
        "colors": [],
        "config": stored,
        "variant": variant_of(stored),
        "source": config.source,
    }


def first_status(card: RunCard, queued: bool) -> tuple[str, dict[str, Any]]:
    """Status, and what goes with it, of an imported run before its journal is read."""
    if card.queued_for and queued:
        return "queued", {}
    return "stopped", {"cause": "stopped", "ended_at": card.created}


def experiment_id(connection: sa.Connection, name: str, created: float) -> int:
    """The number of an experiment, made where there is none; it is as old as the oldest of its runs."""
    found = connection.execute(sa.select(experiments).where(experiments.c.name == name)).first()
    if found is not None:
        if created < found.created_at:
            same = experiments.c.id == found.id
            connection.execute(experiments.update().where(same).values(created_at=created))
        return int(found.id)
    new = experiments.insert().values(name=name, created_at=created).returning(experiments.c.id)
    return int(connection.execute(new).scalar_one())


def settle_experiments(connection: sa.Connection, *only: sa.ColumnElement[bool]) -> None:
    """After runs came or went: remove experiments without runs, make others as old as their oldest run."""
    oldest = (
        sa.select(sa.func.min(runs.c.created_at))
        .where(runs.c.experiment_id == experiments.c.id)
        .scalar_subquery()
    )
    used = sa.exists().where(runs.c.experiment_id == experiments.c.id)
    connection.execute(experiments.delete().where(~used, *only))
    other = experiments.c.created_at != oldest
    connection.execute(experiments.update().where(used, other, *only).values(created_at=oldest))


def tags_of(connection: sa.Connection, run_id: str) -> set[str]:
    return set(connection.scalars(sa.select(tags.c.tag).where(tags.c.run_id == run_id)))


def set_tags(connection: sa.Connection, run_id: str, wanted: Iterable[str]) -> None:
    from engine.run.bounds import is_tag  # the bounds are made of Pydantic's types; looking needs none

    unique = sorted(set(wanted))
    for tag in unique:
        if not is_tag(tag):
            raise StoreError(f"{tag!r}: is not a tag; a tag is one word without spaces or commas")
    connection.execute(tags.delete().where(tags.c.run_id == run_id))
    if unique:
        connection.execute(tags.insert(), [{"run_id": run_id, "tag": tag} for tag in unique])
