"""What a screen that follows thousands of runs asks: which changed, and which differ by their seed alone."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from engine.store.variant import variant_of

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("runs", sa.Column("changed", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("variant", sa.Text, nullable=False, server_default=""))
    op.create_index("runs_by_change", "runs", ["changed"])
    connection = op.get_bind()
    stored = connection.execute(sa.text("SELECT id, config FROM runs ORDER BY created_at, id")).all()
    for number, (run_id, config) in enumerate(stored, start=1):
        variant = variant_of(config if isinstance(config, dict) else json.loads(config))
        change = {"id": run_id, "changed": number, "variant": variant}
        connection.execute(
            sa.text("UPDATE runs SET changed = :changed, variant = :variant WHERE id = :id"), change
        )
