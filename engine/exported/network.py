"""An ONNX file of `seg-engine export`, run by onnxruntime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.config.export import METADATA
from engine.config.windows import WindowGrid
from engine.data.decode import resize_image, resize_labels
from engine.errors import EngineError
from engine.exported.class_maps import ClassIds, Logits, class_map
from engine.exported.windows import windowed_logits
from engine.host.input_files import InputFileError, refuse_irregular
from engine.metrics.latency import Timing, time_passes
from engine.run.checkpoint_file import first_line


class ExportedError(EngineError):
    """A file that is no exported network, or that cannot be run here; the message is one line."""


@dataclass(frozen=True)
class ExportedModel:
    """A network and what its file says of it; `size` is the (height, width) that images are resized to, of
    which the network sees `windows`."""

    path: Path
    classes: tuple[str, ...]
    colors: tuple[str, ...]
    size: tuple[int, int]
    about: dict[str, Any]
    session: Any
    windows: WindowGrid = field(default_factory=WindowGrid)

    @classmethod
    def open(cls, path: Path, threads: int = 0) -> ExportedModel:
        """With so many threads; 0: as many as onnxruntime takes by itself. Raises ExportedError."""
        try:
            import onnxruntime
        except ImportError as error:
            raise ExportedError(f"{path}: needs onnxruntime: pip install 'seg-engine[export]'") from error
        try:
            refuse_irregular(path)
        except InputFileError as error:
            raise ExportedError(str(error)) from error
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen kinds of its own, without a common base
            told = f"{path}: is no ONNX file that onnxruntime can run: {first_line(error)}"
            raise ExportedError(told) from error
        try:
            about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
            height, width = about["size"]
            return cls(path, tuple(about["classes"]), tuple(about["colors"]), (height, width), about, session)
        except (KeyError, TypeError, ValueError) as error:
            raise ExportedError(
                f"{path}: was not written by `seg-engine export`: it does not name its classes"
            ) from error

    def at(self, size: tuple[int, int], windows: WindowGrid) -> ExportedModel:
        """The same file for images of another size, in windows. Raises ExportedError where it cannot take
        what it would see at once, and where class ids would have to be averaged."""
        seen = windows.size or size
        if windows.size is not None and self.gives_ids:
            raise ExportedError(
                f"{self.path}: gives class ids alone, which windows cannot average; export it "
                "without --argmax"
            )
        if problem := self.size_problem(*seen):
            raise ExportedError(f"{self.path}: {problem}")
        return replace(self, size=size, windows=windows)

    def size_problem(self, height: int, width: int) -> str:
        """Why the file cannot take images of height x width pixels, "" where it can."""
        own = tuple(self.about["size"])
        if (height, width) == own:
            return ""
        if not self.takes_any_size:
            return (
                f"sees {own[0]}x{own[1]} at once, not {height}x{width}; use windows of that size, or export "
                "it with --dynamic"
            )
        stride, least = self.about.get("multiple_of", 1), self.about.get("least_side", 1)
        if height % stride or width % stride:
            return f"sees sides that divide by {stride}, not {height}x{width}"
        return f"sees sides of at least {least}, not {height}x{width}" if min(height, width) < least else ""

    @property
    def gives_ids(self) -> bool:
        """Whether its output are class ids, made at the input size; else logits."""
        return bool(self.session.get_outputs()[0].name == "class_ids")

    @property
    def sha256(self) -> str:
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def takes_any_size(self) -> bool:
        """Whether images may have another size than that which they are resized to."""
        return not all(isinstance(side, int) for side in self.session.get_inputs()[0].shape)

    @property
    def precision(self) -> str:
        """Of its weights: int8 where it was quantised."""
        return str(self.about.get("quantize") or "fp32")

    def output(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits float32 [C, h, w], or class ids uint8 [h, w], of pixels uint8 [h, w, 3] of its size. Raises
        ExportedError where onnxruntime cannot do it, as where memory does not suffice."""
        output: NDArray[Any] = self._run(self._input(pixels))[0]
        return output

    def _run(self, images: NDArray[Any]) -> NDArray[Any]:
        try:
            output: NDArray[Any] = self.session.run(None, {"images": images})[0]
        except Exception as error:  # as above
            shape = "x".join(map(str, images.shape))
            raise ExportedError(f"{self.path}: cannot be run on {shape}: {first_line(error)}") from error
        return output

    def _input(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        images: NDArray[Any] = pixels[None]
        if self.session.get_inputs()[0].type == "tensor(uint8)":
            return images
        mean, std = (np.array(self.about[name], np.float32) for name in ("mean", "std"))
        return np.ascontiguousarray(((images.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))

    def logits(self, image: Image.Image) -> Logits:
        """Of an RGB image, at the input size. Raises ExportedError where the file gives class ids alone, and
        where a logit is NaN or infinite."""
        if self.gives_ids:
            raise ExportedError(f"{self.path}: gives class ids alone; export it without --argmax")
        logits = windowed_logits(self.windows, self.output, resize_image(image, self.size))
        if not np.isfinite(logits).all():
            raise ExportedError(f"{self.path}: the network's output is NaN or infinite")
        return logits

    def class_map(self, image: Image.Image, size: tuple[int, int], label_resize: str) -> ClassIds:
        """Train ids uint8 [H, W] at `size` of an RGB image."""
        if self.gives_ids:
            output: ClassIds = self.output(resize_image(image, self.size))
            return output if output.shape == size else resize_labels(output, size)
        return class_map(self.logits(image), size, label_resize)

    def passes(self, size: tuple[int, int], protocol: str) -> Callable[[], object]:
        """A pass of a random image of that (height, width): from its pixels to class ids (`engine`), or
        through the file alone (`literature`)."""
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        if protocol == "literature":
            images = self._input(pixels)
            return lambda: self._run(images)
        if self.gives_ids:
            return lambda: self.output(pixels)
        return lambda: windowed_logits(self.windows, self.output, pixels).argmax(axis=0)

    def latency(self) -> Timing:
        """Passes from pixels of the input size to class ids of that size, briefly."""
        return time_passes(self.passes(self.size, "engine"), warm=2, least=5, seconds=10.0, most=20)
