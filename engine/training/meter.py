"""What is counted while a split passes through the network once."""

from __future__ import annotations

import copy
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.learning.class_maps import largest_class
from engine.learning.distributed import Group
from engine.metrics.confusion import ConfusionSum, confusion_per_image
from engine.metrics.scores import Scores
from engine.models.layers import has_kernels, kernels_serve
from engine.run.event import ClassScores, Split
from engine.run.events import Epoch
from engine.training.objectives import Objective, Tally

NO_SCORES = Scores(None, None, None, None, (), (), 0)


@dataclass(frozen=True)
class EarlierLoss:
    """What version 0.1 had counted of a half-done pass: the total over `images` images of the mean loss of
    their batch. It kept no sums, so the loss of that epoch weighs both parts by their images."""

    total: float = 0.0
    images: int = 0

    def with_later(self, loss: float | None, images: int) -> float | None:
        """The loss of the whole pass of `images` images, that of the later ones being `loss`."""
        if self.images == 0:
            return loss
        if loss is None:
            return self.total / self.images
        return (self.total + loss * (images - self.images)) / images


class EpochMeter:
    """Loss, confusion and time of one pass, or of one rank's part of it; the sums stay on the device until
    they are asked for. With 0 classes there is no confusion, and no Dice.

    The loss is that of the whole pass: the objective's sums are added up, so it does not depend on how the
    pass was cut into batches, micro-batches and ranks. `batches` keeps that many sums apart, so that their
    total is the same to the last bit whichever ranks bring them; of so many `images_apart` it keeps the
    confusions of each, which waits for the device. `state` and `load` carry a half-done pass
    through a checkpoint.
    """

    def __init__(
        self,
        classes: int,
        device: torch.device,
        objective: Objective,
        batches: int = 1,
        images_apart: int = 0,
    ) -> None:
        self.confusion = ConfusionSum(classes, device) if classes else None
        apart = (images_apart, classes, classes + 1)
        self._by_image = torch.zeros(apart, dtype=torch.int32) if classes and images_apart else None
        self.images = 0
        self.seconds = 0.0
        self.waited = 0.0
        self._images_beside = 0
        self._objective = objective
        self._sums = torch.zeros(batches, objective.terms, dtype=torch.float64, device=device)
        self._earlier = EarlierLoss()
        self._clock = time.perf_counter()
        self._peak: int | None = None
        self.held_bytes = 0
        """Bytes of the peak that a CUDA graph holds: a replay allocates nothing."""
        reset_peak_memory(device)

    def start_clock(self) -> None:
        self._clock = time.perf_counter()

    def data_arrived(self) -> None:
        """The step has its batch: what passed since the last step was waiting."""
        now = time.perf_counter()
        self.waited += now - self._clock
        self._advance(now)

    def add(self, sums: Tensor, outputs: Tensor, targets: Tensor, batch: int = 0, first: int = 0) -> None:
        """A batch: the sums of its loss, which are kept at `batch`; with classes its logits [B, C, H, W] and
        train ids [B, H, W]. `first` is the place of its first image in the split."""
        self.count(sums, outputs, targets, batch, first)
        self.passed(len(targets))

    def count(self, sums: Tensor, outputs: Tensor, targets: Tensor, batch: int = 0, first: int = 0) -> None:
        """What `add` does on the device."""
        if self._at_once(outputs, targets):
            assert self.confusion is not None
            given = outputs.detach(), targets, sums.detach()
            torch.ops.seg_engine.count(*given, self.confusion.state, self._sums[batch])
            return
        if self.confusion is not None:
            predicted = largest_class(outputs.detach())
            self.confusion.update(predicted, targets)
            if self._by_image is not None:
                counts = confusion_per_image(predicted, targets, self.confusion.classes)
                self._by_image[first : first + len(targets)] += counts.cpu()
        self._sums[batch] += sums.detach()

    def _at_once(self, outputs: Tensor, targets: Tensor) -> bool:
        """Whether one kernel can count the batch."""
        if self.confusion is None or self._by_image is not None or not kernels_serve(outputs):
            return False
        from engine.training import count_kernel

        fits = outputs.shape[1] == self.confusion.classes <= count_kernel.MOST_CLASSES
        return fits and targets.dtype == torch.uint8

    def tally(self) -> Tally | None:
        """What a kernel that computes the loss of a batch may add to, where that is possible at all."""
        if self.confusion is None or self._by_image is not None or not has_kernels(self._sums.device):
            return None
        from engine.training import count_kernel

        fits = self.confusion.classes <= count_kernel.MOST_CLASSES
        return Tally(self.confusion.classes, self.confusion.state, self._sums[0]) if fits else None

    def passed(self, images: int) -> None:
        """So many images have passed, which the device has counted."""
        self.images += images
        self._advance(time.perf_counter())

    def restart(self) -> None:
        """Count another pass from 0, in the same memory: a CUDA graph of the step adds to it."""
        if self.confusion is not None:
            self.confusion.state.zero_()
        self._sums.zero_()
        self._earlier = EarlierLoss()
        self.images, self.seconds, self.waited = 0, 0.0, 0.0
        self._images_beside = 0
        self.start_clock()
        reset_peak_memory(self._sums.device)

    def matrix(self) -> NDArray[np.int64]:
        """The counts of the whole pass, int64 [C, C + 1]; waits for the device."""
        assert self.confusion is not None
        return self.confusion.matrix().cpu().numpy()

    def matrices(self) -> list[NDArray[np.int64]] | None:
        """The counts of each image, where they are kept apart."""
        return None if self._by_image is None else list(self._by_image.long().numpy())

    def loss(self) -> float | None:
        """The loss over all that was counted, None where nothing was; waits for the device."""
        total = self._sums.sum(dim=0).cpu()
        loss = float(self._objective.value(total)) if total[0] else None
        return self._earlier.with_later(loss, self.images)

    def over(self, group: Group) -> EpochMeter:
        """What all ranks have counted together; the times are this rank's, who all wait for each other."""
        if group.count == 1:
            return self
        total = copy.copy(self)
        if self.confusion is not None:
            total.confusion = ConfusionSum(self.confusion.classes, self._sums.device)
            total.confusion.merge(self.confusion)
            group.total(total.confusion.state)
        if self._by_image is not None:
            total._by_image = group.total(self._by_image.clone())
        total._sums = group.total(self._sums.clone())
        total.images = int(group.total(torch.tensor(self.images)))
        total._peak = group.largest(self.peak_memory())
        total.start_clock()
        return total

    def include_time_of(self, others: Iterable[EpochMeter]) -> None:
        """Other passes over the images belong to this one, such as that of the raw weights beside their
        average: they count in its time and its rate, and in nothing else."""
        for other in others:
            self.seconds += other.seconds
            self.waited += other.waited
            self._images_beside += other.images
        self.start_clock()

    @property
    def images_per_second(self) -> float:
        return (self.images + self._images_beside) / self.seconds if self.seconds > 0 else 0.0

    def event(self, epoch: int, split: Split, class_names: list[str], lr: float) -> Epoch:
        """The pass as a journal event; waits for the device."""
        scores = NO_SCORES if self.confusion is None else self.confusion.compute()
        loss = self.loss()
        self._advance(time.perf_counter())
        return Epoch(
            epoch=epoch,
            split=split,
            loss=loss,
            **score_fields(scores, class_names),
            lr=lr,
            seconds=round(self.seconds, 3),
            images_per_second=round(self.images_per_second, 3),
            data_wait=round(self.waited / self.seconds, 5) if self.seconds > 0 else 0.0,
            peak_memory_bytes=self.peak_memory() if self._peak is None else self._peak,
        )

    def peak_memory(self) -> int:
        """Bytes, as `peak_memory` counts them; what the graph of a step holds is among them."""
        return max(peak_memory(self._sums.device), self.held_bytes)

    def state(self) -> dict[str, Any]:
        return {
            "confusion": None if self.confusion is None else self.confusion.state.clone(),
            "sums": self._sums.clone(),
            "earlier": [self._earlier.total, self._earlier.images],
            "images": self.images,
            "seconds": self.seconds,
            "waited": self.waited,
        }

    def load(self, state: dict[str, Any]) -> None:
        if self.confusion is not None:
            self.confusion.state.copy_(state["confusion"])
        if "sums" in state:
            self._sums.copy_(state["sums"])
            self._earlier = EarlierLoss(*state["earlier"])
        else:
            self._earlier = EarlierLoss(float(state["loss"].sum()), state["images"])
        self.images, self.seconds, self.waited = state["images"], state["seconds"], state["waited"]

    def _advance(self, now: float) -> None:
        self.seconds += now - self._clock
        self._clock = now


def score_fields(scores: Scores, class_names: list[str]) -> dict[str, Any]:
    """The fields that the journal's `epoch` and `result` events share."""
    class_dice: ClassScores = dict(zip(class_names, scores.class_dice, strict=True))
    class_iou: ClassScores = dict(zip(class_names, scores.class_iou, strict=True))
    return {
        "dice": scores.dice,
        "dice_image": scores.dice_image,
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "class_dice": class_dice,
        "class_iou": class_iou,
    }


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: of the pass on CUDA, of the whole life of the process on the CPU (its resident set)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
