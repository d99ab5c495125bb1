"""The tables as SQLAlchemy Core objects: what the queries are written with.

The tables are made by the migrations; a test keeps both equal. `docs/database.md` says what each column
means. All times are UTC seconds.
"""

from __future__ import annotations

import sqlalchemy as sa

from engine.store import result_tables  # noqa: F401  with it the metadata has all tables
from engine.store.columns import metadata, run_id, scores, text
from engine.store.dialects import NextChange

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", sa.Float, nullable=False),
)

# The wide columns come last: SQLite reads a row from its start and stops at the last column it needs, and
# what does not fit into the row's page lies on further ones.
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, nullable=False),
    sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
    text("name"),
    text("task"),
    text("recipe"),
    text("status"),
    text("cause"),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("queued_at", sa.Float),
    sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("attempt", sa.Integer, nullable=False),
    text("host"),
    sa.Column("pid", sa.Integer),
    text("device"),
    text("device_name"),
    text("precision"),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    text("phase"),
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
    text("message"),
    text("note"),
    sa.Column("classes", sa.JSON, nullable=False),
    sa.Column("colors", sa.JSON, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    text("traceback"),
    sa.Column("first_step_seconds", sa.Float),
    sa.Column("achieved_flops", sa.Float),
    sa.Column("ceiling_flops", sa.Float),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("after", sa.Text, nullable=False, server_default=""),
    sa.Column("claimed_by", sa.JSON(none_as_null=True)),
    sa.Column("changed", sa.BigInteger, nullable=False, default=NextChange(), onupdate=NextChange()),
    sa.Column("variant", sa.Text, nullable=False, server_default=""),
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    sa.Column("workspace", sa.Text, nullable=False, server_default=""),
    sa.Column("budget_used", sa.Float),
    sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("protected", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("untold", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("trial", sa.Integer),
    sa.Column("device_seconds", sa.Float),
    sa.Column("gpu_joules", sa.Float),
    sa.Column("cpu_joules", sa.Float),
    sa.Column("disk_bytes", sa.BigInteger),
    sa.Column("attempts_measured", sa.Integer, nullable=False, server_default="0"),
    sa.Index("runs_untold", "untold"),
    sa.Index("runs_by_change", "changed"),
    sa.Index("runs_by_source", "source"),
    # On PostgreSQL these two are of "best_dice DESC NULLS LAST", which is what the lists ask for.
    sa.Index("runs_by_dice", "best_dice"),
    sa.Index("runs_by_experiment", "experiment_id", "best_dice"),
    sa.Index("runs_by_creation", "created_at"),
    sa.Index("runs_by_status", "status"),
    sa.Index("runs_by_name", "name"),
    sa.Index("runs_by_predecessor", "after"),
    sa.Index("runs_queue", "workspace", "status", "priority", "queued_at", "id"),
)

tags = sa.Table(
    "tags",
    metadata,
    run_id(),
    sa.Column("tag", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "tag"),
    sa.Index("tags_by_tag", "tag"),
)

epochs = sa.Table(
    "epochs",
    metadata,
    run_id(),
    text("split"),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    sa.Column("loss", sa.Float),
    *scores(),
    sa.Column("lr", sa.Float),
    sa.Column("seconds", sa.Float),
    sa.Column("images_per_second", sa.Float),
    sa.Column("data_wait", sa.Float),
    sa.Column("peak_memory_bytes", sa.BigInteger),
    sa.Column("class_dice", sa.JSON, nullable=False),
    sa.Column("class_iou", sa.JSON, nullable=False),
    sa.Column("budget_used", sa.Float),
    sa.Column("joules", sa.Float),
    # In this order a curve, one split of one run, is one stretch of the index.
    sa.PrimaryKeyConstraint("run_id", "split", "epoch"),
    sa.Index("epochs_by_dice", "run_id", "split", "dice"),
)

costs = sa.Table(
    "costs",
    metadata,
    run_id(),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("devices", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("gpu_joules", sa.Float),
    sa.Column("cpu_joules", sa.Float),
    sa.Column("disk_bytes", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "attempt"),
)

events = sa.Table(
    "events",
    metadata,
    run_id(),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    text("event"),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "seq"),
)

agents = sa.Table(
    "agents",
    metadata,
    text("workspace"),
    text("host"),
    sa.Column("seen_at", sa.Float, nullable=False),
    sa.Column("owner", sa.JSON, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
    sa.PrimaryKeyConstraint("workspace", "host"),
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    text("workspace"),
    text("scope"),
    text("subject"),
    text("occasion"),
    text("channel"),
    text("target"),
    text("state"),
    text("problem"),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("taken_at", sa.Float),
    sa.UniqueConstraint(
        *("workspace", "scope", "subject", "occasion", "channel", "target"), name="notices_once"
    ),
)

OF_RUNS = tuple(table for table in metadata.sorted_tables if "run_id" in table.c)
"""The tables whose rows each belong to a run."""

FOLDED = tuple(table for table in OF_RUNS if table is not tags)
"""Those whose rows are folded from journals; a tag is what people call a run."""
