"""What `evaluate --require` can be told, and how it judges."""

from __future__ import annotations

import pytest

from engine.config.keys import ConfigError
from engine.requests.requirements import Known, scores_of
from engine.store import EvaluationRow, MetricRow

CLASSES = ("road", "traffic light", "person")
KNOWN = Known(CLASSES, ("person",), boundary=False)


def evaluated() -> EvaluationRow:
    return EvaluationRow(
        run_id="r",
        source="",
        seq=0,
        t=0.0,
        split="val",
        at="input",
        epoch=1,
        images=1,
        dice=0.7,
        dice_image=0.6,
        miou=0.5,
        pixel_accuracy=0.9,
        class_dice={"road": 0.9, "traffic light": None, "person": 0.5},
        class_iou={"road": 0.8, "traffic light": None, "person": 0.4},
        confusion=[[90, 0, 10, 0], [0, 0, 0, 0], [25, 0, 70, 5]],
        checkpoint="",
        label_resize="",
        tta="",
        parameters=None,
        flops_per_sample=None,
        latency_seconds=0.01,
        latency_p95_seconds=0.02,
        frames_per_second=100.0,
        crf="",
    )


def metric(name: str, class_name: str, value: float) -> MetricRow:
    return MetricRow("r", "", 0, "result", "val", "input", 1, name, class_name, value, "", 0.0, 1.0, "higher")


@pytest.mark.parametrize(
    ("text", "met", "told"),
    [
        ("person.recall>=0.7", True, "required person.recall >= 0.7: 0.7, met"),
        ("person.recall > 0.7", False, "required person.recall > 0.7: 0.7, not met"),
        ("person.precision>=0.9", False, "required person.precision >= 0.9: 0.875, not met"),
        ("dice<=0.7", True, "required dice <= 0.7: 0.7, met"),
        ("road.iou>=.75", True, "required road.iou >= 0.75: 0.8, met"),
        ("frames_per_second>=200", False, "required frames_per_second >= 200: 100, not met"),
        ("person.instance_recall_small>=0.2", True, "required person.instance_recall_small >= 0.2"),
        ("traffic light.recall>=0", False, "required traffic light.recall >= 0: undefined"),
        ("person.iiou>=0", False, "required person.iiou >= 0: undefined"),
    ],
)
def test_a_score_keeps_its_bound_or_does_not(text: str, met: bool, told: str) -> None:
    (requirement,) = KNOWN.requirements([text])
    scores = scores_of(evaluated(), [metric("instance_recall_small", "person", 0.25)])
    assert requirement.met(scores) is met
    assert requirement.told(scores).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("persn.recall>=0.9", "there is no score persn.recall; did you mean person.recall?"),
        ("dise>=0.9", "there is no score dise; did you mean dice?"),
        ("person.recall", "needs a bound"),
        ("person.recall>=much", "much is no number"),
        ("person.recall>=nan", "person.recall is from 0 to 1"),
        ("person.recall>=90", "person.recall is from 0 to 1"),
        ("boundary_iou>=0.5", "boundaries are scored with --boundary"),
        ("road.instance_recall>=0.5", "there is no score road.instance_recall; did you mean "),
    ],
)
def test_what_cannot_be_judged_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        KNOWN.requirements([text, "miou>=0.1"])
    (problem,) = refused.value.problems
    assert problem.startswith(f"--require {text}: {told}")


def test_instances_need_a_critical_class() -> None:
    with pytest.raises(ConfigError, match="--critical NAMES names some"):
        Known(CLASSES, (), boundary=True).requirements(["instance_recall>=0.5"])
    assert Known(CLASSES, (), boundary=True).requirements(["person.boundary_f_3px>=0.5"])
