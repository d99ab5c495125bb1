"""Losses over logits [B, C, H, W] and train ids [B, H, W]; void pixels (255) take no part.

A loss is a function of sums. Sums add up over batches, micro-batches and ranks, so the loss of a whole split
is the same however the split was cut. Some losses are no function of sums over pixels, as they rank the
pixels of a batch: `OfPart` makes them the mean over the parts that they were computed of.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from engine.classes import VOID
from engine.components.origin import BUILT_IN, ComponentError
from engine.losses import LOSSES, LossSection
from engine.models.layers import kernels_serve

WHOLE_ROW = 16
"""Classes from which torch's CPU kernel of log-softmax takes a row in vectors, of 16 float32 with AVX-512
(8 with AVX2, where 8 to 15 classes were not measured). Shorter rows go number by number: with 11 classes the
loss takes seven times as long as with the copies."""


class Loss(Protocol):
    """`terms` is the number of sums; the first is that of the valid pixels."""

    terms: int

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        """float64 [terms] of a batch, with a gradient for `logits`."""

    def value(self, sums: Tensor) -> Tensor:
        """The loss, a float64 scalar, of added sums. It is finite and has no gradient where no pixel is
        valid."""


@runtime_checkable
class LearnsOfClasses(Protocol):
    """A loss that wants to know how often each class is; `class_weighted` says whether it does."""

    class_weighted: bool

    def learn_class_pixels(self, pixels: Tensor) -> None:
        """Be told, before the first step, of how many training pixels each class is: int64 [C]."""

    def weight(self, labels: Tensor) -> Tensor:
        """How much some labels count in the mean over a batch, float64 []: for most losses valid pixels."""


class OfPart(ABC):
    """A loss that is no function of sums over pixels.

    It is computed of each part that goes through the network at once, a micro-batch of a rank or a batch of
    the validation, and the loss of several parts is their mean by valid pixels. So it depends on how a batch
    is cut.
    """

    terms = 2

    @abstractmethod
    def of_part(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of one part, []: finite where no pixel is valid."""

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = (labels != VOID).sum().double()
        return torch.stack([valid, valid * self.of_part(logits, labels).double()])

    def value(self, sums: Tensor) -> Tensor:
        return sums[1] / sums[0].detach().clamp(min=1)


def wide(logits: Tensor) -> Tensor:
    """Logits in the precision of losses: float32, or more where they have more."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def pixel_entropy(
    logits: Tensor,
    labels: Tensor,
    reduction: str = "none",
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of each pixel, [B, H, W], 0 where it is void; or their sum, []."""
    logits, targets = wide(logits), labels.long()
    in_rows = logits.is_contiguous(memory_format=torch.channels_last) and logits.shape[1] >= WHOLE_ROW
    if not logits.is_cuda and in_rows:
        # On the CPU torch would copy them into another order, and their gradient, too, which whatever made
        # the logits then copies back. A pixel's logits lie side by side: as rows they are taken as they are.
        logits, targets = logits.movedim(1, -1).flatten(0, -2), targets.flatten()
    entropy = functional.cross_entropy(
        logits,
        targets,
        weight,
        ignore_index=VOID,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    return entropy if reduction != "none" else entropy.view(labels.shape)


@runtime_checkable
class AtOnce(Protocol):
    """A loss that may have sums and value of a batch for less than one after the other."""

    def of_batch(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """`sums` and the `value` of them, each with its gradient."""


def sums_and_value(loss: Loss, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A loss's sums of a batch, and its value of them."""
    if isinstance(loss, AtOnce):
        return loss.of_batch(logits, labels)
    sums = loss.sums(logits, labels)
    return sums, loss.value(sums)


class CrossEntropy:
    """The mean over valid pixels of the cross-entropy; with class weights their weighted mean.

    `class_weights` is a key of CLASS_WEIGHTS. Until the numbers of pixels are known, all classes weigh 1.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: str = "none", classes: int = 0) -> None:
        self.label_smoothing = label_smoothing
        self.class_weighted = class_weights != "none"
        self.terms = 3 if self.class_weighted else 2
        self._weigh = CLASS_WEIGHTS[class_weights]
        self._weights = torch.ones(classes, dtype=torch.float64)
        self._of_label = torch.zeros(VOID + 1, dtype=torch.float64)  # which is 0 of void
        self._of_label[:classes] = 1

    def learn_class_pixels(self, pixels: Tensor) -> None:
        self._weights = self._weigh(pixels.double() / pixels.sum().clamp(min=1))
        self._of_label[: len(pixels)] = self._weights.to(self._of_label.device)

    @torch.inference_mode(False)  # a validation may be first, and training goes on with these
    def weight(self, labels: Tensor) -> Tensor:
        self._weights, self._of_label = self._weights.to(labels.device), self._of_label.to(labels.device)
        return self._of_label[labels.long()].sum()

    def of_batch(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.kernels_serve(logits, labels):
            from engine.losses.pixel_kernels import cross_entropy

            both: tuple[Tensor, Tensor] = cross_entropy(logits, labels)
            return both
        sums = self._sums_by_torch(logits, labels)
        return sums, self.value(sums)

    def kernels_serve(self, logits: Tensor, labels: Tensor) -> bool:
        """Whether one kernel computes the sums and their value."""
        plain = self.label_smoothing == 0 and not self.class_weighted
        return plain and labels.dtype == torch.uint8 and kernels_serve(logits)

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.kernels_serve(logits, labels):
            return self.of_batch(logits, labels)[0]
        return self._sums_by_torch(logits, labels)

    def _sums_by_torch(self, logits: Tensor, labels: Tensor) -> Tensor:
        # The kernel that adds up on CUDA has no deterministic form; the one that does not add up has.
        apart = logits.is_cuda and torch.are_deterministic_algorithms_enabled()
        counted = [(labels != VOID).sum().double()]
        weights = None
        if self.class_weighted:
            counted.append(self.weight(labels))
            weights = self._weights.to(torch.promote_types(logits.dtype, torch.float32))
        total = pixel_entropy(logits, labels, "none" if apart else "sum", self.label_smoothing, weights)
        return torch.stack([counted[0], total.double().sum() if apart else total.double(), *counted[1:]])

    def value(self, sums: Tensor) -> Tensor:
        # A batch may be all void: the mean over no pixels is 0 here, where torch's own mean gives NaN.
        # The count has no gradient to compute.
        if not self.class_weighted:
            return sums[1] / sums[0].detach().clamp(min=1)
        weight = sums[2].detach()
        return sums[1] / torch.where(weight > 0, weight, 1)


def inverse_frequency(share: Tensor) -> Tensor:
    """1 / p, so that the mean weight of a training pixel is 1; 0 for a class without pixels."""
    present = share > 0
    return torch.where(present, 1 / (share.clamp(min=1e-12) * present.sum().clamp(min=1)), 0)


def enet(share: Tensor) -> Tensor:
    """1 / ln(1.02 + p) (Paszke et al. 2016): from 1.4 for a class that is everywhere to 50.5 for one that is
    nowhere."""
    return 1 / torch.log(1.02 + share)


CLASS_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": torch.ones_like,
    "inverse_frequency": inverse_frequency,
    "enet": enet,
}
"""The weights [C] of classes by their share of the valid training pixels [C]."""


class Focal:
    """Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017: of each class against all others, by a
    sigmoid, the cross-entropy times (1 - p)^gamma, p being the probability of what is true. The mean over
    valid pixels and classes."""

    terms = 2

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = wide(logits)
        valid, truth = truth_of(labels, logits.shape[1])
        entropy = functional.binary_cross_entropy_with_logits(
            logits, truth.to(logits.dtype), reduction="none"
        )
        # 1 - p without the cancellation near p = 1, where its power would have no gradient.
        missed = torch.where(truth, torch.sigmoid(-logits), torch.sigmoid(logits))
        if 0 < self.gamma < 1:  # whose power has an infinite slope at 0
            missed = missed.clamp(min=torch.finfo(missed.dtype).tiny)
        focused = (missed**self.gamma * entropy).mean(dim=1) * valid
        return torch.stack([valid.sum().double(), focused.double().sum()])

    def value(self, sums: Tensor) -> Tensor:
        return sums[1] / sums[0].detach().clamp(min=1)


def truth_of(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Which pixels are valid, bool [B, H, W], and of which class each is, bool [B, C, H, W]: of none where
    void."""
    valid = labels != VOID
    each = torch.arange(classes, device=labels.device, dtype=labels.dtype).view(1, -1, 1, 1)
    return valid, labels.unsqueeze(1) == each


class SoftOverlap(ABC):
    """1 - mean over the classes present of an overlap of P, the softmax, with the truth T.

    |PT|, |P| and |T| are pooled over whatever the sums are of: a batch while training, all of a split where
    its loss is recorded.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.terms = 1 + 3 * classes

    @abstractmethod
    def overlap(self, both: Tensor, probability: Tensor, truth: Tensor) -> Tensor:
        """The overlap of each class, [C] from 0 to 1, of |PT|, |P| and |T|, float64 [C]."""

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = labels != VOID  # [B, H, W]
        probability = wide(logits).softmax(dim=1) * valid.unsqueeze(1)  # [B, C, H, W]
        sums_of = _sums_by_masks if logits.is_cuda else _sums_by_labels
        both, truth = sums_of(probability, labels, valid)
        per_class = (both, probability.sum(dim=(0, 2, 3)), truth)
        return torch.cat([valid.sum().double().unsqueeze(0), *(each.double() for each in per_class)])

    def value(self, sums: Tensor) -> Tensor:
        both, probability, truth = sums[1:].view(3, self.classes)
        present = truth > 0
        overlap = self.overlap(both, probability, truth)
        loss: Tensor = 1 - (overlap * present).sum() / present.sum().clamp(min=1)
        return loss


def _sums_by_masks(probability: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """|PT| and |T|, [C], by a mask of each class: CUDA adds up by label in no fixed order."""
    truth = truth_of(labels, probability.shape[1])[1]
    return torch.where(truth, probability, 0).sum(dim=(0, 2, 3)), truth.sum(dim=(0, 2, 3))


def _sums_by_labels(probability: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """|PT| and |T|, [C], from the probability of each pixel's own class alone. On the CPU, with 11
    classes, the loss takes two thirds of the time that it takes by masks."""
    classes = torch.where(valid, labels, 0).long()  # void pixels add 0 to class 0
    own = probability.gather(1, classes.unsqueeze(1)).flatten()
    nothing = own.new_zeros(probability.shape[1], dtype=torch.float64)
    both = nothing.index_add(0, classes.flatten(), own.double())
    return both, nothing.index_add(0, classes.flatten(), valid.flatten().double())


class SoftDice(SoftOverlap):
    """2|PT| / (|P| + |T|): Milletari et al., "V-Net", 3DV 2016, with plain sums in the denominator."""

    def overlap(self, both: Tensor, probability: Tensor, truth: Tensor) -> Tensor:
        return 2 * both / (probability + truth).clamp(min=1e-6)


class SoftJaccard(SoftOverlap):
    """|PT| / (|P| + |T| - |PT|): Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks
    for Image Segmentation", ISVC 2016."""

    def overlap(self, both: Tensor, probability: Tensor, truth: Tensor) -> Tensor:
        return both / (probability + truth - both).clamp(min=1e-6)


class SoftTversky(SoftOverlap):
    """|PT| / (|PT| + a |P without T| + b |T without P|): Salehi et al., "Tversky loss function for image
    segmentation", MLMI 2017."""

    def __init__(self, classes: int, alpha: float, beta: float) -> None:
        super().__init__(classes)
        self.alpha, self.beta = alpha, beta

    def overlap(self, both: Tensor, probability: Tensor, truth: Tensor) -> Tensor:
        wrong = self.alpha * (probability - both) + self.beta * (truth - both)
        return both / (both + wrong).clamp(min=1e-6)


class WeightedSum:
    """Losses that add up, each with its weight."""

    def __init__(self, losses: Sequence[tuple[float, Loss]]) -> None:
        self._losses = losses
        self._sizes = [loss.terms for _, loss in losses]
        self.terms = sum(self._sizes)
        self._of_classes = [
            loss for _, loss in losses if isinstance(loss, LearnsOfClasses) and loss.class_weighted
        ]
        self.class_weighted = bool(self._of_classes)

    def learn_class_pixels(self, pixels: Tensor) -> None:
        for loss in self._of_classes:
            loss.learn_class_pixels(pixels)

    def weight(self, labels: Tensor) -> Tensor:
        """Of a loss with class weights, if there is one: its mean is exact however a batch is cut."""
        return self._of_classes[0].weight(labels) if self._of_classes else (labels != VOID).sum()

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        return torch.cat([loss.sums(logits, labels) for _, loss in self._losses])

    def value(self, sums: Tensor) -> Tensor:
        parts = zip(self._losses, torch.split(sums, self._sizes), strict=True)
        return torch.stack([weight * loss.value(part) for (weight, loss), part in parts]).sum()


def build_loss(section: LossSection, classes: int) -> Loss:
    """The loss of a config for logits of `classes` channels."""
    parts = LOSSES.parts()
    losses = [(weight, parts[name].build(section, classes)) for name, weight in section.weights().items()]
    for name, (_, loss) in zip(section.weights(), losses, strict=True):
        if parts[name].origin != BUILT_IN:
            _check_contract(name, loss, classes)
    return losses[0][1] if len(losses) == 1 and losses[0][0] == 1 else WeightedSum(losses)


def _check_contract(name: str, loss: Loss, classes: int) -> None:
    """Try a loss of a plugin or a package on two small images. Raises ComponentError where it breaks the
    contract, which would be told later as a fault of whoever adds the losses up."""
    with torch.random.fork_rng(devices=[]):
        logits = torch.randn(2, classes, 64, 64, requires_grad=True)
        labels = torch.randint(classes, (2, 64, 64), dtype=torch.uint8)
        for part in ("terms", "sums", "value"):
            if not hasattr(loss, part):
                raise ComponentError(f"loss {name}: has no {part}; it needs terms, sums() and value()")
        sums: object = loss.sums(logits, labels)
        if not isinstance(sums, Tensor) or list(sums.shape) != [loss.terms]:
            must_be = f"float64 [{loss.terms}], as terms says"
            raise ComponentError(f"loss {name}: sums() gives {_told(sums)}; it must be {must_be}")
        value: object = loss.value(sums)
        if not isinstance(value, Tensor) or value.ndim != 0 or not value.requires_grad:
            raise ComponentError(f"loss {name}: value() gives {_told(value)}; it must be [] with a gradient")


def _told(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    gradient = "" if value.requires_grad else " without a gradient"
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}{gradient}"
