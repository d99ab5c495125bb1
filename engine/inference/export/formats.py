"""Each format: how a network is written to a file, and how the program that it is for runs the file."""

from __future__ import annotations

import io
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim

from engine.config.export import METADATA, ExportConfig
from engine.inference.export.network import ExportedNetwork
from engine.run.files import replacing

OPSET = 20
"""Of ONNX: the newest that onnxruntime has run for years."""

MOST_SIDE = 1 << 16
"""Pixels a side of images of any size has at most."""

MOST_IMAGES = 1024

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Subject:
    """What is written: a network, an input of it, the metadata as JSON, what sides are multiples of, and the
    least of them."""

    network: ExportedNetwork
    wanted: ExportConfig
    example: Tensor
    about: str
    stride: int
    least: int

    @property
    def dynamic_shapes(self) -> dict[str, dict[int, object]] | None:
        """Which dimensions of the images may be any."""
        if not self.wanted.dynamic:
            return None
        least, most = self.least // self.stride, MOST_SIDE // self.stride
        height = self.stride * Dim("height", min=least, max=most)
        width = self.stride * Dim("width", min=least, max=most)
        first = 1 if self.wanted.uint8_input else 2
        return {"images": {0: Dim("batch", min=1, max=MOST_IMAGES), first: height, first + 1: width}}


class Exporter(ABC):
    """`write` makes the file, `load` gives the function that it contains, for CPU tensors."""

    @abstractmethod
    def write(self, subject: Subject, file: Path) -> None:
        """Raises what goes wrong in torch."""

    @abstractmethod
    def load(self, file: Path) -> Run: ...


class Onnx(Exporter):
    def write(self, subject: Subject, file: Path) -> None:
        with quiet():
            program = torch.onnx.export(
                subject.network,
                (subject.example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["images"],
                output_names=["class_ids" if subject.wanted.argmax else "logits"],
                dynamic_shapes=subject.dynamic_shapes,
                verbose=False,
            )
        assert program is not None
        program.model.metadata_props[METADATA] = subject.about
        program.model.producer_name = "seg-engine"
        program.save(file)

    def load(self, file: Path) -> Run:
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


class TorchScript(Exporter):
    def write(self, subject: Subject, file: Path) -> None:
        with quiet(), writing(file) as made:
            traced = torch.jit.trace(subject.network, subject.example, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, made, _extra_files={f"{METADATA}.json": subject.about})

    def load(self, file: Path) -> Run:
        with quiet():
            return torch.jit.load(file)  # type: ignore[no-any-return, no-untyped-call]


class Pt2(Exporter):
    def write(self, subject: Subject, file: Path) -> None:
        with quiet(), writing(file) as made:
            program = torch.export.export(
                subject.network, (subject.example,), dynamic_shapes=subject.dynamic_shapes
            )
            torch.export.save(program, made, extra_files={f"{METADATA}.json": subject.about})

    def load(self, file: Path) -> Run:
        loaded: Run = torch.export.load(file).module()
        return loaded


EXPORTERS: dict[str, Exporter] = {"onnx": Onnx(), "torchscript": TorchScript(), "pt2": Pt2()}


@contextmanager
def writing(file: Path) -> Iterator[io.BytesIO]:
    """What becomes the content of a file. On a full disk, torch's own writer ends the process."""
    made = io.BytesIO()
    yield made
    with replacing(file) as stream:
        stream.write(made.getbuffer())


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporters say of their own future, and print of a program before they fail."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
