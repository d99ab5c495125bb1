"""The layout of a data set is a component: stored configs say data.layout where they said data.kind, and
nothing where it was auto.

Old runs are then filtered, compared and grouped with new ones.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from engine.store.variant import variant_of

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    connection = op.get_bind()
    runs = connection.execute(sa.text("SELECT id, config FROM runs")).all()
    for run_id, stored in runs:
        config = stored if isinstance(stored, dict) else json.loads(stored)
        data = config.get("data")
        if not isinstance(data, dict) or "kind" not in data or "layout" in data:
            continue
        renamed = {("layout" if key == "kind" else key): value for key, value in data.items()}
        if renamed["layout"] == "auto":
            del renamed["layout"]
        config["data"] = renamed
        connection.execute(
            sa.text("UPDATE runs SET config = :config, variant = :variant WHERE id = :id"),
            {"id": run_id, "config": json.dumps(config), "variant": variant_of(config)},
        )
