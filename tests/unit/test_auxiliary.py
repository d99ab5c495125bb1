"""A network with an auxiliary head, from a file of its own: what the head does in training, and what not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.components.origin import ComponentError
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.batches import Batch, ResidentBatches, normalise
from engine.learning.distributed import Group
from engine.learning.hardware import choose_hardware
from engine.learning.latency import measure_latency
from engine.losses.builtin import LOSSES
from engine.models import MODELS
from engine.plugins import load_plugin
from engine.run.directory import RunDir
from engine.store.variant import variant_of
from engine.training.loop import train_epoch
from engine.training.saving import find_resumption, restore, save
from engine.training.state import TrainState, new_state
from engine.training.step import training_step
from engine.training.validate import score_split
from engine.worker.job import Job, StopRequested

CLASSES = ["ground", "thing", "other"]
IMAGES, SIZE = 5, 16
PLUGIN = '''
from typing import ClassVar, Literal

from engine import models
from engine.components import option


@models.register
class HelpedConfig(models.ModelSection):
    """Two layers, the first of which has a head of its own, at a quarter of the size."""

    stride: ClassVar[int] = 4
    name: Literal["helped"] = option("helped", "Architecture")

    def build(self, inputs, outputs):
        from torch import nn

        from engine.models.contract import Outputs, SegmentationNetwork

        class Helped(SegmentationNetwork):
            head_names = ("head", "helper")

            def __init__(network):
                super().__init__()
                network.encode = nn.Conv2d(inputs, 8, 4, 4)
                network.helper = nn.Conv2d(8, outputs, 1)
                network.head = nn.ConvTranspose2d(8, outputs, 4, 4)

            def forward(network, images):
                encoded = network.encode(images)
                return Outputs(network.head(encoded.relu()), (network.helper(encoded),))

            def bottleneck(network):
                return network.encode

        return Helped()
'''


@pytest.fixture(autouse=True)
def helped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("engine.plugins._plugins", {})  # no other test's configs are to name the file
    file = tmp_path / "helped.py"
    file.write_text(PLUGIN)
    load_plugin(file)
    yield
    del MODELS._sections["helped"], MODELS._origins["helped"]
    MODELS._changed()


def config_of(**values: object) -> RunConfig:
    base = {
        "model.name": "helped",
        "data.size": f"{SIZE}x{SIZE}",
        "batch_size": IMAGES,
        "epochs": 2,
        "device": "cpu",
        "precision": "fp32",
        "optimizer.name": "sgd",
        "optimizer.lr": 0.1,
        "augment.flip": 0,
    }
    changes = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(get_recipe("quick"), base | changes)


def pixels() -> Batch:
    """Images and labels, of no two images as many void."""
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, SIZE, SIZE)
    images = torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, len(CLASSES), shape, generator=generator, dtype=torch.uint8)
    for index in range(IMAGES):
        labels[index, : SIZE * index // IMAGES] = 255
    return Batch(images, labels)


def state_of(config: RunConfig) -> TrainState:
    state = new_state(config, choose_hardware(config), CLASSES if config.needs_labels else [])
    state.begin_epoch(IMAGES)
    return state


def gradients(state: TrainState) -> dict[str, Tensor]:
    return {name: p.grad for name, p in state.model.named_parameters() if p.grad is not None}


def gradients_after_a_step(**values: object) -> dict[str, Tensor]:
    state = state_of(config_of(**values))
    training_step(state, pixels(), IMAGES)
    return gradients(state)


@pytest.mark.parametrize("weight", [0.4, 2.0])
def test_training_minimises_the_weighted_loss_of_the_resized_auxiliary_logits(weight: float) -> None:
    model = state_of(config_of()).model
    batch = pixels()
    outputs = model(normalise(batch.images))
    (small,) = outputs.auxiliary
    assert small.shape == (IMAGES, len(CLASSES), SIZE // 4, SIZE // 4)
    full = functional.interpolate(small, (SIZE, SIZE), mode="bilinear")
    labels = batch.labels.long()
    losses = [functional.cross_entropy(each, labels, ignore_index=255) for each in (outputs.logits, full)]
    (losses[0] + weight * losses[1]).backward()
    trained = gradients_after_a_step(loss__auxiliary=weight)
    assert trained.keys() == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(trained[name], parameter.grad, msg=name)


def test_a_weight_of_0_leaves_the_head_out_and_so_does_pretraining() -> None:
    for values in ({"loss.auxiliary": 0}, {"task": "pretrain"}):
        trained = gradients_after_a_step(**values)
        # Not none: ranks share the gradients of all parameters.
        assert not trained["helper.weight"].any()
        assert trained["encode.weight"].any()


@pytest.mark.parametrize(("ranks", "micro_batch"), [(1, 2), (2, 0), (3, 1)])
def test_micro_batches_and_ranks_learn_from_the_heads_what_one_pass_does(
    ranks: int, micro_batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = gradients_after_a_step()
    batch = pixels()
    monkeypatch.setattr(Group, "total", lambda group, tensor: tensor.fill_(int((batch.labels != 255).sum())))
    summed = {name: torch.zeros_like(gradient) for name, gradient in expected.items()}
    for rank in range(ranks):
        group = Group(rank, ranks)
        first, local = group.place(IMAGES)
        part = Batch(batch.images[first : first + local], batch.labels[first : first + local])
        state = state_of(config_of(runtime__micro_batch=micro_batch))
        training_step(state, part, IMAGES, group)
        for name, gradient in gradients(state).items():
            summed[name] += gradient / ranks  # DistributedDataParallel takes the mean over ranks
    for name, gradient in expected.items():
        torch.testing.assert_close(summed[name], gradient, msg=name)


class Attempt:
    """A worker's part of a run, in this process."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.job = Job(RunDir(folder), config, None, folder)
        self.job.run.checkpoints.mkdir(parents=True, exist_ok=True)
        self.state = state_of(config)
        batch = pixels()
        self.batches = ResidentBatches(batch.images, batch.labels, torch.arange(IMAGES))

    def train(self) -> None:
        while self.state.epoch < self.job.config.epochs:
            train_epoch(self.job, self.state, self.batches, IMAGES)
            self.state.finish_epoch()


def test_the_recorded_loss_is_that_of_the_logits_in_training_and_validation(tmp_path: Path) -> None:
    still = Attempt(tmp_path, config_of(optimizer__lr=1e-60, epochs=1))
    state, batch = still.state, pixels()
    with torch.no_grad():
        logits = state.model(normalise(batch.images)).logits
    expected = float(functional.cross_entropy(logits, batch.labels.long(), ignore_index=255))
    assert train_epoch(still.job, state, still.batches, IMAGES).loss() == pytest.approx(expected, rel=1e-5)
    args = (still.job, state.model, state.objective, still.batches, IMAGES, len(CLASSES), state.hardware, 1)
    assert score_split(*args).loss() == pytest.approx(expected, rel=1e-5)
    assert measure_latency(state.model, (SIZE, SIZE), state.hardware).median > 0


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    config = config_of(batch_size=2, epochs=2, runtime__micro_batch=1, optimizer__momentum=0.9)
    whole = Attempt(tmp_path / "whole", config)
    whole.train()
    stopped = Attempt(tmp_path / "stopped", config)
    stopped.job.stop_causes.append("stopped")
    with pytest.raises(StopRequested):
        stopped.train()
    assert stopped.state.step == 1
    save(stopped.job, stopped.state)
    resumed = Attempt(tmp_path / "stopped", config)
    restore(resumed.job, resumed.state, find_resumption(resumed.job.run.checkpoints))
    assert resumed.state.step == 1
    resumed.train()
    for name, tensor in whole.state.model.state_dict().items():
        assert torch.equal(tensor, resumed.state.model.state_dict()[name]), name


def test_the_weight_at_its_default_is_the_same_as_none() -> None:
    config = with_values(get_recipe("quick"), {})
    table, changed = (
        each.model_dump(mode="json") for each in (config, with_values(config, {"loss.auxiliary": 1}))
    )
    without = {**table, "loss": {"cross_entropy": 1.0}}
    assert RunConfig.of_stored(without) == config
    assert variant_of(without) == variant_of(table) != variant_of(changed)


def test_a_loss_cannot_take_the_key_that_all_share() -> None:
    from engine.config.fields import Section, option

    class Keys(Section):
        auxiliary: float = option(0.0, "Weight of a loss called like the key")

    def auxiliary(keys: Keys, classes: int) -> None: ...

    with pytest.raises(ComponentError, match="seg-engine offers a key auxiliary that every loss shares"):
        LOSSES.register(Keys)(auxiliary)
