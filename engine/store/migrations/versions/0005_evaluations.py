"""Evaluations: the run that was scored, how, how fast its network is, and the scores of every image."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("runs", sa.Column("source", sa.Text, nullable=False, server_default=""))
    op.create_index("runs_by_source", "runs", ["source"])
    for name in ("checkpoint", "label_resize", "tta"):
        op.add_column("results", sa.Column(name, sa.Text, nullable=False, server_default=""))
    for name in ("parameters", "flops_per_sample"):
        op.add_column("results", sa.Column(name, sa.BigInteger))
    for name in ("latency_seconds", "latency_p95_seconds", "frames_per_second"):
        op.add_column("results", sa.Column(name, sa.Float))
    op.create_table(
        "images",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("dice", sa.Float),
        sa.Column("miou", sa.Float),
        sa.Column("pixel_accuracy", sa.Float),
        sa.Column("valid_pixels", sa.BigInteger, nullable=False),
        sa.Column("class_dice", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "split", "at", "image"),
    )
    op.create_index("images_by_dice", "images", ["run_id", "dice"])
