"""The peers of benchmarks/peers mean the engine's Dice, and their figures are what they are called."""

from __future__ import annotations

import pytest
import torch

from benchmarks.peers import plain, torchvision_reference
from benchmarks.peers.protocol import Passed, Record, read_record, write_record
from benchmarks.peers.report import seconds_to
from engine.classes import VOID
from engine.metrics.confusion import ConfusionSum

CLASSES = 5


@pytest.fixture
def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Predictions and labels with void; class 3 is only predicted, class 4 is nowhere."""
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for images in (3, 3, 1):
        prediction = torch.randint(0, 4, (images, 16, 24), generator=generator)
        target = torch.randint(0, 3, (images, 16, 24), generator=generator)
        target[torch.rand(target.shape, generator=generator) < 0.2] = VOID
        pairs.append((prediction, target))
    return pairs


@pytest.mark.parametrize("peer", [plain, torchvision_reference])
def test_a_peer_s_dice_is_the_engine_s(peer, batches):
    total = ConfusionSum(CLASSES)
    for prediction, target in batches:
        total.update(prediction, target)
    expected = total.compute().dice
    assert expected is not None
    assert 0.1 < expected < 0.9
    assert peer.dice(batches, CLASSES) == pytest.approx(expected, abs=1e-12)


def test_time_to_a_dice_lies_on_the_line_between_two_epochs():
    epochs = [Passed(10.0, 1, 8, 0.2, 9.0), Passed(20.0, 2, 16, 0.1, 9.0), Passed(30.0, 3, 24, 0.5, 9.0)]
    assert seconds_to(0.1, epochs) == pytest.approx(5.0)  # from 0 at the start
    assert seconds_to(0.2, epochs) == pytest.approx(10.0)
    assert seconds_to(0.3, epochs) == pytest.approx(25.0)  # a dip on the way delays it
    with pytest.raises(ValueError, match="above"):
        seconds_to(0.6, epochs)


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = Record("bf16", 1.7e9, [Passed(1.5, 1, 48, 0.25, 1.25)])
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
