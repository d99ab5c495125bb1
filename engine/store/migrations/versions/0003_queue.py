"""The queue: its order, what waits for what, and who takes care of a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("after", sa.Text, nullable=False, server_default=""))
    op.add_column("runs", sa.Column("claimed_by", sa.JSON(none_as_null=True)))
    op.create_index("runs_by_predecessor", "runs", ["after"])
    op.create_index("runs_queue", "runs", ["status", "priority", "queued_at", "id"])
