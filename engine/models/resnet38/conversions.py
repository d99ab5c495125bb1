"""Names of ResNet-38's weights in other programs.

The authors publish files of MXNet. Once these are converted to safetensors, their names are read too.
"""

from __future__ import annotations

import re

from torch import Tensor

from engine.models.conversions import Conversion, Weights

_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_var": "running_var"}

_PARTS = {"branch2a": 0, "branch2b1": 1, "branch2b2": 2}
"""The convolutions of a block, by the authors' names."""

_MXNET = re.compile(
    r"(?:arg:|aux:)?(?P<kind>res|bn)(?P<level>[2-7])(?:a|b(?P<index>\d+))_(?P<part>branch\w+?)_"
    r"(?P<what>weight|gamma|beta|moving_mean|moving_var)$"
)
_MXNET_ENDS = re.compile(
    r"(?:arg:|aux:)?(?P<layer>conv1a|bn7)_(?P<what>weight|gamma|beta|moving_mean|moving_var)$"
)

_AFFINITY = re.compile(
    r"b(?P<level>[2-7])(?:_(?P<index>\d+))?\.(?P<kind>conv|bn)_(?P<part>branch\w+)\.(?P<what>\w+)$"
)
_AFFINITY_ENDS = re.compile(r"(?P<layer>conv1a|bn7)\.(?P<what>\w+)$")

_WIDER = re.compile(
    r"mod(?P<level>[2-7])\.block(?P<block>\d+)\.(?:convs\.)?(?P<kind>conv|bn|proj_conv)(?P<part>[1-3]?)(?:\.0)?\."
    r"(?P<what>\w+)$"
)
_WIDER_ENDS = re.compile(r"(?P<layer>mod1\.conv1|bn_out)(?:\.0)?\.(?P<what>\w+)$")

_ENDS = {"conv1a": "stem", "mod1.conv1": "stem", "bn7": "end.0", "bn_out": "end.0"}
_LAYERS = {"bn": "norms", "res": "convolutions", "conv": "convolutions"}


def from_branches(name: str, tensor: Tensor) -> Weights:
    """A tensor by the authors' names, of MXNet or as programs for PyTorch that derive from it write them."""
    if match := _MXNET.match(name) or _AFFINITY.match(name):
        what = _NORM.get(match["what"], match["what"])
        place = f"level{match['level']}.{int(match['index'] or 0)}"
        if match["part"] == "branch1":
            return {f"{place}.shortcut.{what}": tensor}
        if match["part"] in _PARTS:
            layer = _LAYERS[match["kind"]]
            return {f"{place}.{layer}.{_PARTS[match['part']]}.{what}": tensor}
    if match := _MXNET_ENDS.match(name) or _AFFINITY_ENDS.match(name):
        return {f"{_ENDS[match['layer']]}.{_NORM.get(match['what'], match['what'])}": tensor}
    return {name: tensor}


def from_wider_resnet(name: str, tensor: Tensor) -> Weights:
    """A tensor by the names of Mapillary's WiderResNet, which NVIDIA's code shares."""
    if match := _WIDER.match(name):
        place = f"level{match['level']}.{int(match['block']) - 1}"
        if match["kind"] == "proj_conv":
            return {f"{place}.shortcut.{match['what']}": tensor}
        if not match["part"]:
            return {name: tensor}
        layer = _LAYERS[match["kind"]]
        return {f"{place}.{layer}.{int(match['part']) - 1}.{match['what']}": tensor}
    if match := _WIDER_ENDS.match(name):
        return {f"{_ENDS[match['layer']]}.{match['what']}": tensor}
    return {name: tensor}


CONVERSIONS = (
    Conversion("the authors' ResNet-38", from_branches),
    Conversion("WiderResNet-38", from_wider_resnet),
)
