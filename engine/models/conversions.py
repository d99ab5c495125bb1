"""How other programs name the weights of the same network: small tables, which `weight_fit` tries."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Conversion:
    """How to read the weights of one program.

    `convert` gets the name of a tensor there, and the tensor; it returns what becomes of it, by names of this
    network or of its encoder: several tensors where this network has them apart, none where there is no place
    for it. It returns {name: tensor} for what it does not know, and never fails, whatever the shape.
    """

    source: str
    """The program and its network, such as "torchvision VGG16"; for people."""
    convert: Callable[[str, Tensor], Weights]


def renaming(source: str, *rules: tuple[str, str]) -> Conversion:
    """A conversion by names alone. Each rule is a pattern for the beginning of a name, and its replacement
    in the form of `re.sub`. The first that matches counts; names that none matches stay."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def convert(name: str, tensor: Tensor) -> Weights:
        for pattern, replacement in compiled:
            if match := pattern.match(name):
                return {match.expand(replacement) + name[match.end() :]: tensor}
        return {name: tensor}

    return Conversion(source, convert)


AS_IS = Conversion("", lambda name, tensor: {name: tensor})

_MIT_PLACES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"layers\.(\d)\.0\.projection\.", r"patch_embed{}.proj."),
        (r"layers\.(\d)\.0\.norm\.", r"patch_embed{}.norm."),
        (r"layers\.(\d)\.1\.(\d+)\.", r"block{}.\2."),
        (r"layers\.(\d)\.2\.", r"norm{}."),
    )
]
_MIT_PARTS = {
    "attn.attn.out_proj.": "attn.proj.",
    "ffn.layers.0.": "mlp.fc1.",
    "ffn.layers.1.": "mlp.dwconv.dwconv.",
    "ffn.layers.4.": "mlp.fc2.",
}


def _from_mit(name: str, tensor: Tensor) -> Weights:
    """A tensor of mmsegmentation's Mix Transformer (SegFormer), as its authors and smp name it. There, linear
    layers are 1x1 convolutions, and query, key and value are one tensor."""
    for pattern, replacement in _MIT_PLACES:
        if match := pattern.match(name):
            place = match.expand(replacement).format(int(match[1]) + 1)
            rest = name[match.end() :]
            if rest.startswith("attn.attn.in_proj_") and tensor.ndim > 0:
                third, kind = len(tensor) // 3, rest.removeprefix("attn.attn.in_proj_")
                return {
                    f"{place}attn.q.{kind}": tensor[:third],
                    f"{place}attn.kv.{kind}": tensor[third:],
                }
            theirs = next((part for part in _MIT_PARTS if rest.startswith(part)), "")
            ours = _MIT_PARTS.get(theirs, "")
            flat = ours in ("mlp.fc1.", "mlp.fc2.") and tensor.ndim == 4
            return {f"{place}{ours}{rest.removeprefix(theirs)}": tensor.flatten(1) if flat else tensor}
    return {name: tensor}


_SWIN = renaming(
    "mmsegmentation Swin",
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"stages\.(\d)\.blocks\.(\d+)\.attn\.w_msa\.", r"layers_\1.blocks.\2.attn."),
    (r"stages\.(\d)\.blocks\.(\d+)\.ffn\.layers\.0\.0\.", r"layers_\1.blocks.\2.mlp.fc1."),
    (r"stages\.(\d)\.blocks\.(\d+)\.ffn\.layers\.1\.", r"layers_\1.blocks.\2.mlp.fc2."),
    (r"stages\.(\d)\.", r"layers_\1."),
)
_SWIN_OF_ITS_AUTHORS = renaming("Swin", (r"layers\.(\d)\.", r"layers_\1."))
_SWIN_MERGING = re.compile(r"(?:stages|layers)\.(\d)\.downsample\.")
_SWIN_BUFFERS = ("attn_mask", "relative_position_index")
"""Positions within a window, which timm computes."""


def _from_swin(name: str, tensor: Tensor) -> Weights:
    """A tensor of mmsegmentation's Swin, as timm names it."""
    theirs = _from_authors_swin(name, tensor, _SWIN)
    return {name: _by_pixel(each) if ".downsample." in name else each for name, each in theirs.items()}


def _from_authors_swin(name: str, tensor: Tensor, names: Conversion = _SWIN_OF_ITS_AUTHORS) -> Weights:
    """A tensor of Swin as its authors publish it, as timm names it. There, a stage ends with the merging of
    patches; in timm, the next stage begins with it."""
    if name.endswith(_SWIN_BUFFERS):
        return {}
    if match := _SWIN_MERGING.match(name):
        return {f"layers_{int(match[1]) + 1}.downsample.{name[match.end() :]}": tensor}
    return names.convert(name, tensor)


def _by_pixel(tensor: Tensor) -> Tensor:
    """Weights of what merges 2x2 pixels (..., C x 4), in the order of `torch.nn.Unfold`: channel by channel,
    the pixels row by row. Returns (..., 4 x C), as Swin's authors have them: pixel by pixel, by columns."""
    if tensor.ndim == 0 or tensor.shape[-1] % 4:
        return tensor
    pixels = tensor.reshape(*tensor.shape[:-1], -1, 4)[..., [0, 2, 1, 3]]
    return pixels.transpose(-1, -2).reshape(tensor.shape)


def _convnext(source: str, depthwise: str, pointwise: str) -> Conversion:
    """From the names of ConvNeXt's authors to those of timm; others differ in those of its convolutions."""
    block = r"stages\.(\d)\.(\d+)\."
    return renaming(
        source,
        (r"downsample_layers\.0\.(\d)\.", r"stem_\1."),
        (r"downsample_layers\.(\d)\.(\d)\.", r"stages_\1.downsample.\2."),
        (rf"{block}{depthwise}\.", r"stages_\1.blocks.\2.conv_dw."),
        (rf"{block}{pointwise}([12])\.", r"stages_\1.blocks.\2.mlp.fc\3."),
        (block, r"stages_\1.blocks.\2."),
    )


_VIT = renaming(
    "mmsegmentation ViT",
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"ln1\.", "norm."),
    (r"layers\.(\d+)\.ln([12])\.", r"blocks.\1.norm\2."),
    (r"layers\.(\d+)\.attn\.attn\.in_proj_", r"blocks.\1.attn.qkv."),
    (r"layers\.(\d+)\.attn\.attn\.out_proj\.", r"blocks.\1.attn.proj."),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
)


GENERAL = (
    # In timm's feature extractors, the parts of a list are parts of the network: stages.0 is stages_0.
    renaming("timm", (r"(stem|stages|layers|blocks|features)\.(\d+)\.", r"\1_\2.")),
    # The three small convolutions in the place of ResNet's first one, which timm calls conv1 as well.
    renaming("mmsegmentation ResNetV1c", (r"stem\.7\.", "bn1."), (r"stem\.(\d)\.", r"conv1.\1.")),
    Conversion("mmsegmentation MiT", _from_mit),
    Conversion("mmsegmentation Swin", _from_swin),
    Conversion("Swin", _from_authors_swin),
    _VIT,
    _convnext("mmsegmentation ConvNeXt", "depthwise_conv", "pointwise_conv"),
    _convnext("ConvNeXt", "dwconv", "pwconv"),
)
"""Conversions that are tried for every network."""
