"""The workspace that a run's folder lies in, where several share one database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("runs", sa.Column("workspace", sa.Text, nullable=False, server_default=""))
    op.drop_index("runs_queue", "runs")
    op.create_index("runs_queue", "runs", ["workspace", "status", "priority", "queued_at", "id"])
