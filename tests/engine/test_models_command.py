"""`seg-engine models`: what it lists, and what it counts."""

from __future__ import annotations

import json

import pytest

from engine.models.sizes import sizes
from engine.models.smp.encoders import encoders
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import finished_journal


def test_everything_is_listed_by_words_of_its_name(seg: Command) -> None:
    everything = json.loads(seg("models --json").out)
    kinds = [each["kind"] for each in everything]
    assert kinds.count("encoder") == len(encoders())
    assert kinds.count("architecture") == len(sizes())
    assert all(each["exact"] for each in everything)
    assert [each["name"] for each in json.loads(seg("models RESNET 101 torchvision --json").out)] == [
        "torchvision deeplabv3_resnet101",
        "torchvision fcn_resnet101",
    ]
    table = seg("models mit_b0")
    assert "nvidia-noncommercial" in table.out
    assert "3,319,392" in table.out
    assert "nothing matches" in seg("models no-such-thing").err


def test_a_long_list_is_cut_and_says_so(seg: Command) -> None:
    done = seg("models resnet --limit 3")
    assert "3 of " in done.err
    assert "--limit 0 shows all" in done.err
    assert done.out.count("\n") < 40


def test_arithmetic_at_another_size_is_counted_where_networks_are_few(seg: Command) -> None:
    (found,) = json.loads(seg("models lraspp --size 128x256 --json").out)
    assert (found["params"], found["exact"], found["size"]) == (3_221_198, True, [128, 256])
    usual = sizes()["torchvision lraspp_mobilenet_v3_large"].gflops
    assert found["gflops"] == pytest.approx(usual / 4, rel=0.02)
    assert "~" in seg("models mit_b0 --size 128x256").out, "an encoder's arithmetic is scaled by area"
    refused = seg("models --size big")
    assert refused.status == 2
    assert "--size: 'big' is not HEIGHTxWIDTH, such as 256x512" in refused.err


def test_the_fastest_training_of_the_workspace_is_named(workspace: Workspace, seg: Command) -> None:
    assert not any(each["measured"] for each in json.loads(seg("models --json").out))
    import_made_up_run(workspace, "aaaa1111", finished_journal(), name="good")
    (found,) = (each for each in json.loads(seg("models --json").out) if each["measured"])
    assert found["name"] == "unet"
    assert " img/s at " in found["measured"]
