"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("queued_at", sa.Float),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("device_name", sa.Text, nullable=False),
        sa.Column("precision", sa.Text, nullable=False),
        sa.Column("epochs", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("step", sa.Integer),
        sa.Column("steps", sa.Integer),
        sa.Column("images_per_second", sa.Float),
        sa.Column("eta_seconds", sa.Float),
        sa.Column("progress_at", sa.Float),
        sa.Column("best_epoch", sa.Integer),
        sa.Column("best_dice", sa.Float),
        sa.Column("best_train_dice", sa.Float),
        sa.Column("best_miou", sa.Float),
        sa.Column("last_dice", sa.Float),
        sa.Column("last_train_dice", sa.Float),
        sa.Column("last_miou", sa.Float),
        sa.Column("last_loss", sa.Float),
        sa.Column("last_val_loss", sa.Float),
        sa.Column("parameters", sa.BigInteger),
        sa.Column("flops_per_sample", sa.BigInteger),
        sa.Column("peak_memory_bytes", sa.BigInteger),
        sa.Column("train_images", sa.Integer),
        sa.Column("val_images", sa.Integer),
        sa.Column("journal_offset", sa.BigInteger, nullable=False),
        sa.Column("journal_seq", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("classes", sa.JSON, nullable=False),
        sa.Column("colors", sa.JSON, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("traceback", sa.Text, nullable=False),
    )
    op.create_index("runs_by_dice", "runs", ["best_dice"])
    op.create_index("runs_by_experiment", "runs", ["experiment_id", "best_dice"])
    op.create_index("runs_by_creation", "runs", ["created_at"])
    op.create_index("runs_by_status", "runs", ["status"])
    op.create_index("runs_by_name", "runs", ["name"])
    op.create_table(
        "tags",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("tag", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "tag"),
    )
    op.create_index("tags_by_tag", "tags", ["tag"])
    op.create_table(
        "epochs",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("t", sa.Float, nullable=False),
        sa.Column("loss", sa.Float),
        sa.Column("dice", sa.Float),
        sa.Column("dice_image", sa.Float),
        sa.Column("miou", sa.Float),
        sa.Column("pixel_accuracy", sa.Float),
        sa.Column("lr", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("images_per_second", sa.Float, nullable=False),
        sa.Column("data_wait", sa.Float, nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("class_dice", sa.JSON, nullable=False),
        sa.Column("class_iou", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "split", "epoch"),
    )
    op.create_index("epochs_by_dice", "epochs", ["run_id", "split", "dice"])
    op.create_table(
        "events",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("t", sa.Float, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq"),
    )
    op.create_table(
        "results",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("t", sa.Float, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("dice", sa.Float),
        sa.Column("dice_image", sa.Float),
        sa.Column("miou", sa.Float),
        sa.Column("pixel_accuracy", sa.Float),
        sa.Column("class_dice", sa.JSON, nullable=False),
        sa.Column("class_iou", sa.JSON, nullable=False),
        sa.Column("confusion", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "split", "at", "epoch"),
    )
