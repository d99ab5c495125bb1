"""The network of another run, as evaluation and prediction use it: one image in, its logits out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from engine.components.stored import reading_stored
from engine.config.run_config import RunConfig
from engine.config.task_sections import OfImagesConfig, OfNetworkConfig
from engine.data.batches import normalise
from engine.data.decode import resize_image
from engine.data.membership import Trained
from engine.errors import EngineError
from engine.learning.checkpoint import CheckpointError, check_fits, load_with_digest
from engine.learning.compiled_passes import CompiledPasses
from engine.learning.hardware import Hardware
from engine.learning.transfers import to_device
from engine.learning.weight_average import validated_weights
from engine.learning.windows import WHOLE_IMAGES, Windows
from engine.models import ModelSection
from engine.models.builtin import MODELS
from engine.models.contract import SegmentationNetwork, outputs_of
from engine.models.registry import build_model
from engine.run.directory import RunDir
from engine.worker.job import Job

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""Of test-time augmentation: those of Chen et al., "Encoder-Decoder with Atrous Separable Convolution for
Semantic Image Segmentation" (DeepLabv3+), ECCV 2018."""


class PredictionError(EngineError):
    """A network whose output cannot be used; the message is one line."""


@dataclass(frozen=True)
class Network:
    """A trained network in evaluation mode on its device. `epoch` is that of the checkpoint, `sha256` that
    of its file; raw weights that lie beside an average have another. `windows` are cut out of an image of
    `size`, or of every scale of that."""

    model: SegmentationNetwork
    classes: tuple[str, ...]
    epoch: int
    sha256: str
    size: tuple[int, int]
    tta: str
    stride: int
    least_side: int
    hardware: Hardware
    windows: Windows = WHOLE_IMAGES
    passes: CompiledPasses | None = None
    """The network as a task with many images takes them through it; None: as it is."""

    @property
    def seen(self) -> tuple[int, ...]:
        """The sizes in pixels that decide what the network makes of an image."""
        windows = self.windows
        return self.size if windows.size is None else (*self.size, *windows.size, *windows.stride)

    def views(self, image: Image.Image) -> list[NDArray[np.uint8]]:
        """What the network is to see of an image: uint8 [h, w, 3] at its input size, or at every scale of
        that; each resized from the image itself, so that a larger one shows more."""
        return [resize_image(image, size) for size in self._sizes()]

    @torch.inference_mode()
    def logits(self, views: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Logits float32 [1, C, h, w] at the input size, as `_over` says; those of a compiled network may
        lie where those of the next image will."""
        logits = self._over(views)
        if self.passes is not None:
            self.passes.batch_done()
        return logits

    def _over(self, views: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Logits float32 [1, C, h, w] at the input size.

        With test-time augmentation: the logarithm of the mean of the softmax over all views. Probabilities
        are averaged, as Chen et al. do, because logits have no common scale and one loud view would outvote
        the others; of one view the logarithm is its logits but for a constant a pixel, which no argmax sees,
        not even after a bilinear resize. Whether the logits are finite is for the caller to ask, because the
        host waits for the answer.
        """
        flips = (False, True) if "flip" in self.tta else (False,)
        if len(views) == len(flips) == 1:
            return self._forward(to_device(views[0], self.hardware.device))
        total: Tensor | None = None
        for view in views:
            for flip in flips:
                pixels = to_device(view, self.hardware.device)
                logits = self._forward(pixels.flip(1) if flip else pixels)
                if logits.shape[2:] != self.size:
                    logits = functional.interpolate(logits, size=self.size, mode="bilinear")
                share = (logits.flip(3) if flip else logits).softmax(dim=1)
                total = share if total is None else total.add_(share)
        assert total is not None
        return total.div_(len(views) * len(flips)).clamp_(min=torch.finfo(total.dtype).tiny).log_()

    def _sizes(self) -> list[tuple[int, int]]:
        if "scales" not in self.tta:
            return [self.size]
        height, width = self.size
        step, least = self.stride, self.least_side
        return [
            (max(least, round(height * scale / step) * step), max(least, round(width * scale / step) * step))
            for scale in SCALES
        ]

    def _forward(self, pixels: Tensor) -> Tensor:
        inputs = normalise(pixels.unsqueeze(0))
        with self.hardware.autocast():
            logits = self.windows.logits(self._of_part, inputs)
        return logits.float()

    def _of_part(self, part: Tensor) -> Tensor:
        return outputs_of(self.model, part).logits if self.passes is None else self.passes.logits(part)


def are_finite(logits: Tensor) -> Tensor:
    """Whether no logit is NaN or infinite, bool [] on the device."""
    return torch.isfinite(logits).all()


def refuse_infinite(finite: bool, name: str) -> None:
    """Raise PredictionError, which names the image, unless its logits are `finite`."""
    if not finite:
        raise PredictionError(f"{name}: the network's output is NaN or infinite; its training diverged")


def trained_run(job: Job, about: OfNetworkConfig) -> Trained | None:
    """What is known of the run whose network this is: the one beside this run's folder, else that in whose
    folder the checkpoint lies; None where neither is here. Raises DataError."""
    beside = Trained.find(RunDir(job.run.path.parent / about.source))
    if beside is not None:
        return beside
    return Trained.find(RunDir(Path(job.run.path, about.checkpoint).resolve().parent.parent))


@dataclass(frozen=True)
class LoadedModel:
    """The network of a checkpoint on the CPU; `epoch` is the checkpoint's, `sha256` that of its file, and of
    raw weights that lie beside an average another."""

    model: SegmentationNetwork
    section: ModelSection
    classes: tuple[str, ...]
    epoch: int
    sha256: str


def load_model(
    path: Path, section: ModelSection | None, classes: Sequence[str], use: str = ""
) -> LoadedModel:
    """The network in a checkpoint of an architecture, None: whichever it is of. Raises CheckpointError.

    `classes` are those it has to know; none: whatever it knows. `use` is that of `validated_weights`.
    """
    content, sha256 = load_with_digest(path)
    if not {"model", "model_config", "classes", "epoch"} <= content.keys():
        raise CheckpointError(f"{path}: contains no segmentation network")
    known = [str(name) for name in content["classes"]]
    section = section or _section_of(path, content["model_config"])
    check_fits(path, content, section, list(classes) or known)
    model = build_model(section, len(known))
    model.load_state_dict(validated_weights(content, use))
    if "ema" in content and use == "raw":
        sha256 = hashlib.sha256(f"{sha256} raw".encode()).hexdigest()
    return LoadedModel(model, section, tuple(known), int(content["epoch"]), sha256)


def _section_of(path: Path, table: Mapping[str, Any]) -> ModelSection:
    """The section that a checkpoint was made with. Raises CheckpointError when it is not known here."""
    kind = MODELS.sections().get(table.get("name", MODELS.default))
    if kind is None:
        raise CheckpointError(
            f"{path}: is of model.name={table['name']}, and there is no such model here; --plugin FILE.py "
            "names a plugin that has it"
        )
    try:
        with reading_stored():
            return kind.model_validate(table)
    except ValidationError as error:
        raise CheckpointError(f"{path}: is of the model {table}, which this version cannot make") from error


def load_network(config: RunConfig, run_path: Path, hardware: Hardware, classes: Sequence[str]) -> Network:
    """The network of the checkpoint that the config names. Raises CheckpointError.

    `classes` are those it has to know; none: whatever it knows.
    """
    about = config.of_network
    assert about is not None
    path = Path(run_path, about.checkpoint).resolve()
    loaded = load_model(path, config.model, classes, config.ema.use)
    tta = about.tta if isinstance(about, OfImagesConfig) else "none"
    return ready(loaded, config, hardware, tta, Windows.of(config.windowed))


def ready(
    loaded: LoadedModel,
    config: RunConfig,
    hardware: Hardware,
    tta: str = "none",
    windows: Windows = WHOLE_IMAGES,
) -> Network:
    """A loaded network on its device, for images of the config's size."""
    model = loaded.model.to(hardware.device)
    if config.runtime.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return Network(
        model=model.eval(),
        classes=loaded.classes,
        epoch=loaded.epoch,
        sha256=loaded.sha256,
        size=config.data.size,
        tta=tta,
        stride=config.model.input_stride(),
        least_side=config.model.least_side(),
        hardware=hardware,
        windows=windows,
    )
