"""Out-of-distribution detection: how each score fares, what it says of every image; and scores on corrupted
images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "ood_results",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("score", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("t", sa.Float, nullable=False),
        sa.Column("positives", sa.BigInteger, nullable=False),
        sa.Column("negatives", sa.BigInteger, nullable=False),
        sa.Column("auroc", sa.Float),
        sa.Column("average_precision", sa.Float),
        sa.Column("fpr95", sa.Float),
        sa.Column("error", sa.Float, nullable=False),
        sa.Column("threshold", sa.Float, nullable=False),
        sa.Column("rejected_in", sa.Float),
        sa.Column("rejected_out", sa.Float),
        sa.Column("component_f1", sa.Float),
        sa.Column("best_component_f1", sa.Float),
        sa.Column("best_threshold", sa.Float),
        sa.Column("aurc", sa.Float),
        sa.Column("risk_coverage", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "level", "score"),
    )
    op.create_table(
        "ood_images",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("out", sa.Boolean, nullable=False),
        sa.Column("dice", sa.Float),
        sa.Column("scores", sa.JSON, nullable=False),
        sa.Column("include", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "origin", "image"),
    )
    op.create_table(
        "corruptions",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("corruption", sa.Text, nullable=False),
        sa.Column("strength", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("dice", sa.Float),
        sa.Column("dice_image", sa.Float),
        sa.Column("miou", sa.Float),
        sa.Column("pixel_accuracy", sa.Float),
        sa.PrimaryKeyConstraint("run_id", "split", "corruption", "strength"),
    )
