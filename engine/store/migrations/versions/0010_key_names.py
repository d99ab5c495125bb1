"""Renamed config keys: stored configs say validation.* and init.weights where they said evaluation.* and
init.from.

Old runs are then filtered, compared and grouped with new ones.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from engine.store.values import dump_json
from engine.store.variant import variant_of

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    connection = op.get_bind()
    runs = connection.execute(sa.text("SELECT id, config FROM runs")).all()
    for run_id, stored in runs:
        config = stored if isinstance(stored, dict) else json.loads(stored)
        new = _renamed(config, "evaluation", "validation")
        if isinstance(new.get("init"), dict):
            new["init"] = _renamed(new["init"], "from", "weights")
        if new == config:
            continue
        connection.execute(
            sa.text("UPDATE runs SET config = :config, variant = :variant WHERE id = :id"),
            {"id": run_id, "config": dump_json(new), "variant": variant_of(new)},
        )


def _renamed(table: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The table with one key renamed where it stands; as it was where it has the new one as well."""
    if new in table:
        return dict(table)
    return {new if key == old else key: value for key, value in table.items()}
