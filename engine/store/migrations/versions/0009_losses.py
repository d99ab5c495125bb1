"""Losses by weight: stored configs say loss.cross_entropy and loss.dice where they said loss.name.

Old runs are then filtered, compared and grouped with new ones.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from engine.store.variant import variant_of

revision = "0009"
down_revision = "0008"

WEIGHTS = {
    "cross_entropy": {"cross_entropy": 1.0, "dice": 0.0},
    "cross_entropy_dice": {"cross_entropy": 0.5, "dice": 0.5},
}


def upgrade() -> None:
    connection = op.get_bind()
    runs = connection.execute(sa.text("SELECT id, config FROM runs")).all()
    for run_id, stored in runs:
        config = stored if isinstance(stored, dict) else json.loads(stored)
        loss = config.get("loss")
        if not isinstance(loss, dict) or loss.get("name") not in WEIGHTS:
            continue
        weights = WEIGHTS[loss["name"]]
        config["loss"] = {
            "cross_entropy": weights["cross_entropy"],
            **{key: value for key, value in loss.items() if key != "name"},
            "dice": weights["dice"],
        }
        connection.execute(
            sa.text("UPDATE runs SET config = :config, variant = :variant WHERE id = :id"),
            {"id": run_id, "config": json.dumps(config), "variant": variant_of(config)},
        )
