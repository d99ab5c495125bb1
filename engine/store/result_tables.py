"""The tables of what was measured of networks: evaluations, images, out-of-distribution scores and so on; as
in `engine.store.schema`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.store.columns import metadata, run_id, scores, text, windows

results = sa.Table(
    "results",
    metadata,
    run_id(),
    text("split"),
    text("at"),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    *scores(),
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
    *windows(),
    sa.PrimaryKeyConstraint("run_id", "split", "at", "epoch"),
)

images = sa.Table(
    "images",
    metadata,
    run_id(),
    text("split"),
    text("at"),
    text("image"),
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
    run_id(),
    text("level"),
    text("score"),
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
    *windows(),
    sa.PrimaryKeyConstraint("run_id", "level", "score"),
)

ood_images = sa.Table(
    "ood_images",
    metadata,
    run_id(),
    text("origin"),
    text("image"),
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
    run_id(),
    text("measured"),
    text("split"),
    text("at"),
    sa.Column("epoch", sa.Integer, nullable=False),
    text("metric"),
    text("class_name"),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("value", sa.Float),
    text("unit"),
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
    text("better"),
    sa.PrimaryKeyConstraint("run_id", "measured", "split", "at", "epoch", "metric", "class_name"),
)

corruptions = sa.Table(
    "corruptions",
    metadata,
    run_id(),
    text("split"),
    text("corruption"),
    sa.Column("strength", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    *scores(),
    *windows(),
    sa.PrimaryKeyConstraint("run_id", "split", "corruption", "strength"),
)

environments = sa.Table(
    "environments",
    metadata,
    run_id(),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    text("environment"),
    text("kind"),
    text("root"),
    text("layout"),
    text("corruption"),
    sa.Column("strength", sa.Integer, nullable=False),
    text("split"),
    sa.Column("images", sa.Integer, nullable=False),
    *scores(),
    sa.Column("class_dice", sa.JSON, nullable=False),
    sa.Column("class_iou", sa.JSON, nullable=False),
    *(
        sa.Column(f"{measure}_{field}", sa.Float)
        for measure in ("dice", "miou")
        for field in ("difference", "low", "high")
    ),
    sa.Column("never_labelled", sa.JSON, nullable=False),
    text("merged"),
    *windows(),
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
    run_id(),
    text("split"),
    text("at"),
    text("corruption"),
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
    run_id(),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    text("kind"),
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
    run_id(),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("t", sa.Float, nullable=False),
    text("protocol"),
    text("runtime"),
    text("precision"),
    sa.Column("compiled", sa.Boolean, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("passes", sa.Integer, nullable=False),
    sa.Column("median_seconds", sa.Float),
    sa.Column("p95_seconds", sa.Float),
    sa.Column("p99_seconds", sa.Float),
    sa.Column("mean_seconds", sa.Float),
    sa.Column("frames_per_second", sa.Float),
    text("device"),
    text("device_name"),
    sa.Column("threads", sa.Integer, nullable=False),
    text("file"),
    text("problem"),
    sa.PrimaryKeyConstraint("run_id", "number"),
)
