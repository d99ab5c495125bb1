"""Numbers that are measured of a network, as names by which runs are filtered, sorted and told apart.

    dice.CLASS, iou.CLASS            of a class, at the best epoch; of an evaluation on what it scored
    evaluate.dice, evaluate.dice.CLASS
                                     and iou, dice_image, miou, pixel_accuracy: of the newest evaluation
    ood.auroc, ood.energy.auroc      and average_precision, fpr95, component_f1, aurc: best or of one score
    robustness.dice, robustness.fog  Dice where corruptions are strongest: the mean, or of one
    latency.frames_per_second        and median_seconds, p95_seconds: of the first measurement
    metric.NAME, metric.NAME.CLASS   of metrics such as boundary_iou

They are those of the newest run that measured the network of a run that learns, else the run's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from engine.store.dialects import NumberInJson
from engine.store.result_tables import corruptions, latencies, metrics, ood_results, results
from engine.store.schema import epochs, runs
from engine.tasks.robustness import HARDEST

Element = sa.ColumnElement[Any]

SCORES = ("dice", "dice_image", "miou", "pixel_accuracy")
OOD = ("auroc", "average_precision", "fpr95", "component_f1", "aurc")
LATENCY = ("frames_per_second", "median_seconds", "p95_seconds")

EXAMPLES = (
    "dice.CLASS",
    "iou.CLASS",
    *(f"evaluate.{name}" for name in SCORES),
    *(f"ood.{name}" for name in OOD),
    "robustness.dice",
    *(f"latency.{name}" for name in LATENCY),
    "metric.NAME",
)
"""What there is, for whoever asks."""

_BARE = re.compile(r"boundary_\w+|trimap_\w+")
"""Metrics that go without `metric.`."""

_other = runs.alias("measuring")


def measured(name: str) -> Element | None:
    """What a name stands for within a select of runs; None where it is no such name."""
    if _BARE.fullmatch(name):
        name = f"metric.{name}"
    kind, _, rest = name.partition(".")
    makers: dict[str, Callable[[str], Element | None]] = {
        "dice": lambda rest: _of_class("class_dice", rest),
        "iou": lambda rest: _of_class("class_iou", rest),
        "evaluate": _evaluation,
        "ood": _ood,
        "robustness": _robustness,
        "latency": _latency,
        "metric": _metric,
    }
    return makers[kind](rest) if rest and kind in makers else None


def is_share(name: str) -> bool:
    """Whether all values are from 0 to 1."""
    return not name.startswith(("latency.", "metric.", "boundary_", "trimap_"))


def _newest(value: Element, table: sa.Table, order: Sequence[Element], *where: Any) -> Element:
    """The first value by `order` of the newest run that looked at the run's network, else of itself."""
    own = sa.select(value).where(table.c.run_id == runs.c.id, value.is_not(None), *where)
    found = sa.select(value).join_from(table, _other, _other.c.id == table.c.run_id)
    found = found.where(_other.c.source == runs.c.id, value.is_not(None), *where)
    newest = found.order_by(_other.c.created_at.desc(), *order).limit(1)
    return sa.func.coalesce(
        newest.correlate(runs).scalar_subquery(),
        own.order_by(*order).limit(1).correlate(runs).scalar_subquery(),
    )


def _of_class(field: str, name: str) -> Element:
    at_best = sa.select(NumberInJson(epochs.c[field][name])).where(
        epochs.c.run_id == runs.c.id, epochs.c.split == "val", epochs.c.epoch == runs.c.best_epoch
    )
    own = sa.select(NumberInJson(results.c[field][name])).where(results.c.run_id == runs.c.id)
    own = own.order_by(results.c.seq.desc()).limit(1)
    # A run that learns may have a result of its own, which is of its last checkpoint.
    return sa.case(
        (runs.c.source == "", at_best.correlate(runs).scalar_subquery()),
        else_=own.correlate(runs).scalar_subquery(),
    )


def _evaluation(rest: str) -> Element | None:
    field, _, name = rest.partition(".")
    if name and field in ("dice", "iou"):
        value: Element = NumberInJson(results.c[f"class_{field}"][name])
    elif field in SCORES and not name:
        value = results.c[field]
    else:
        return None
    return _newest(value, results, [results.c.seq.desc()])


def _ood(rest: str) -> Element | None:
    score, _, field = rest.rpartition(".")
    if field not in OOD:
        return None
    o = ood_results.c
    pixels_first = sa.case((o.level == "pixel", 0), else_=1)
    where = [o.score == score] if score else []
    return _newest(o[field], ood_results, [pixels_first, o.auroc.desc(), o.seq], *where)


def _robustness(rest: str) -> Element | None:
    if "." in rest:
        return None
    c = corruptions.c
    hardest = c.strength == HARDEST
    if rest not in SCORES:
        return _newest(c.dice, corruptions, [c.seq], hardest, c.corruption == rest)
    own = sa.select(sa.func.avg(c[rest])).where(c.run_id == runs.c.id, hardest)
    newest = (
        sa.select(_other.c.id)
        .where(_other.c.source == runs.c.id, _other.c.task == "robustness", _other.c.status == "finished")
        .order_by(_other.c.created_at.desc())
        .limit(1)
        .correlate(runs)
        .scalar_subquery()
    )
    found = sa.select(sa.func.avg(c[rest])).where(c.run_id == newest, hardest)
    return sa.func.coalesce(own.correlate(runs).scalar_subquery(), found.correlate(runs).scalar_subquery())


def _latency(rest: str) -> Element | None:
    if rest not in LATENCY:
        return None
    return _newest(latencies.c[rest], latencies, [latencies.c.number])


def _metric(rest: str) -> Element:
    name, _, class_name = rest.partition(".")
    m = metrics.c
    where = [m.metric == name, m.class_name == class_name]
    at_best = sa.and_(m.measured == "epoch", m.split == "val", m.epoch == runs.c.best_epoch)
    own = sa.select(m.value).where(m.run_id == runs.c.id, m.value.is_not(None), *where)
    # What an epoch measured counts at the best one only; what was measured at last comes before it.
    own = own.where(sa.or_(m.measured == "result", at_best)).order_by(m.seq.desc()).limit(1)
    found = sa.select(m.value).join_from(metrics, _other, _other.c.id == m.run_id)
    found = found.where(_other.c.source == runs.c.id, m.value.is_not(None), *where)
    newest = found.order_by(_other.c.created_at.desc(), m.seq.desc()).limit(1)
    return sa.func.coalesce(newest.correlate(runs).scalar_subquery(), own.correlate(runs).scalar_subquery())
