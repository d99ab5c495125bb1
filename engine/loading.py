"""Networks for programs: `engine.load`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.config.seen import USUAL, Seen
from engine.data.decode import resize_image
from engine.data.image_files import IMAGE_MODES, as_rgb
from engine.exported.class_maps import ClassIds, Logits, class_map, probability_map
from engine.exported.network import ExportedModel
from engine.run.files import absolute


@dataclass(frozen=True)
class Prediction:
    """Class ids uint8 [H, W], positions in the network's `classes`, and the probability that it gives them,
    float32 [H, W] from 0 to 1; None from a file that was exported with --argmax."""

    ids: ClassIds
    scores: NDArray[np.float32] | None


@dataclass(frozen=True)
class LoadedNetwork(ABC):
    """A network that was trained here. `colors` are those of its classes, "#rrggbb"; `size` is the (height,
    width) in pixels at which it sees images."""

    classes: tuple[str, ...]
    colors: tuple[str, ...]
    size: tuple[int, int]

    def predict(self, image: NDArray[np.uint8] | Image.Image | str | Path) -> Prediction:
        """The classes of an image at its own size: pixels uint8 [H, W, 3] in RGB, a Pillow image or a file.

        Raises ValueError for an array or pixels of another kind, OSError for a file that cannot be read, and
        EngineError where the network gives NaN or infinity.
        """
        picture = opened(image)
        size = picture.height, picture.width
        logits = self.logits(picture)
        return Prediction(class_map(logits, size, "bilinear-logits"), probability_map(logits, size))

    def class_map(self, image: NDArray[np.uint8] | Image.Image | str | Path) -> ClassIds:
        """The class ids that `predict` gives, faster, as no probability is computed."""
        picture = opened(image)
        return class_map(self.logits(picture), (picture.height, picture.width), "bilinear-logits")

    @abstractmethod
    def logits(self, image: Image.Image) -> Logits:
        """Float32 [C, h, w] at the network's own size, of an RGB image."""


@dataclass(frozen=True)
class NetworkOfFile(LoadedNetwork):
    """An ONNX file of `seg-engine export`."""

    model: ExportedModel

    def predict(self, image: NDArray[np.uint8] | Image.Image | str | Path) -> Prediction:
        if not self.model.gives_ids:
            return super().predict(image)
        return Prediction(self.class_map(image), None)

    def class_map(self, image: NDArray[np.uint8] | Image.Image | str | Path) -> ClassIds:
        picture = opened(image)
        way = "nearest" if self.model.gives_ids else "bilinear-logits"
        return self.model.class_map(picture, (picture.height, picture.width), way)

    def logits(self, image: Image.Image) -> Logits:
        return self.model.logits(image)


@dataclass(frozen=True)
class NetworkOfRun(LoadedNetwork):
    """A checkpoint of a run; `network` is that of `engine.inference.network`, with torch."""

    network: Any

    def class_map(self, image: NDArray[np.uint8] | Image.Image | str | Path) -> ClassIds:
        from engine.learning.class_maps import class_map

        picture = opened(image)
        size = picture.height, picture.width
        found: ClassIds = class_map(self._finite_logits(picture), size, "bilinear-logits").cpu().numpy()
        return found

    def logits(self, image: Image.Image) -> Logits:
        found: Logits = self._finite_logits(image)[0].cpu().numpy()
        return found

    def _finite_logits(self, image: Image.Image) -> Any:
        from engine.inference.network import are_finite, refuse_infinite

        logits = self.network.logits([resize_image(image, self.size)])
        refuse_infinite(bool(are_finite(logits)), "an image")
        return logits


def opened(image: NDArray[np.uint8] | Image.Image | str | Path) -> Image.Image:
    """An image as Pillow's, in RGB."""
    if isinstance(image, str | Path):
        image = Image.open(image)
    if isinstance(image, Image.Image):
        if image.mode not in IMAGE_MODES:
            raise ValueError(f"the image has pixels of type {image.mode}; it must have 8 bits per channel")
        return as_rgb(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"the image is {image.dtype} {list(image.shape)}; it must be uint8 [H, W, 3], RGB")
    return Image.fromarray(image)


def load(
    source: str | Path, workspace: str | Path, checkpoint: str, device: str, seen: Seen = USUAL
) -> LoadedNetwork:
    """What `engine.load` does."""
    if str(source).endswith(".onnx"):
        model = ExportedModel.open(absolute(source))
        model = model.at(*seen.settled(model.size))
        return NetworkOfFile(model.classes, model.colors, model.size, model)
    return _of_run(str(source), absolute(workspace), checkpoint, device, seen)


def _of_run(name: str, root: Path, checkpoint: str, device: str, seen: Seen) -> NetworkOfRun:
    from engine.config.keys import with_values
    from engine.inference.network import load_model, ready
    from engine.learning.hardware import choose_hardware, settle_arithmetic
    from engine.learning.windows import Windows
    from engine.requests.derive import checkpoint_of, source_run, trained_config
    from engine.workspace import Workspace

    workspace = Workspace(root)
    if not workspace.on_server and not workspace.database.exists():
        raise FileNotFoundError(f"{root}: is no workspace: it has no {workspace.database.name}")
    with workspace.open_store(look=True) as store:
        row = source_run(store, name)
    config = with_values(trained_config(workspace, row), {"device": device, "devices": "1"})
    size, grid = seen.settled(config.data.size, config.model.size_problem)
    path = Path(workspace.run_dir(row.id).path, checkpoint_of(workspace, row, checkpoint, waits=False))
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    loaded = load_model(path.resolve(), config.model, ())
    windows = Windows(grid.size, grid.stride)
    network = replace(ready(loaded, config, hardware, windows=windows), size=size)
    return NetworkOfRun(network.classes, row.colors, network.size, network)
