"""The networks of segmentation_models_pytorch behind the contract of this engine.

Names of weights are those of segmentation_models_pytorch, so that its checkpoints fit; an auxiliary head is
our own. 19 classes on resnet34, parameters: Unet 24,438,979, FPN 23,157,715, DeepLabV3Plus 22,442,083,
UPerNet 29,604,307.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.encoders import get_encoder
from segmentation_models_pytorch.encoders.efficientnet import EfficientNetEncoder
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torchvision.models.segmentation.fcn import FCNHead

from engine.models.contract import Outputs, SegmentationNetwork
from engine.models.downloads import downloading
from engine.models.foreign import blocks_of, has_weights, idle_weights, layers_of
from engine.models.pretrained import IMAGENET, NORMALISATIONS
from engine.models.smp.config import DECODERS, SmpConfig

SIDE = 128
"""Of the images that show which weights a network uses, or the next multiple of its stride."""


def build_network(config: SmpConfig, inputs: int, classes: int) -> SmpNetwork:
    """The network of a section. Its weights that take no part, such as those of stages below the depth that
    PSPNet uses, want no gradient."""
    network = SmpNetwork(config, inputs, classes)
    network.idle = _idle_weights(config.model_copy(update={"weights": "none"}))
    for name, parameter in network.named_parameters():
        if name in network.idle:
            parameter.requires_grad_(False)
    return network


@lru_cache(maxsize=32)
def _idle_weights(config: SmpConfig) -> frozenset[str]:
    stride = config.input_stride()
    side = max(stride * -(-SIDE // stride), config.least_side())
    return idle_weights(lambda: SmpNetwork(config, 3, 2), side)


class SmpNetwork(SegmentationNetwork):
    """[B, inputs, H, W] -> logits [B, classes, H, W]; auxiliary logits at the stride of their map, in
    training."""

    encoder_names = ("encoder",)
    head_names: tuple[str, ...] = ("segmentation_head",)
    idle: frozenset[str] = frozenset()
    """Names of the parameters that take no part, such as those of stages that a decoder does not look at."""

    def __init__(self, config: SmpConfig, inputs: int, classes: int) -> None:
        super().__init__()
        made = on_default_device(lambda: build_theirs(config, inputs, classes))
        self.pixels = Renormalised(config.input_normalisation())
        self.encoder, self.decoder = made.encoder, made.decoder
        if isinstance(self.encoder, EfficientNetEncoder):
            drop_by_layers(self.encoder)
        self.segmentation_head = made.segmentation_head
        self.deepest = nn.Identity()
        self.joins_tokens = config.decoder == "DPT"
        self.has_aux = config.aux
        if config.aux:
            self.auxiliary = FCNHead(self.encoder.out_channels[-2], classes)
            self.head_names = ("segmentation_head", "auxiliary")
        is_of_timm = config.encoder.startswith("tu-")
        self.no_decay_names = tuple(self._no_decay(config.encoder.removeprefix("tu-") if is_of_timm else ""))

    def forward(self, images: Tensor) -> Outputs:
        images = self.pixels(images)
        if self.joins_tokens:
            maps, tokens = self.encoder(images)
            maps[-1] = self.deepest(maps[-1])
            decoded = self.decoder(maps, tokens)
        else:
            maps = list(self.encoder(images))
            maps[-1] = self.deepest(maps[-1])
            decoded = self.decoder(list(maps))
        logits = self.segmentation_head(decoded)
        if not self.has_aux or not self.training:
            return Outputs(logits)
        return Outputs(logits, (self.auxiliary(maps[-2]),))

    def bottleneck(self) -> nn.Module:
        return self.deepest

    def layers(self) -> Sequence[Sequence[str]]:
        """Those of the encoder that take part: stages that the decoder does not look at are none of them."""
        return [names for names in layers_of(*self._inner_encoder()) if not self._are_idle(names)]

    def _are_idle(self, names: Sequence[str]) -> bool:
        return bool(self.idle) and all(
            parameter in self.idle
            for name in names
            for parameter in _parameters_of(name, attrgetter(name)(self))
        )

    def blocks(self) -> Iterator[nn.Module]:
        yield from blocks_of(self._inner_encoder()[0])
        yield from blocks_of(self.decoder)

    def _inner_encoder(self) -> tuple[nn.Module, str]:
        """The encoder itself, which smp wraps where it is timm's, and where that wraps it once more."""
        encoder, name = self.encoder, "encoder"
        while [part for part, child in encoder.named_children() if has_weights(child)] == ["model"]:
            encoder, name = encoder.model, f"{name}.model"
        return encoder, name

    def _no_decay(self, of_timm: str) -> Iterator[str]:
        """The parameters that timm wants without weight decay, such as position embeddings; `of_timm` is what
        it calls the encoder, "" where that is smp's own."""
        encoder, name = self._inner_encoder()
        own = {f"{name}.{parameter}" for parameter, _ in encoder.named_parameters()}
        asked: Iterable[str]
        if hasattr(encoder, "no_weight_decay"):
            asked = encoder.no_weight_decay()  # type: ignore[operator]
        else:  # such as timm's list of stages, which does not say what the whole network does
            asked = spared_by_timm(of_timm) if of_timm else ()
        yield from sorted(own & {f"{name}.{parameter}" for parameter in asked})


class Renormalised(nn.Module):
    """Images that are normalised as ImageNet's -> images that are normalised as `wanted`, a name of
    NORMALISATIONS."""

    scale: Tensor
    shift: Tensor

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self.changes = wanted != IMAGENET
        (was_mean, was_std), (mean, std) = (
            (torch.tensor(values).view(-1, 1, 1) for values in NORMALISATIONS[name])
            for name in (IMAGENET, wanted)
        )
        # They follow from the config, so that checkpoints have no use for them.
        self.register_buffer("scale", was_std / std, persistent=False)
        self.register_buffer("shift", (was_mean - mean) / std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift if self.changes else images


@cache
def spared_by_timm(name: str) -> frozenset[str]:
    """What a network of timm wants without weight decay, by the names in the list of its stages, where
    stages.0 is stages_0. Only a network that has been built can be asked."""
    module = sys.modules[timm.models.model_entrypoint(name).__module__]
    if not any(isinstance(kind, type) and hasattr(kind, "no_weight_decay") for kind in vars(module).values()):
        return frozenset()
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        whole = on_default_device(lambda: timm.create_model(name))
    asked: Iterable[str] = getattr(whole, "no_weight_decay", tuple)()
    return frozenset(re.sub(r"^(\w+)\.(\d+)\.", r"\1_\2.", each) for each in asked)


class Skipped(nn.Module):
    """What comes before a block of smp's EfficientNet: its shortcut, around what `drop` leaves of the block.
    A function drops there, whose numbers are torch's own, so others for other micro-batches and ranks."""

    drop: nn.Module

    def forward(self, inputs: Tensor, drop_connect_rate: float | None = None) -> Tensor:
        change: Tensor = super().forward(inputs)  # without the shortcut, as `drop_by_layers` has left it
        dropped: Tensor = self.drop(change)
        return dropped + inputs


def drop_by_layers(encoder: EfficientNetEncoder) -> None:
    """Give the blocks of an EfficientNet layers for what they drop. In place; weights keep their names."""
    kind: Any = type(encoder._blocks[0])
    skipped = type(f"Skipped{kind.__name__}", (Skipped, kind), {})
    for index, block in enumerate(encoder._blocks):
        if block._has_drop_connect:
            block._has_drop_connect = False  # by which smp means the shortcut, too
            block.drop = DropPath(encoder._drop_connect_rate * index / len(encoder._blocks))
            block.__class__ = skipped


def _parameters_of(name: str, part: nn.Module | nn.Parameter) -> Iterator[str]:
    """The names of the parameters of a part, which may be one itself."""
    if isinstance(part, nn.Parameter):
        yield name
    else:
        yield from (each for each, _ in part.named_parameters(name))


def build_theirs(config: SmpConfig, inputs: int, classes: int) -> Any:
    """The network as segmentation_models_pytorch builds it, its weights drawn at random."""
    about = config.about
    assert about is not None
    options: dict[str, Any] = dict(about.dpt_options if config.decoder == "DPT" else about.options)
    if config.decoder == "DPT" and about.dpt_no_prefix:
        options["decoder_readout"] = "ignore"
    if config.decoder in ("DeepLabV3", "DeepLabV3Plus", "PAN"):
        options["encoder_output_stride"] = config.stride_of_maps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # encoders whose names begin with timm- are deprecated, and work
        return smp.create_model(
            config.decoder,
            config.encoder,
            encoder_weights=None,
            in_channels=inputs,
            classes=classes,
            **options,
        )


def on_default_device(build: Callable[[], nn.Module]) -> Any:
    """What is built on torch's default device; on the CPU and moved there where it can only be built so, as
    Mix Transformers, which read numbers from tensors."""
    device = torch.get_default_device()
    if device.type != "meta":
        return build()
    try:
        return build()
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error):
            raise
        with torch.device("cpu"):
            return build().to("meta")


def named_weights(config: SmpConfig) -> dict[str, Tensor]:
    """The weights of the encoder that `model.weights` calls by name, as segmentation_models_pytorch or timm
    downloads them: safetensors, or a file that is read without running code. Raises WeightsError."""
    about = config.about
    assert about is not None
    owner, normalisation = f"encoder {config.encoder}", config.input_normalisation()
    with downloading(config.weights, owner, normalisation), torch.device("cpu"):
        if config.decoder == "DPT":
            name = f"{config.encoder.removeprefix('tu-')}.{config.weights}"
            encoder: nn.Module = timm.create_model(name, pretrained=True, **about.dpt_options)
            return {f"encoder.model.{key}": tensor for key, tensor in encoder.state_dict().items()}
        name = f"{config.encoder}.{config.weights}" if about.is_of_timm else config.encoder
        encoder = get_encoder(
            name,
            weights=True if about.is_of_timm else config.weights,
            depth=DECODERS[config.decoder].depth,
            **about.options,
        )
        return {f"encoder.{key}": tensor for key, tensor in encoder.state_dict().items()}
