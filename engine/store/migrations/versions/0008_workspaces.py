"""The workspace that a run's folder lies in, where several share one database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("runs", sa.Column("workspace", sa.Text, nullable=False, server_default=""))
    op.drop_index("runs_queue", "runs")
    op.create_index("runs_queue", "runs", ["workspace", "status", "priority", "queued_at", "id"])
    if op.get_bind().dialect.name == "postgresql":
        # Lists put runs without a score last, where SQLite has them anyway; here the index has to say so.
        best = sa.text("best_dice DESC NULLS LAST")
        for name, *before in (("runs_by_dice",), ("runs_by_experiment", "experiment_id")):
            op.drop_index(name, "runs")
            op.create_index(name, "runs", [*before, best])
