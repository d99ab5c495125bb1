"""Metrics of one's own: what each gave for an epoch or a result, the whole split and each class."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "metrics",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("measured", sa.Text, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("class_name", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("low", sa.Float),
        sa.Column("high", sa.Float),
        sa.Column("better", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "measured", "split", "at", "epoch", "metric", "class_name"),
    )
