"""Quantising an ONNX file to int8: weights by channel, activations by the ranges seen on training images."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.config.export import METADATA
from engine.config.run_config import RunConfig
from engine.data.decode import resize_image
from engine.data.image_files import read_image
from engine.data.membership import Trained
from engine.data.pairs import open_pairs
from engine.inference.export.formats import quiet
from engine.inference.export.network import ExportedNetwork
from engine.run.directory import RunDir


def calibration_images(
    config: RunConfig, run: RunDir, cache: Path, size: tuple[int, int], count: int
) -> list[Tensor]:
    """`count` images that the run was trained on, or all, spread over them: uint8 [1, H, W, 3] at `size`.

    Raises DataError where the data is gone or has changed beyond use, such as a damaged image.
    """
    pairs = open_pairs(config.data, "train", cache, trained=Trained.find(run))
    most = len(pairs.samples)
    found = []
    for place in np.linspace(0, most - 1, min(count, most)).round().astype(int):
        image = read_image(pairs.samples[place].image)
        found.append(torch.from_numpy(resize_image(image, size).copy())[None])
    return found


def quantize(
    file: Path, network: ExportedNetwork, images: Sequence[Tensor], about: Mapping[str, Any]
) -> None:
    """Replace an ONNX file by its int8 form: QDQ, which any runtime may fuse. `about` are its metadata."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = self._inputs()

        def _inputs(self) -> Iterator[dict[str, Any]]:
            for pixels in images:
                yield {"images": network.prepared(pixels).numpy()}

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    with tempfile.TemporaryDirectory(dir=file.parent) as folder, quiet():
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        # onnxruntime's inference of shapes fails where a size follows from another's; onnx's own is enough.
        quant_pre_process(file, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            made,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose", "MatMul", "Gemm"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(made)  # the quantiser leaves metadata out
        for path in file.parent.glob(f"{file.name}*"):
            path.unlink()  # with a file of weights that there may be
        onnx.helper.set_model_props(model, {METADATA: json.dumps(about)})
        onnx.save(model, file)
