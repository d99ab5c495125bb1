"""What a network is exported as. Torch-free: the command line fills it in, the exporting process obeys it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.config.fields import Section, Size

Format = Literal["onnx", "torchscript", "pt2"]

SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}
"""Of the exported file, by format."""

METADATA = "seg_engine"
"""The name under which a file's metadata, a JSON object, are found in it: `metadata_props` of ONNX, extra
files of torch's formats, there with the suffix .json."""

MAKING = ".making-"
"""How the name of a folder begins in which a file is made, beside where it is to lie."""

PACKAGES: dict[str, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
"""What a format needs beside torch: the extra `export`."""


class ExportConfig(Section):
    """`size` is the (height, width) of the images in pixels. `dynamic`: any number of images, and any size
    that the network can take. `uint8_input`: images uint8 [B, H, W, 3] that are normalised inside, in the
    place of float32 [B, 3, H, W] that have to be normalised before. `argmax`: class ids uint8 [B, H, W] in
    the place of logits float32 [B, C, H, W]. `quantize`: weights and activations of convolutions as int8,
    their ranges taken from `calibrate` training images."""

    format: Format
    size: Size
    dynamic: bool = False
    uint8_input: bool = False
    argmax: bool = False
    quantize: Literal["", "int8"] = ""
    calibrate: int = Field(64, ge=1, le=100_000)

    @property
    def input(self) -> str:
        """What goes in, in words."""
        if self.uint8_input:
            return "images uint8 [B, H, W, 3], RGB"
        return "images float32 [B, 3, H, W], RGB, normalised: (pixel - mean) / std"

    @property
    def output(self) -> str:
        """What comes out, in words."""
        return "class_ids uint8 [B, H, W]" if self.argmax else "logits float32 [B, C, H, W]"
