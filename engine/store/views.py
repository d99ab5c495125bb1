"""The views: the public interface of those who query the database themselves.

They hold no data, so they are no part of the migrations' history: each migration drops them, changes the
tables and makes them anew. A change of a view therefore needs a migration too, be it an empty one, and a
note in the changelog.
"""

from __future__ import annotations

import sqlalchemy as sa

_WHOSE = """
    FROM {table} AS s
    JOIN runs AS r ON r.id = s.run_id
    JOIN experiments AS x ON x.id = r.experiment_id
"""

_CRF = """
            s.iterations, s.gaussian_weight, s.gaussian_sigma,
            s.bilateral_weight, s.bilateral_sigma_xy, s.bilateral_sigma_rgb"""

_SQLITE = {
    "leaderboard": """
        SELECT
            r.id AS run, r.name, x.name AS experiment, r.task, r.recipe, r.status, r.cause, r.message,
            r.best_dice, r.best_epoch,
            (SELECT e.loss FROM epochs AS e
                WHERE e.run_id = r.id AND e.split = 'val' AND e.epoch = r.best_epoch) AS best_val_loss,
            r.best_train_dice, r.best_miou,
            (SELECT m.value FROM metrics AS m
                WHERE m.run_id = r.id AND m.metric = 'critical_recall' AND m.class_name = ''
                AND ((r.source <> '' AND m.measured = 'result')
                    OR (r.source = '' AND m.measured = 'epoch' AND m.split = 'val'
                        AND m.epoch = r.best_epoch))
                ORDER BY m.seq DESC LIMIT 1) AS critical_recall,
            r.last_dice, r.last_train_dice, r.last_miou, r.last_loss, r.last_val_loss,
            r.epoch, r.epochs, r.budget_used, r.attempt, r.seed,
            r.parameters, r.flops_per_sample, r.peak_memory_bytes,
            r.achieved_flops, r.ceiling_flops, r.first_step_seconds,
            r.train_images, r.val_images, r.host, r.device_name, r.precision,
            r.created_at, r.started_at, r.ended_at,
            coalesce((SELECT group_concat(t.tag, ',') FROM tags AS t WHERE t.run_id = r.id), '') AS tags,
            r.note, r.config, r.workspace, r.archived, r.protected, r.trial,
            r.device_seconds / 3600.0 AS device_hours, r.gpu_joules / 3.6e6 AS gpu_kwh,
            r.cpu_joules / 3.6e6 AS cpu_kwh, r.disk_bytes, r.attempts_measured
        FROM runs AS r JOIN experiments AS x ON x.id = r.experiment_id
    """,
    "epoch_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, s.epoch, s.split, s.attempt, s.t,
            s.loss, s.dice, s.dice_image, s.miou, s.pixel_accuracy, s.lr, s.seconds,
            s.images_per_second, s.data_wait, s.peak_memory_bytes, s.budget_used, s.joules
        {_WHOSE.format(table="epochs")}
    """,
    # json_each for the IoU too, not a JSON path made of the class's name: a path cannot hold every name.
    "class_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, s.epoch, s.split, d.key AS class, d.value AS dice,
            (SELECT i.value FROM json_each(s.class_iou) AS i WHERE i.key = d.key) AS iou
        {_WHOSE.format(table="epochs")}
        JOIN json_each(s.class_dice) AS d
    """,
    "evaluations": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, s.split, s.at, s.epoch, s.t, s.images, s.dice,
            s.dice_image, s.miou, s.pixel_accuracy, s.class_dice, s.class_iou, s.confusion,
            coalesce(nullif(r.source, ''), r.id) AS source, s.checkpoint, s.label_resize, s.tta, s.parameters,
            s.flops_per_sample, s.latency_seconds, s.latency_p95_seconds, s.frames_per_second,
            s.crf, s.window_size, s.window_stride
        {_WHOSE.format(table="results")}
    """,
    "image_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.image, s.split, s.at,
            s.dice, s.miou, s.pixel_accuracy, s.valid_pixels, s.class_dice
        {_WHOSE.format(table="images")}
    """,
    "ood_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.level, s.score, s.t,
            s.positives, s.negatives, s.auroc, s.average_precision, s.fpr95, s.error,
            s.threshold, s.rejected_in, s.rejected_out,
            s.component_f1, s.best_component_f1, s.best_threshold, s.aurc, s.risk_coverage,
            s.window_size, s.window_stride
        {_WHOSE.format(table="ood_results")}
    """,
    "image_decisions": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.origin, s.image, s.out, s.dice,
            v.key AS score, v.value AS value,
            (SELECT i.value FROM json_each(s.include) AS i WHERE i.key = v.key) AS include
        {_WHOSE.format(table="ood_images")}
        JOIN json_each(s.scores) AS v
    """,
    "metric_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, coalesce(nullif(r.source, ''), r.id) AS source,
            s.metric, s.measured, s.split, s.at, s.epoch, s.class_name AS class, s.value,
            s.unit, s.low, s.high, s.better
        {_WHOSE.format(table="metrics")}
    """,
    "crf_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, r.task, s.split, s.at, s.corruption,
            s.strength, s.images, {_CRF}, s.searched, s.timed, s.seconds, s.p95_seconds,
            s.dice_before, s.dice_after, s.dice_image_before, s.dice_image_after,
            s.miou_before, s.miou_after, s.pixel_accuracy_before, s.pixel_accuracy_after
        {_WHOSE.format(table="crf_results")}
    """,
    "crf_class_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.split, s.at, s.corruption, s.strength,
            a.key AS class,
            (SELECT o.value FROM json_each(s.class_dice_before) AS o WHERE o.key = a.key) AS dice_before,
            a.value AS dice_after,
            (SELECT o.value FROM json_each(s.class_iou_before) AS o WHERE o.key = a.key) AS iou_before,
            (SELECT o.value FROM json_each(s.class_iou_after) AS o WHERE o.key = a.key) AS iou_after
        {_WHOSE.format(table="crf_results")}
        JOIN json_each(s.class_dice_after) AS a
    """,
    "crf_search_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.trial, s.kind, s.t, {_CRF},
            s.miou, s.dice, s.pixel_accuracy, s.class_iou, s.seconds
        {_WHOSE.format(table="crf_trials")}
    """,
    "latency_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.number, s.t, s.protocol, s.runtime,
            s.precision, s.compiled, s.height, s.width, s.passes, s.median_seconds, s.p95_seconds,
            s.p99_seconds, s.mean_seconds, s.frames_per_second, s.device, s.device_name, s.threads, s.file,
            s.problem
        {_WHOSE.format(table="latencies")}
    """,
    "robustness_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.split, s.corruption, s.strength,
            s.images, s.dice, s.dice_image, s.miou, s.pixel_accuracy, s.window_size, s.window_stride
        {_WHOSE.format(table="corruptions")}
    """,
    "environment_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.environment, s.kind, s.root, s.layout,
            s.corruption, s.strength, s.split, s.images, s.dice, s.dice_image, s.miou, s.pixel_accuracy,
            s.dice_difference, s.dice_low, s.dice_high, s.miou_difference, s.miou_low, s.miou_high,
            s.class_dice, s.class_iou, s.never_labelled, s.merged, s.window_size, s.window_stride
        {_WHOSE.format(table="environments")}
    """,
}

_POSTGRESQL = _SQLITE | {
    "leaderboard": _SQLITE["leaderboard"].replace(
        "group_concat(t.tag, ',')", "string_agg(t.tag, ',' ORDER BY t.tag)"
    ),
    "class_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, s.epoch, s.split, d.key AS class,
            CAST(d.value AS double precision) AS dice,
            CAST(s.class_iou ->> d.key AS double precision) AS iou
        {_WHOSE.format(table="epochs")}
        CROSS JOIN json_each_text(s.class_dice) AS d
    """,
    "image_decisions": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.origin, s.image, s.out, s.dice,
            v.key AS score, CAST(v.value AS double precision) AS value,
            CAST(s.include ->> v.key AS boolean) AS include
        {_WHOSE.format(table="ood_images")}
        CROSS JOIN json_each_text(s.scores) AS v
    """,
    "crf_class_scores": f"""
        SELECT
            s.run_id AS run, r.name, x.name AS experiment, r.source, s.split, s.at, s.corruption, s.strength,
            a.key AS class,
            CAST(s.class_dice_before ->> a.key AS double precision) AS dice_before,
            CAST(a.value AS double precision) AS dice_after,
            CAST(s.class_iou_before ->> a.key AS double precision) AS iou_before,
            CAST(s.class_iou_after ->> a.key AS double precision) AS iou_after
        {_WHOSE.format(table="crf_results")}
        CROSS JOIN json_each_text(s.class_dice_after) AS a
    """,
}

VIEWS = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}
"""Dialect -> name of the view -> its SELECT."""


def drop_views(connection: sa.Connection) -> None:
    for name in VIEWS[connection.dialect.name]:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")


def create_views(connection: sa.Connection) -> None:
    for name, select in VIEWS[connection.dialect.name].items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {select}")
