"""Environments that networks have not seen, and how they score there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "environments",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("layout", sa.Text, nullable=False),
        sa.Column("corruption", sa.Text, nullable=False),
        sa.Column("strength", sa.Integer, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("dice", sa.Float),
        sa.Column("dice_image", sa.Float),
        sa.Column("miou", sa.Float),
        sa.Column("pixel_accuracy", sa.Float),
        sa.Column("class_dice", sa.JSON, nullable=False),
        sa.Column("class_iou", sa.JSON, nullable=False),
        *(
            sa.Column(f"{measure}_{field}", sa.Float)
            for measure in ("dice", "miou")
            for field in ("difference", "low", "high")
        ),
        sa.Column("never_labelled", sa.JSON, nullable=False),
        sa.Column("merged", sa.Text, nullable=False),
        sa.Column("window_size", sa.Text, nullable=False, server_default=""),
        sa.Column("window_stride", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("run_id", "place"),
    )
