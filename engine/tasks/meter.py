"""What is counted while a split passes through the network once."""

from __future__ import annotations

import copy
import resource
import time
from typing import Any

import torch
from torch import Tensor

from engine.events import ClassScores, Epoch, Split
from engine.learning.distributed import Group
from engine.metrics.confusion import ConfusionSum
from engine.metrics.scores import Scores

NO_SCORES = Scores(None, None, None, None, (), (), 0)


class EpochMeter:
    """Loss, confusion and time of one pass, or of one rank's part of it; the sums stay on the device until
    they are asked for. With 0 classes there is no confusion, and no Dice.

    `batches` keeps that many losses apart, so that their sum is the same whichever ranks bring them. `state`
    and `load` carry a half-done pass through a checkpoint.
    """

    def __init__(self, classes: int, device: torch.device, batches: int = 1) -> None:
        self.confusion = ConfusionSum(classes, device) if classes else None
        self.images = 0
        self.seconds = 0.0
        self.waited = 0.0
        self._losses = torch.zeros(batches, dtype=torch.float64, device=device)
        self._clock = time.perf_counter()
        self._peak: int | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def start_clock(self) -> None:
        self._clock = time.perf_counter()

    def data_arrived(self) -> None:
        """The step has its batch: what passed since the last step was waiting."""
        now = time.perf_counter()
        self.waited += now - self._clock
        self._advance(now)

    def add(self, loss: Tensor, answers: Tensor, targets: Tensor, batch: int = 0) -> None:
        """A batch: its mean loss; with classes its logits [B, C, H, W] and train ids [B, H, W]. `batch` is
        where its loss is kept."""
        if self.confusion is not None:
            self.confusion.update(answers.detach().argmax(dim=1).to(torch.uint8), targets)
        self._losses[batch] += loss.detach().double() * len(targets)
        self.images += len(targets)
        self._advance(time.perf_counter())

    def mean_loss(self) -> float:
        """Mean over images of the loss of their batch; waits for the device."""
        return float(self._losses.sum()) / max(1, self.images)

    def over(self, group: Group) -> EpochMeter:
        """What all ranks have counted together; the times are this rank's, who all wait for each other."""
        if group.count == 1:
            return self
        whole = copy.copy(self)
        if self.confusion is not None:
            whole.confusion = ConfusionSum(self.confusion.classes, self._losses.device)
            whole.confusion.merge(self.confusion)
            group.total(whole.confusion.state)
        whole._losses = group.total(self._losses.clone())
        whole.images = int(group.total(torch.tensor(self.images)))
        whole._peak = group.largest(peak_memory(self._losses.device))
        whole.start_clock()
        return whole

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds > 0 else 0.0

    def event(self, epoch: int, split: Split, class_names: list[str], lr: float) -> Epoch:
        """The pass as a journal event; waits for the device."""
        scores = NO_SCORES if self.confusion is None else self.confusion.compute()
        loss = self.mean_loss()
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
            peak_memory_bytes=peak_memory(self._losses.device) if self._peak is None else self._peak,
        )

    def state(self) -> dict[str, Any]:
        return {
            "confusion": None if self.confusion is None else self.confusion.state.clone(),
            "loss": self._losses.clone(),
            "images": self.images,
            "seconds": self.seconds,
            "waited": self.waited,
        }

    def load(self, state: dict[str, Any]) -> None:
        if self.confusion is not None:
            self.confusion.state.copy_(state["confusion"])
        self._losses.copy_(state["loss"])
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


def peak_memory(device: torch.device) -> int:
    """Bytes: of the pass on CUDA, of the whole life of the process on the CPU (its resident set)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
