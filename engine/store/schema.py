"""The tables as SQLAlchemy Core objects: what the queries are written with.

The tables are made by the migrations; a test keeps both equal. `docs/database.md` says what each column
means. All times are UTC seconds.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.store.dialects import NextChange

metadata = sa.MetaData()


def _text(name: str) -> sa.Column[str]:
    """Text that is empty, never NULL, where there is none."""
    return sa.Column(name, sa.Text, nullable=False)


def _run_id() -> sa.Column[str]:
    return sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False)


def _scores() -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Float) for name in ("dice", "dice_image", "miou", "pixel_accuracy")]


def _windows() -> list[sa.Column[str]]:
    """Of sliding windows; "" for whole images."""
    names = ("window_size", "window_stride")
    return [sa.Column(name, sa.Text, nullable=False, server_default="") for name in names]


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
    _text("name"),
    _text("task"),
    _text("recipe"),
    _text("status"),
    _text("cause"),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("queued_at", sa.Float),
    sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("attempt", sa.Integer, nullable=False),
    _text("host"),
    sa.Column("pid", sa.Integer),
    _text("device"),
    _text("device_name"),
    _text("precision"),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    _text("phase"),
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
    _text("message"),
    _text("note"),
    sa.Column("classes", sa.JSON, nullable=False),
    sa.Column("colors", sa.JSON, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    _text("traceback"),
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
    _run_id(),
    sa.Column("tag", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "tag"),
    sa.Index("tags_by_tag", "tag"),
)

epochs = sa.Table(
    "epochs",
    metadata,
    _run_id(),
    _text("split"),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    sa.Column("loss", sa.Float),
    *_scores(),
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
    _run_id(),
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
    _run_id(),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    _text("event"),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "seq"),
)

results = sa.Table(
    "results",
    metadata,
    _run_id(),
    _text("split"),
    _text("at"),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    *_scores(),
    sa.Column("class_dice", sa.JSON, nullable=False),
    sa.Column("class_iou", sa.JSON, nullable=False),
    sa.Column("confusion", sa.JSON, nullable=False),
    sa.Column("checkpoint", sa.Text, nullable=False, server_default=""),
    sa.Column("label_resize", sa.Text, nullable=False, server_default=""),
    sa.Column("tta", sa.Text, nullable=False, server_default=""),
    sa.Column("parameters", sa.BigInteger),
    sa.Column("flops_per_sample", sa.BigInteger),
    sa.Column("latency_seconds", sa.Float),
    sa.Column("latency_p95_seconds", sa.Float),
    sa.Column("frames_per_second", sa.Float),
    sa.Column("crf", sa.Text, nullable=False, server_default=""),
    *_windows(),
    sa.PrimaryKeyConstraint("run_id", "split", "at", "epoch"),
)

images = sa.Table(
    "images",
    metadata,
    _run_id(),
    _text("split"),
    _text("at"),
    _text("image"),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("dice", sa.Float),
    sa.Column("miou", sa.Float),
    sa.Column("pixel_accuracy", sa.Float),
    sa.Column("valid_pixels", sa.BigInteger, nullable=False),
    sa.Column("class_dice", sa.JSON, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "split", "at", "image"),
    sa.Index("images_by_dice", "run_id", "dice"),
)

ood_results = sa.Table(
    "ood_results",
    metadata,
    _run_id(),
    _text("level"),
    _text("score"),
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
    *_windows(),
    sa.PrimaryKeyConstraint("run_id", "level", "score"),
)

ood_images = sa.Table(
    "ood_images",
    metadata,
    _run_id(),
    _text("origin"),
    _text("image"),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("out", sa.Boolean, nullable=False),
    sa.Column("dice", sa.Float),
    sa.Column("scores", sa.JSON, nullable=False),
    sa.Column("include", sa.JSON, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "origin", "image"),
)

metrics = sa.Table(
    "metrics",
    metadata,
    _run_id(),
    _text("measured"),
    _text("split"),
    _text("at"),
    sa.Column("epoch", sa.Integer, nullable=False),
    _text("metric"),
    _text("class_name"),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("value", sa.Float),
    _text("unit"),
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
    _text("better"),
    sa.PrimaryKeyConstraint("run_id", "measured", "split", "at", "epoch", "metric", "class_name"),
)

corruptions = sa.Table(
    "corruptions",
    metadata,
    _run_id(),
    _text("split"),
    _text("corruption"),
    sa.Column("strength", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    *_scores(),
    *_windows(),
    sa.PrimaryKeyConstraint("run_id", "split", "corruption", "strength"),
)

environments = sa.Table(
    "environments",
    metadata,
    _run_id(),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    _text("environment"),
    _text("kind"),
    _text("root"),
    _text("layout"),
    _text("corruption"),
    sa.Column("strength", sa.Integer, nullable=False),
    _text("split"),
    sa.Column("images", sa.Integer, nullable=False),
    *_scores(),
    sa.Column("class_dice", sa.JSON, nullable=False),
    sa.Column("class_iou", sa.JSON, nullable=False),
    *(
        sa.Column(f"{measure}_{field}", sa.Float)
        for measure in ("dice", "miou")
        for field in ("difference", "low", "high")
    ),
    sa.Column("never_labelled", sa.JSON, nullable=False),
    _text("merged"),
    *_windows(),
    sa.PrimaryKeyConstraint("run_id", "place"),
)


def _crf_parameters() -> list[sa.Column[float]]:
    """NULL for a trial without a CRF."""
    weights_and_widths = (
        *("gaussian_weight", "gaussian_sigma"),
        *("bilateral_weight", "bilateral_sigma_xy", "bilateral_sigma_rgb"),
    )
    return [sa.Column("iterations", sa.Integer), *(sa.Column(name, sa.Float) for name in weights_and_widths)]


def _before_and_after(name: str, kind: Any) -> list[sa.Column[Any]]:
    return [sa.Column(f"{name}_{when}", kind) for when in ("before", "after")]


crf_results = sa.Table(
    "crf_results",
    metadata,
    _run_id(),
    _text("split"),
    _text("at"),
    _text("corruption"),
    sa.Column("strength", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    *_crf_parameters(),
    sa.Column("searched", sa.Boolean, nullable=False),
    sa.Column("timed", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("p95_seconds", sa.Float),
    *_before_and_after("dice", sa.Float),
    *_before_and_after("dice_image", sa.Float),
    *_before_and_after("miou", sa.Float),
    *_before_and_after("pixel_accuracy", sa.Float),
    *_before_and_after("class_dice", sa.JSON(none_as_null=True)),
    *_before_and_after("class_iou", sa.JSON(none_as_null=True)),
    sa.PrimaryKeyConstraint("run_id", "split", "at", "corruption", "strength"),
)

crf_trials = sa.Table(
    "crf_trials",
    metadata,
    _run_id(),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    _text("kind"),
    *_crf_parameters(),
    sa.Column("miou", sa.Float),
    sa.Column("dice", sa.Float),
    sa.Column("pixel_accuracy", sa.Float),
    sa.Column("class_iou", sa.JSON, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "trial"),
)

latencies = sa.Table(
    "latencies",
    metadata,
    _run_id(),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    _text("protocol"),
    _text("runtime"),
    _text("precision"),
    sa.Column("compiled", sa.Boolean, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("passes", sa.Integer, nullable=False),
    sa.Column("median_seconds", sa.Float),
    sa.Column("p95_seconds", sa.Float),
    sa.Column("p99_seconds", sa.Float),
    sa.Column("mean_seconds", sa.Float),
    sa.Column("frames_per_second", sa.Float),
    _text("device"),
    _text("device_name"),
    sa.Column("threads", sa.Integer, nullable=False),
    _text("file"),
    _text("problem"),
    sa.PrimaryKeyConstraint("run_id", "number"),
)

agents = sa.Table(
    "agents",
    metadata,
    _text("workspace"),
    _text("host"),
    sa.Column("seen_at", sa.Float, nullable=False),
    sa.Column("owner", sa.JSON, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
    sa.PrimaryKeyConstraint("workspace", "host"),
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _text("workspace"),
    _text("scope"),
    _text("subject"),
    _text("occasion"),
    _text("channel"),
    _text("target"),
    _text("state"),
    _text("problem"),
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
