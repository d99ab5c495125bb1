"""Mask2Former as a head: its masks, what it learns from, and how its loss fits into a step."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.components.origin import ComponentError
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.data.batches import Batch
from engine.learning.distributed import ALONE, Group
from engine.learning.flops import flops_per_sample
from engine.learning.hardware import Hardware
from engine.models.builtin import VLTSegConfig
from engine.models.contract import check_shapes, check_structure
from engine.models.hashed import uniform
from engine.models.registry import build_model
from engine.models.vltseg.mask2former import class_scores, logits_of, looked_at
from engine.models.vltseg.set_loss import SetLoss, matched_by, sampled
from engine.requests.configs import check_components
from engine.training.graph_rules import graph_refusal
from engine.training.state import TrainState, new_state
from engine.training.step import training_step

CPU = Hardware(torch.device("cpu"), "a CPU", "fp32")
TINY = VLTSegConfig(
    backbone="eva02_tiny_patch14", head="mask2former", channels=8, queries=5, decoder_layers=3, points=64
)
KEYS = {f"model.{key}": value for key, value in TINY.model_dump(exclude_defaults=True).items()}
CLASSES, IMAGES, SIZE = ["road", "sky", "car"], 3, (28, 42)
NUMBERS = [torch.tensor([7, 11], dtype=torch.int32) + index for index in range(4)]


def config(**values: object) -> RunConfig:
    base: dict[str, object] = {"model.name": "vltseg", **KEYS, "data.size": "28x42", "batch_size": IMAGES}
    base |= {"optimizer.name": "sgd", "optimizer.lr": 0.1, "model.drop_path": 0.2}
    return with_values(RunConfig(), base | {key.replace("__", "."): each for key, each in values.items()})


@cache
def batch() -> Batch:
    """Images of other classes each, the last of which is void."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, *SIZE, 3), generator=generator, dtype=torch.uint8)
    labels = torch.zeros(IMAGES, *SIZE, dtype=torch.uint8)
    labels[0, :9], labels[0, 12:20, 5:30], labels[1, :, 20:], labels[1, :3], labels[2] = 1, 2, 2, 255, 255
    return Batch(images, labels)


def after_steps(changed: RunConfig, steps: int = 1) -> TrainState:
    state = new_state(changed, CPU, CLASSES)
    state.begin_epoch(2 * IMAGES)
    for _ in range(steps):
        torch.rand(7)  # whatever else draws
        training_step(state, batch(), IMAGES)
    return state


def gradients(state: TrainState) -> dict[str, Tensor]:
    return {name: each.grad for name, each in state.model.named_parameters() if each.grad is not None}


@cache
def plain_gradients() -> dict[str, Tensor]:
    return gradients(after_steps(config()))


# ---------------------------------------------------------------------- masks


def test_logits_are_those_of_the_published_scores_at_full_size_and_their_softmax_adds_up() -> None:
    torch.manual_seed(0)
    network = build_model(TINY.model_copy(update={"queries": 30}), 3).eval()  # more than are taken at once
    images = torch.randn(1, 3, 30, 40)
    with torch.no_grad():
        logits = network(images).logits
        queries, embeddings, features = network.decoder(network.maps(images)[0])
        masks = torch.einsum("bqd,bdhw->bqhw", embeddings[-1], features)
        full = functional.interpolate(masks, (42, 42), mode="bilinear")[..., :30, :40]
        shares = network.head(queries[-1]).softmax(-1)[..., :-1]
        scores = torch.einsum("bqc,bqhw->bchw", shares, full.sigmoid())
    torch.testing.assert_close(logits.exp(), scores)
    torch.testing.assert_close(logits.softmax(1), scores / scores.sum(1, keepdim=True))
    assert torch.isfinite(logits_of(torch.zeros(1, 3, 2, 2))).all()


def test_the_network_keeps_the_contract_at_its_published_size() -> None:
    section = VLTSegConfig(head="mask2former")
    with torch.device("meta"):
        network = build_model(section, 19)
        check_shapes(network, section, 3, 19)
    assert flops_per_sample(RunConfig(model=TINY), 3, SIZE) > 1e6
    assert not network.decays("decoder.queries", network.decoder.queries)
    network.own_loss = None
    with pytest.raises(ComponentError, match=r"own_loss of the network and own_loss_key\(\)"):
        check_structure(network, section)


def test_queries_look_within_their_masks_and_everywhere_where_these_are_empty() -> None:
    features = torch.tensor([1.0, -1.0, 2.0, -3.0]).view(1, 1, 2, 2)
    embeddings = torch.tensor([[[1.0], [-1.0], [0.0]]])
    seen = [[True, False, True, False], [False, True, False, True], [True] * 4]
    assert looked_at(embeddings, features).tolist() == [seen]


def test_class_embeddings_can_name_the_classes_of_queries() -> None:
    network = build_model(TINY.model_copy(update={"text": "a.safetensors", "text_size": 6}), 3)
    made = network.train()(torch.randn(2, 3, *SIZE))
    assert made.own[0].shape == (4, 2, 5, 4)
    assert made.auxiliary[0].shape == made.logits.shape == (2, 3, *SIZE)
    assert network.embeddings_name in network.state_dict()


# ---------------------------------------------------------------------- the loss


def test_sampling_is_bilinear_interpolation() -> None:
    features, places = torch.randn(2, 3, 5, 7), torch.rand(2, 50, 2)
    grid = (2 * places - 1).flip(-1)[:, None]
    wanted = functional.grid_sample(features, grid, padding_mode="border", align_corners=False)[:, :, 0]
    torch.testing.assert_close(sampled(features, places), wanted)


def test_each_class_gets_the_query_that_makes_the_sum_of_costs_least() -> None:
    cost = np.array([[[[0, 1, 9], [0, 5, 9], [8, 8, 9]]]], float)  # [1, 1, 3 queries, 3 classes]
    matched = matched_by(cost, np.array([[True, True, False]]), CPU.device)
    assert matched.queries.tolist() == [[[1, 0]]]  # the first query costs class 0 no more, but spares class 1
    assert (matched.ids.tolist(), matched.exists.tolist()) == ([[0, 1]], [[1, 1]])


def outputs_for(labels: Tensor, strength: float = 12.0) -> tuple[Tensor, Tensor, Tensor]:
    """What a network gives, for one layer, that knows the labels: query 2 - c has class c, query 3 none."""
    one_hot = functional.one_hot(torch.where(labels < 3, labels, 3).long(), 4)[..., :3]
    features = strength * (2 * one_hot.movedim(-1, 1).float() - 1)  # [B, 3, H, W]
    embeddings = torch.eye(3)[[2, 1, 0, 0]].expand(1, len(labels), 4, 3)
    ids = [[c if (image == c).any() else 3 for c in (2, 1, 0, 3)] for image in labels]
    classes = strength * torch.eye(4)[torch.tensor(ids)].unsqueeze(0)
    return classes, embeddings, features


def loss_of(outputs: tuple[Tensor, ...], labels: Tensor, numbers: list[Tensor] = NUMBERS) -> float:
    loss = SetLoss(256, 1, lambda height, width: (height, width))
    return float(loss.value(outputs, labels, numbers, loss.count(labels)))


def test_who_knows_masks_and_classes_has_no_loss_and_each_mistake_costs() -> None:
    labels = torch.zeros(2, 16, 24, dtype=torch.uint8)
    labels[0, :8], labels[1, :, :12] = 1, 2
    classes, embeddings, features = outputs_for(labels)
    at_best = loss_of((classes, embeddings, features), labels)
    assert at_best < 0.5, "what is between pixels, where masks are soft"
    mistaken = classes.clone()
    mistaken[0, :, 3] = 12 * torch.eye(4)[0]  # what has no object claims class 0
    nothing = 0.1 * 2 * 12 / (4 + 0.1 * 4)  # of four masks and as many queries without one
    assert loss_of((mistaken, embeddings, features), labels) == pytest.approx(at_best + 2 * nothing, abs=0.01)
    assert loss_of((classes, embeddings, -features), labels) > 20
    spread = loss_of((classes, embeddings, 0 * features), labels)
    assert spread == pytest.approx(5 * np.log(2) + 5 * 0.5, abs=0.1)  # of masks that are 0.5 everywhere


def test_void_pixels_teach_nothing() -> None:
    labels = torch.zeros(2, 16, 24, dtype=torch.uint8)
    labels[:, :, 10:], labels[0, 8:] = 1, 255
    classes, embeddings, features = outputs_for(labels, 1.0)
    expected = loss_of((classes, embeddings, features), labels)
    other = features.clone()
    other[0, :, 9:] = 100.0  # a row further, as sampling looks at the pixels around
    assert loss_of((classes, embeddings, other), labels) == expected
    other[1, :, 9:] = 100.0
    assert loss_of((classes, embeddings, other), labels) != expected


def test_points_belong_to_the_image_and_are_spread_evenly() -> None:
    numbers = torch.tensor([1, 2**31 - 1, -5], dtype=torch.int32)
    drawn = uniform(numbers, 4000)
    assert torch.equal(uniform(numbers[1:], 4000), drawn[1:])
    assert 0 <= float(drawn.min()) < float(drawn.max()) < 1
    torch.testing.assert_close(drawn.mean(1), torch.full((3,), 0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.var(1), torch.full((3,), 1 / 12), atol=0.005, rtol=0)
    y, x = drawn[0].view(-1, 2).T - 0.5
    assert abs(float((y * x).mean())) < 0.005


# ---------------------------------------------------------------------- within a step


@pytest.mark.parametrize(("ranks", "micro_batch"), [(1, 2), (2, 0), (4, 0)])
def test_micro_batches_and_ranks_learn_what_one_pass_does(
    ranks: int, micro_batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain_gradients()
    whole, loss = batch(), build_model(TINY, 3).own_loss
    assert loss is not None
    counts = {2: loss.count(whole.labels), 1: (whole.labels != 255).sum().double()}
    monkeypatch.setattr(Group, "total", lambda group, own: counts[own.numel()].clone().reshape(own.shape))
    summed = {name: torch.zeros_like(each) for name, each in expected.items()}
    for rank in range(ranks):
        group = Group(rank, ranks) if ranks > 1 else ALONE
        first = min(group.place(IMAGES)[0], IMAGES - 1)
        count = max(1, group.place(IMAGES)[1])  # who has none works on one that counts for nothing
        part = Batch(whole.images[first : first + count], whole.labels[first : first + count])
        state = new_state(config(runtime__micro_batch=micro_batch), CPU, CLASSES)
        state.begin_epoch(2 * IMAGES)
        training_step(state, part, IMAGES, group)
        for name, gradient in gradients(state).items():
            summed[name] += gradient / ranks  # DistributedDataParallel takes the mean over ranks
    for name, gradient in expected.items():
        torch.testing.assert_close(summed[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_every_weight_learns() -> None:
    assert plain_gradients().keys() == dict(build_model(TINY, 3).named_parameters()).keys()
    matrices = {name: each for name, each in plain_gradients().items() if each.ndim > 1}
    assert all(each.any() for each in matrices.values())


def test_a_run_that_is_taken_up_again_goes_on_to_the_same_bits() -> None:
    whole, stopped = after_steps(config(), 2), after_steps(config(), 1)
    resumed = new_state(config(seed=3), CPU, CLASSES)  # whatever was drawn for it
    resumed = replace(resumed, config=config())
    resumed.model.load_state_dict(stopped.model.state_dict())
    resumed.begin_epoch(2 * IMAGES)
    resumed.step = 1
    training_step(resumed, batch(), IMAGES)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_a_batch_of_void_gives_every_weight_a_gradient_of_0() -> None:
    state = new_state(config(), CPU, CLASSES)
    state.begin_epoch(2 * IMAGES)
    training_step(state, Batch(batch().images, torch.full_like(batch().labels, 255)), IMAGES)
    given = gradients(state)
    assert given.keys() == plain_gradients().keys()
    assert not any(each.any() for each in given.values())


def test_losses_of_pixels_are_recorded_and_add_up_only_where_they_are_asked_for() -> None:
    expected, both = plain_gradients(), gradients(after_steps(config(loss__beside_own=1)))
    other = gradients(after_steps(config(loss__dice=3)))
    name = "decoder.features.weight"
    assert torch.equal(other[name], expected[name])
    assert not torch.allclose(both[name], expected[name])


def test_what_the_head_cannot_do_is_told_before_a_run_and_a_graph_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"model\.head: model.head=mask2former brings a loss over classes"):
        check_components(config(task="pretrain"))
    with pytest.raises(ComponentError, match=r"model\.queries: 5 are too few for 6 classes"):
        build_model(TINY, 6)
    cuda = Hardware(torch.device("cuda"), "a GPU", "bf16")
    told = graph_refusal(config(), cuda, ALONE, own_loss=True)
    assert told == "model.head=mask2former has a loss that asks the host in each step"


def test_scores_of_classes_are_products_of_probabilities() -> None:
    classes = torch.tensor([[[0.0, 0.0, -50.0], [-50.0, 50.0, -50.0]]])  # either class, and the second
    masks = torch.tensor([50.0, -50.0, 50.0, 50.0]).view(1, 2, 1, 2)
    torch.testing.assert_close(class_scores(classes, masks)[0, :, 0], torch.tensor([[0.5, 0.0], [1.5, 1.0]]))
