"""What the tasks that predict do with a CRF: choose its parameters, refine class maps, and tell what it
took."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config.crf import CrfParameters
from engine.inference.crf.found import Found, found_path, load_found
from engine.inference.crf.mean_field import DenseCrf
from engine.inference.network import Network
from engine.learning.class_maps import largest_class, logits_at
from engine.learning.transfers import to_device
from engine.metrics.scores import Scores
from engine.run.crf_events import CrfResult, CrfScores, CrfUse
from engine.run.directory import RunDir, RunDirError
from engine.typed import typed
from engine.worker.job import Job


@dataclass
class Refinement:
    """A CRF of the section `crf`. `searched`: with parameters that a search found for the checkpoint."""

    crf: DenseCrf
    at: Literal["input", "original"]
    searched: bool = False
    seconds: list[float] = field(default_factory=list)
    """What each image took, the upsampling of its logits included."""

    @classmethod
    def of(cls, job: Job, network: Network, at: Literal["input", "original"]) -> Refinement | None:
        """That of the job's config, at the size `at`; None where it is off. Says in the log which parameters
        it has."""
        config, about = job.config.crf, job.config.of_network
        if config.mode == "off" or about is None:
            return None
        made = cls(DenseCrf(config.parameters), at)
        told = "of the config"
        if config.mode == "searched":
            checkpoint = Path(job.run.path, about.checkpoint).resolve()
            path = found_path(checkpoint, network.sha256, at, job.run.outputs)
            found = load_found(path, network.sha256, at)
            told = "defaults"
            size = "x".join(map(str, network.size))
            there = "" if found is None or at == "original" else _searched_size(job, found)
            if found is None:
                job.warn(
                    f"CRF: no parameters were searched for this checkpoint at the {at} size, so it has the "
                    f"defaults; `{typed('crf-search', about.source, '--at', at)}` searches some"
                )
            elif there and there != size:
                again = typed("crf-search", about.source, f"data.size={size}", "--at", at)
                job.warn(
                    f"CRF: the parameters for this checkpoint were searched at {there}, and deviations in "
                    f"pixels do not suit {size}, so it has the defaults; `{again}` searches some"
                )
            else:
                made, told = cls(DenseCrf(found.crf), at, searched=True), f"of {path}"
                if found.miou is not None and found.without is not None and found.miou <= found.without:
                    job.warn(f"CRF: in the search by {found.run} no parameters raised the mean IoU")
        job.say(f"CRF: parameters {told}: {made.words}")
        return made

    @property
    def words(self) -> str:
        """The parameters in short."""
        return words(self.crf.parameters)

    def class_map(self, logits: Tensor, image: NDArray[np.uint8], label_resize: str) -> Tensor:
        """The refined class map uint8 [H, W] of an image uint8 [H, W, 3], from logits [1, C, h, w].

        On CUDA the host waits: for the number of vertices of the lattice, and for the time that it took.
        """
        _wait(logits.device)
        begun = time.perf_counter()
        height, width = image.shape[:2]
        whole = logits_at(logits, (height, width), label_resize)
        # A softmax of logits differs from their logarithms of probabilities by a constant a pixel.
        beliefs = self.crf.refined(to_device(image, logits.device), whole)
        classes = largest_class(beliefs, dim=2)
        _wait(logits.device)
        self.seconds.append(time.perf_counter() - begun)
        return classes

    def median_seconds(self) -> float | None:
        """Of the images of this attempt; None where there was none."""
        return round(float(np.median(self.seconds)), 6) if self.seconds else None

    def result(
        self,
        split: Literal["train", "val", "test", ""],
        images: int,
        before: CrfScores | None = None,
        after: CrfScores | None = None,
        corruption: str = "",
        strength: int = 0,
    ) -> CrfResult:
        """The event that tells what the CRF made of the predictions."""
        slowest = float(np.percentile(self.seconds, 95)) if self.seconds else None
        return CrfResult(
            split=split,
            at=self.at,
            corruption=corruption,
            strength=strength,
            images=images,
            use=use_of(self.crf.parameters),
            searched=self.searched,
            timed=len(self.seconds),
            seconds=self.median_seconds(),
            p95_seconds=None if slowest is None else round(slowest, 6),
            before=before,
            after=after,
        )


def _searched_size(job: Job, found: Found) -> str:
    """The input size at which parameters were searched, "" where the run that did so is not here."""
    try:
        return "x".join(map(str, RunDir(job.run.path.parent / found.run).read_config().data.size))
    except RunDirError:
        return ""


def use_of(parameters: CrfParameters) -> CrfUse:
    """The parameters as an event has them."""
    return CrfUse(**parameters.model_dump())


def words(about: CrfParameters) -> str:
    """Parameters in short, such as "bilateral 2, 24 px, 5 rgb; Gaussian 1, 1 px; 10 iterations"."""
    bilateral = (
        f"{about.bilateral_weight:g}, {about.bilateral_sigma_xy:g} px, {about.bilateral_sigma_rgb:g} rgb"
    )
    gaussian = f"{about.gaussian_weight:g}, {about.gaussian_sigma:g} px"
    return f"bilateral {bilateral}; Gaussian {gaussian}; {about.iterations} iterations"


def crf_scores(scores: Scores, classes: tuple[str, ...]) -> CrfScores:
    """Scores as an event has them."""
    return CrfScores(
        dice=scores.dice,
        dice_image=scores.dice_image,
        miou=scores.miou,
        pixel_accuracy=scores.pixel_accuracy,
        class_dice=dict(zip(classes, scores.class_dice, strict=True)),
        class_iou=dict(zip(classes, scores.class_iou, strict=True)),
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
