"""Every loss: its published value, what void pixels change, and how parts of a batch add up."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.classes import VOID
from engine.config.keys import ConfigError
from engine.losses.builtin import LOSSES
from engine.losses.functions import build_loss, enet, inverse_frequency
from engine.models.contract import Outputs
from engine.requests.configs import resolve_config
from engine.training.objectives import Segmentation, WithLoss

NAMES = [name for name, part in LOSSES.parts().items() if str(part.origin) == "seg-engine"]
OF_PART = {"ohem", "lovasz"}
OTHER_KEYS = {"ohem_min_kept": 40, "ohem_threshold": 0.5}


def loss_of(logits: Tensor, labels: Tensor, **keys: object) -> Tensor:
    loss = build_loss(LOSSES.new(**{"cross_entropy": 0, **keys}), logits.shape[1])
    return loss.value(loss.sums(logits, labels))


PUBLISHED: list[tuple[dict[str, object], float, float]] = [
    ({"cross_entropy": 1}, 1.1495071984704943, 1e-9),
    ({"cross_entropy": 1, "label_smoothing": 0.1}, 1.2310815276082965, 1e-9),
    ({"dice": 1}, 0.6362153267299921, 1e-9),
    ({"jaccard": 1}, 0.7769075101548812, 1e-9),
    ({"tversky": 1}, 0.633776585161819, 1e-9),
    ({"focal": 1}, 1.0114716690605723, 1e-9),
    ({"lovasz": 1}, 0.6327127814292908, 1e-6),  # by float32
    ({"ohem": 1, "ohem_threshold": 0.7, "ohem_min_kept": 100}, 1.1933692434406988, 1e-9),
    ({"ohem": 1, "ohem_threshold": 0.3, "ohem_min_kept": 100}, 1.7242875001638835, 1e-9),
]


@pytest.mark.parametrize(("keys", "value", "tolerance"), PUBLISHED)
def test_losses_have_the_values_that_other_libraries_give(
    keys: dict[str, object], value: float, tolerance: float, shared_data: Path
) -> None:
    case = np.load(shared_data / "reference_systems" / "crf_case.npz")
    logits, labels = torch.tensor(case["logits"])[None], torch.tensor(case["true"])[None].to(torch.uint8)
    assert float(loss_of(logits, labels, **keys)) == pytest.approx(value, abs=tolerance)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Logits float64 [3, 4, 10, 12] and blocks of labels with void ones; the last class is nowhere, and the
    last image is void."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(0, 3, (3, 1, 5, 4), generator=generator).double()
    labels = functional.interpolate(coarse, (10, 12))[:, 0].to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = VOID
    labels[2] = VOID
    return 2 * torch.randn(3, 4, 10, 12, generator=generator, dtype=torch.float64), labels


def valid_rows(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    rows = logits.movedim(1, -1)[labels != VOID]
    return rows, labels[labels != VOID].long()


def plain_ohem(logits: Tensor, labels: Tensor) -> Tensor:
    rows, truth = valid_rows(logits, labels)
    entropy = functional.cross_entropy(rows, truth, reduction="none")
    hard = entropy[torch.exp(-entropy) < 0.5]
    return (hard if len(hard) >= 40 else entropy.sort(descending=True).values[:40]).mean()


def plain_lovasz(logits: Tensor, labels: Tensor) -> Tensor:
    """By the definition: the mean over steps of thresholds of the Jaccard loss of the pixels in error."""
    rows, truth = valid_rows(logits, labels)
    losses = []
    for number in truth.unique():
        there = truth == number
        errors = (there.double() - rows.softmax(1)[:, number]).abs()
        order = errors.argsort(descending=True)
        value, before = torch.zeros((), dtype=torch.float64), 0.0
        for count in range(1, len(order) + 1):
            wrong = set(order[:count].tolist())
            true = set(there.nonzero().flatten().tolist())
            jaccard = len(wrong & true | wrong - true) / len(true | wrong)
            value, before = value + errors[order[count - 1]] * (jaccard - before), jaccard
        losses.append(value)
    return torch.stack(losses).mean()


def plain_overlap(score: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def plain(logits: Tensor, labels: Tensor) -> Tensor:
        rows, truth = valid_rows(logits, labels)
        found, true = rows.softmax(1), functional.one_hot(truth, 4).double()
        scores = score((found * true).sum(0), found.sum(0), true.sum(0))
        return 1 - scores[true.sum(0) > 0].mean()

    return plain


def plain_focal(logits: Tensor, labels: Tensor) -> Tensor:
    rows, truth = valid_rows(logits, labels)
    right = torch.where(functional.one_hot(truth, 4).bool(), rows.sigmoid(), 1 - rows.sigmoid())
    return (-((1 - right) ** 2) * right.log()).mean()


def plain_boundary(logits: Tensor, labels: Tensor, distance: int = 2) -> Tensor:
    """Pixel by pixel: the largest of a window, as far as it lies in the image."""

    def largest(map: Tensor, y: int, x: int, reach: int) -> Tensor:
        return map[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].max()

    def windows(map: Tensor, reach: int) -> Tensor:
        height, width = map.shape
        cells = [largest(map, y, x, reach) for y in range(height) for x in range(width)]
        return torch.stack(cells).view(height, width)

    losses = []
    for scores, truth in zip(logits.softmax(1), labels, strict=True):
        there = (truth != VOID).double()
        for number in range(4):
            outside = [(1 - scores[number]) * there, (truth != number).double() * there]
            found, true = ((windows(each, 1) - each) * there for each in outside)
            if not true.any():
                continue
            precision = (found * windows(true, distance)).sum() / found.sum()
            recall = (true * windows(found, distance)).sum() / true.sum()
            losses.append(1 - 2 * precision * recall / (precision + recall))
    return torch.stack(losses).mean()


PLAIN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda logits, labels: functional.cross_entropy(*valid_rows(logits, labels)),
    "dice": plain_overlap(lambda both, found, true: 2 * both / (found + true)),
    "jaccard": plain_overlap(lambda both, found, true: both / (found + true - both)),
    "tversky": plain_overlap(lambda both, found, true: both / (0.3 * found + 0.7 * true)),
    "focal": plain_focal,
    "ohem": plain_ohem,
    "lovasz": plain_lovasz,
    "boundary": plain_boundary,
}


@pytest.mark.parametrize("name", NAMES)
def test_void_pixels_take_no_part(name: str, batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    found, plain = logits.clone().requires_grad_(True), logits.clone().requires_grad_(True)
    ours, theirs = loss_of(found, labels, **{name: 1}, **OTHER_KEYS), PLAIN[name](plain, labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(found.grad, plain.grad, rtol=1e-6, atol=1e-9)
    assert found.grad is not None
    assert not found.grad.movedim(1, -1)[labels == VOID].any()


def test_boundaries_far_apart_meet_as_the_definition_says_and_take_little_time(
    batch: tuple[Tensor, Tensor],
) -> None:
    logits, labels = batch
    found, plain = logits.clone().requires_grad_(True), logits.clone().requires_grad_(True)
    loss_of(found, labels, boundary=1, boundary_distance=4).backward()
    plain_boundary(plain, labels, 4).backward()
    torch.testing.assert_close(found.grad, plain.grad, rtol=1e-6, atol=1e-9)

    def seconds(distance: int) -> float:
        many = torch.zeros(2, 8, 96, 96, requires_grad=True)
        truth = torch.zeros(2, 96, 96, dtype=torch.uint8)
        begun = time.process_time()
        loss_of(many, truth, boundary=1, boundary_distance=distance).backward()
        return time.process_time() - begun

    assert min(seconds(48) for _ in range(3)) < 15 * min(seconds(2) for _ in range(3))  # squares: 35 and more


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_void_has_a_finite_loss_without_a_gradient(name: str) -> None:
    logits = torch.randn(2, 4, 6, 6, requires_grad=True)
    loss = loss_of(logits, torch.full((2, 6, 6), VOID, dtype=torch.uint8), **{name: 1}, class_weights="enet")
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_sums_of_parts_are_those_of_the_whole_or_their_mean_by_valid_pixels(
    name: str, batch: tuple[Tensor, Tensor]
) -> None:
    logits, labels = batch
    loss = build_loss(LOSSES.new(**{"cross_entropy": 0, name: 1, **OTHER_KEYS}), 4)
    parts = [loss.sums(logits[i : i + 1], labels[i : i + 1]) for i in range(3)]
    whole = loss.sums(logits, labels)
    added = torch.stack(parts).sum(0)
    assert added[0] == whole[0] == (labels != VOID).sum()
    if name not in OF_PART:
        torch.testing.assert_close(added, whole)
    else:
        mean = sum(part[0] * loss.value(part) for part in parts) / added[0]
        torch.testing.assert_close(loss.value(added), mean)


def test_ohem_keeps_the_hardest_where_too_few_are_hard(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    entropy = (
        functional.cross_entropy(*valid_rows(logits, labels), reduction="none").sort(descending=True).values
    )
    for kept in (0, 10, len(entropy) - 1, len(entropy), len(entropy) + 7, 10**6):
        found = loss_of(logits, labels, ohem=1, ohem_threshold=1e-9, ohem_min_kept=kept)
        assert float(found) == pytest.approx(float(entropy[:kept].mean()) if kept else 0)


def test_ohem_keeps_all_pixels_that_are_as_hard_as_the_last() -> None:
    logits = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    logits[:, 0] = 3
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    logits[0, 1, 0, 0] = 4  # one is harder
    logits.requires_grad_(True)
    entropy = functional.cross_entropy(logits.detach(), labels.long(), reduction="none").flatten()
    found = loss_of(logits, labels, ohem=1, ohem_threshold=1e-9, ohem_min_kept=5)
    assert float(found.detach()) == pytest.approx(float(entropy.mean()))
    found.backward()
    assert logits.grad is not None
    assert bool((logits.grad != 0).all()), "which of equal pixels count does not depend on their place"


def test_focal_loss_of_what_is_certain_has_a_gradient() -> None:
    logits = torch.tensor([200.0, -200.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2).clone().requires_grad_(True)
    labels = torch.tensor([[[0, 1], [0, 0]]], dtype=torch.uint8)
    for gamma in (0.0, 0.5, 1.0, 2.0):
        logits.grad = None
        loss_of(logits, labels, focal=1, focal_gamma=gamma).backward()
        assert logits.grad is not None
        assert bool(torch.isfinite(logits.grad).all()), gamma
        assert bool((logits.grad[0, :, 0, 1].abs() > 0.1 / 8).all()), "of the wrong one"


def test_lovasz_of_each_image_is_the_mean_over_images_with_labels(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    each = [plain_lovasz(logits[i : i + 1], labels[i : i + 1]) for i in range(2)]  # the third is void
    found = loss_of(logits, labels, lovasz=1, lovasz_per_image=True)
    torch.testing.assert_close(found, torch.stack(each).mean())


def test_lovasz_of_millions_of_pixels_has_the_gradient_that_double_precision_has() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(1, 1024, 1024, generator=generator) < 0.5).to(torch.uint8)
    single = (2 * torch.randn(1, 2, 1024, 1024, generator=generator)).requires_grad_(True)
    double = single.detach().double().requires_grad_(True)
    for logits in (single, double):
        loss_of(logits, labels, lovasz=1).backward()
    assert single.grad is not None
    assert double.grad is not None
    # Equal errors are ranked by chance, which changes a few: so the mean.
    off = (single.grad.double() - double.grad).abs().mean() / double.grad.abs().mean()
    assert float(off) < 1e-3


@pytest.mark.parametrize("rule", ["inverse_frequency", "enet"])
def test_class_weights_follow_from_shares_and_parts_of_a_batch_keep_to_them(
    rule: str, batch: tuple[Tensor, Tensor]
) -> None:
    logits, labels = batch
    pixels = torch.tensor([900, 90, 10, 0])
    weights = (inverse_frequency if rule == "inverse_frequency" else enet)(pixels.double() / 1000)
    wanted = [1000 / 3 / 900, 1000 / 3 / 90, 1000 / 3 / 10, 0]
    if rule == "enet":
        wanted = [1 / np.log(1.02 + share) for share in (0.9, 0.09, 0.01, 0)]
    assert weights.tolist() == pytest.approx(wanted)

    keys = {"label_smoothing": 0.1, "class_weights": rule}
    objective = Segmentation(LOSSES.new(**keys), 4)
    assert objective.of_classes is not None
    objective.of_classes.learn_class_pixels(pixels)
    whole = objective.value(objective.sums(logits, labels))
    torchs = functional.cross_entropy(logits, labels.long(), weights, ignore_index=VOID, label_smoothing=0.1)
    torch.testing.assert_close(whole, torchs, rtol=1e-9, atol=1e-9)
    parts = [(logits[i : i + 1], labels[i : i + 1]) for i in range(3)]
    total = objective.weight(labels)
    shares = [objective.weight(part[1]) / total * objective.value(objective.sums(*part)) for part in parts]
    torch.testing.assert_close(torch.stack(shares).sum(), whole)


def test_half_precision_logits_are_widened_and_weights_add_up(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    everything = dict.fromkeys(NAMES, 0.5)
    half = loss_of(logits.bfloat16(), labels, **everything)
    assert half.dtype == torch.float64
    rounded = logits.bfloat16().double()
    alone = [loss_of(rounded, labels, **{name: 1}) for name in NAMES]
    assert float(half) == pytest.approx(0.5 * float(torch.stack(alone).sum()), rel=1e-5)


@pytest.mark.parametrize("nowhere", [0, 15])  # on the CPU, many classes are computed in another order
@pytest.mark.parametrize(
    "keys", [{"cross_entropy": 1}, {"dice": 1}, {"ohem": 1, "label_smoothing": 0.1} | OTHER_KEYS]
)
def test_logits_in_channels_last_memory_have_the_loss_and_gradient_of_others_in_that_memory(
    keys: dict[str, object], nowhere: int, batch: tuple[Tensor, Tensor]
) -> None:
    logits, labels = batch
    logits = torch.cat([logits, logits.flip(1, 2)[:, :1].expand(-1, nowhere, -1, -1)], dim=1)
    found = logits.to(memory_format=torch.channels_last).requires_grad_()
    plain = logits.clone().requires_grad_()
    values = [loss_of(each, labels, **keys) for each in (found, plain)]
    for value in values:
        value.backward()
    torch.testing.assert_close(*values)
    assert found.grad is not None
    torch.testing.assert_close(found.grad, plain.grad)
    assert found.grad.is_contiguous(memory_format=torch.channels_last)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.logits, self.helper = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 2, 2)

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(self.logits(images), (self.helper(images),))


@pytest.mark.parametrize(
    ("weight", "keys"),
    [
        (1.0, {"cross_entropy": 1}),
        (0.5, dict.fromkeys(NAMES, 1) | {"class_weights": "enet", "auxiliary": 0.4} | OTHER_KEYS),
    ],
)
def test_every_loss_is_compiled_with_the_network_without_a_break(
    weight: float, keys: dict[str, object], batch: tuple[Tensor, Tensor]
) -> None:
    labels = batch[1]
    objective = Segmentation(LOSSES.new(**keys), 4)
    if objective.of_classes is not None:
        objective.of_classes.learn_class_pixels(torch.tensor([50, 30, 20, 0]))
    pixels = torch.randint(0, 256, (*labels.shape, 3), dtype=torch.uint8)
    torch.manual_seed(2)
    plain = WithLoss(TwoHeads(), objective, weight, learns_of=False)
    compiled = torch.compile(plain, backend="aot_eager", fullgraph=True, dynamic=False)
    found = []
    for network in (plain, compiled):
        plain.zero_grad()
        made = network(pixels, labels)
        made.loss.backward()
        assert not made.logits.requires_grad
        gradients = [each.grad.clone() for each in plain.parameters() if each.grad is not None]
        assert len(gradients) == 4
        found.append([made.logits, made.sums, made.loss.detach(), *gradients])
    for of_plain, of_compiled in zip(*found, strict=True):
        torch.testing.assert_close(of_compiled, of_plain)


@pytest.mark.parametrize("key", ["class_weights=enet", "label_smoothing=0.1"])
def test_keys_of_cross_entropy_are_refused_where_it_takes_no_part(key: str, tmp_path: Path) -> None:
    name, _, value = key.partition("=")
    with pytest.raises(ConfigError) as refused:
        resolve_config("quick", [f"loss.{key}", "loss.cross_entropy=0", "loss.ohem=1"], tmp_path)
    assert str(refused.value) == (
        f"loss.{name}: {value} has no effect, as it is of loss.cross_entropy, which is 0; give that a weight "
        "above 0"
    )


def test_a_tversky_loss_that_is_always_zero_is_refused(tmp_path: Path) -> None:
    keys = ["loss.tversky=1", "loss.tversky_a=0", "loss.tversky_b=0"]
    with pytest.raises(
        ConfigError, match=r"^loss\.tversky_a: with loss\.tversky_b=0 no error counts; one mus"
    ):
        resolve_config("quick", keys, tmp_path)
