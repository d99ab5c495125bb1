"""Fully connected CRFs: scores before and after, and the trials of searches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

PARAMETERS = (
    "gaussian_weight",
    "gaussian_sigma",
    "bilateral_weight",
    "bilateral_sigma_xy",
    "bilateral_sigma_rgb",
)


def upgrade() -> None:
    op.add_column("results", sa.Column("crf", sa.Text, nullable=False, server_default=""))
    scores = ("dice", "dice_image", "miou", "pixel_accuracy")
    op.create_table(
        "crf_results",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("corruption", sa.Text, nullable=False),
        sa.Column("strength", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("iterations", sa.Integer),
        *(sa.Column(name, sa.Float) for name in PARAMETERS),
        sa.Column("searched", sa.Boolean, nullable=False),
        sa.Column("timed", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float),
        sa.Column("p95_seconds", sa.Float),
        *(sa.Column(f"{name}_{when}", sa.Float) for name in scores for when in ("before", "after")),
        *(
            sa.Column(f"{name}_{when}", sa.JSON)
            for name in ("class_dice", "class_iou")
            for when in ("before", "after")
        ),
        sa.PrimaryKeyConstraint("run_id", "split", "at", "corruption", "strength"),
    )
    op.create_table(
        "crf_trials",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("t", sa.Float, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("iterations", sa.Integer),
        *(sa.Column(name, sa.Float) for name in PARAMETERS),
        sa.Column("miou", sa.Float),
        sa.Column("dice", sa.Float),
        sa.Column("pixel_accuracy", sa.Float),
        sa.Column("class_iou", sa.JSON, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "trial"),
    )
