"""The keys of the networks of segmentation_models_pytorch: a decoder on an encoder of its own or of timm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from engine.components.origin import ComponentError
from engine.components.stored import is_reading_stored
from engine.config.fields import as_word, option
from engine.models import ModelSection, register
from engine.models.pretrained import NONE, is_weights_file, problem_with_weights
from engine.models.sizes import told
from engine.models.smp.encoders import (
    POOLED,
    Encoder,
    encoders,
    made_with,
    names_with,
    near_names,
    normalisation_of,
    with_former_normalisation,
)

if TYPE_CHECKING:
    from torch import Tensor

    from engine.models.smp.network import SmpNetwork


@dataclass(frozen=True)
class Decoder:
    """What is particular about a decoder: the output strides that it can ask of an encoder, the usual one
    first; how deep its encoder is; `norm` as of an encoder, of its own batch norms."""

    norm: int
    output_strides: tuple[int, ...] = (32,)
    depth: int = 5


DECODERS = {
    "Unet": Decoder(16),
    "UnetPlusPlus": Decoder(16),
    "MAnet": Decoder(32),
    "Linknet": Decoder(32),
    "FPN": Decoder(0),
    "PSPNet": Decoder(4, (8,), depth=3),
    "PAN": Decoder(POOLED, (16, 32)),
    "DeepLabV3": Decoder(POOLED, (8, 16)),
    "DeepLabV3Plus": Decoder(POOLED, (16, 8)),
    "UPerNet": Decoder(POOLED),
    "Segformer": Decoder(4),
    "DPT": Decoder(32),
}

PAN_LEAST = 8
"""PAN halves the smallest map three times, so each side of it has so many pixels or more."""

SHOWN = 4
"""Encoders that a message names whose names contain what was typed."""

NEEDS_EXTRA = "needs segmentation_models_pytorch and timm; `pip install 'seg-engine[zoo]'` installs both"

OutputStride = Annotated[Literal["auto", "8", "16", "32"], BeforeValidator(as_word)]
DecoderName = Literal[
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "PAN",
    "DeepLabV3",
    "DeepLabV3Plus",
    "UPerNet",
    "Segformer",
    "DPT",
]


@register
class SmpConfig(ModelSection):
    """A decoder of segmentation_models_pytorch on one of its encoders or timm's (extra `zoo`)."""

    has_encoder: ClassVar[bool] = True
    has_blocks: ClassVar[bool] = True

    name: Literal["smp"] = option("smp", "Architecture")
    decoder: DecoderName = option("Unet", "Decoder", told_by="engine.models.smp.config:decoder_told")
    encoder: str = option(
        "resnet34",
        "Encoder; one of timm's begins with tu-",
        form="a name that `seg-engine models` lists",
        suggestions="engine.models.smp.encoders:encoder_names",
        told_by="engine.models.smp.encoders:told",
        min_length=1,
    )
    weights: str = option(
        NONE,
        "Weights that a new network starts from: downloaded by name, or from a file",
        form="none, a name such as imagenet that `seg-engine models ENCODER` lists, or the path of a file",
        min_length=1,
    )
    normalisation: Literal["auto", "imagenet", "inception", "clip", "dpn", "satellite", "none"] = option(
        "auto",
        "How images are normalised for the encoder; auto: as in the training of the weights named by "
        "model.weights, as ImageNet's for a file or without weights",
    )
    output_stride: OutputStride = option(
        "auto", "Input size over the size of the encoder's smallest map; auto: the decoder's usual one"
    )
    aux: bool = option(
        False, "Auxiliary head on the encoder's last map but one, weighted by loss.auxiliary in training"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_it_was(cls, keys: object) -> object:
        return with_former_normalisation(keys) if is_reading_stored() and isinstance(keys, Mapping) else keys

    @model_validator(mode="after")
    def _parts_suit_each_other(self) -> Self:
        if not is_reading_stored():
            problem = next(self._problems(), "")
            if problem:
                raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """What is wrong with the combination, a line each that begins with the key."""
        encoder = encoders().get(self.encoder)
        if encoder is None:
            yield f"model.encoder: {_unknown(self.encoder)}"
            return
        yield from (f"model.{problem}" for problem in self._misfits(encoder))
        problem = problem_with_weights(self.weights, encoder.weights, f"encoder {self.encoder}")
        if problem:
            yield f"model.weights: {problem}"

    def _misfits(self, encoder: Encoder) -> Iterator[str]:
        name, decoder = self.encoder, DECODERS[self.decoder]
        if self.output_stride != "auto" and int(self.output_stride) not in decoder.output_strides:
            allowed = " or ".join(str(stride) for stride in sorted(decoder.output_strides))
            yield f"output_stride: {self.decoder} works at {allowed}, not at {self.output_stride}"
        elif self.decoder == "DPT" and not encoder.dpt:
            why = "it takes encoders of timm (tu-)" if not encoder.is_of_timm else "smp cannot join them"
            yield f"decoder: DPT does not work with {name}: {why}; tu-vit_small_patch16_224 works"
        elif self.decoder != "DPT" and encoder.only_dpt:
            yield f"decoder: {name} has maps of one size, which only DPT can use; model.decoder=DPT works"
        elif self.decoder in ("UnetPlusPlus", "Linknet") and name.startswith("mit_b"):
            yield f"decoder: {self.decoder} of smp does not take {name}; Unet, FPN and Segformer do"
        elif self.decoder == "PSPNet" and encoder.no_depth_3:
            yield f"decoder: {name} cannot be cut off at stride 8, as PSPNet needs it"
        elif self.is_dilated and self.stride_of_maps not in encoder.dilates:
            yield self._not_dilated(encoder)

    def _not_dilated(self, encoder: Encoder) -> str:
        """Why the encoder has no map at the output stride that is asked for, and what has."""
        others = [s for s in DECODERS[self.decoder].output_strides if s == 32 or s in encoder.dilates]
        works = f"model.output_stride={others[0]} works" if others else "Unet and UPerNet need no dilation"
        told = f"{self.encoder} cannot be dilated to output stride {self.stride_of_maps}"
        return f"output_stride: {told}, as {self.decoder} asks; {works}"

    # ------------------------------------------------------------------ what follows from the keys

    @property
    def about(self) -> Encoder | None:
        """What is known of the encoder; None for one that is not in the list, which only a stored config may
        have."""
        return encoders().get(self.encoder)

    @property
    def stride_of_maps(self) -> int:
        """The stride of the encoder's smallest map."""
        usual = DECODERS[self.decoder].output_strides[0]
        return usual if self.output_stride == "auto" else int(self.output_stride)

    @property
    def is_dilated(self) -> bool:
        """Whether the last stages of the encoder are dilated instead of strided."""
        return DECODERS[self.decoder].depth == 5 and self.stride_of_maps < 32

    def input_stride(self) -> int:
        encoder = self.about
        if encoder is None:
            return 1
        if self.decoder == "DPT":
            return encoder.dpt
        if self.is_dilated and self.stride_of_maps in encoder.fine:
            return self.stride_of_maps
        return encoder.multiple

    def least_side(self) -> int:
        stride = self.input_stride()
        least = PAN_LEAST * self.stride_of_maps if self.decoder == "PAN" else stride
        return -(-least // stride) * stride

    def values_per_channel(self, height: int, width: int) -> int | None:
        decoder, encoder = DECODERS[self.decoder], self.about
        strides = {decoder.norm} - {0}
        if encoder is not None and encoder.norm:
            strides.add(min(encoder.norm, self.stride_of_maps))
        if self.decoder in ("Unet", "UnetPlusPlus") and self.encoder.startswith("vgg"):
            strides.add(32)  # of the block between encoder and decoder
        if POOLED in strides:
            return 1
        return min(((height // stride) * (width // stride) for stride in strides), default=None)

    def missing(self) -> list[str]:
        if not all(find_spec(package) is not None for package in made_with()):
            return [f"model.name=smp: {NEEDS_EXTRA}"]
        return [] if self.about is not None else [f"model.encoder: {_unknown(self.encoder)}"]

    def weights_file(self) -> str:
        return self.weights if is_weights_file(self.weights) else ""

    def listed(self) -> list[tuple[str, ModelSection]]:
        base = type(self)()
        return [
            (f"smp {name}", base.model_copy(update={"decoder": name, "encoder": listed_on(name)}))
            for name in DECODERS
        ]

    @classmethod
    def smaller(cls, size_key: str = "data.size") -> str:
        return f"a smaller {size_key} or model.encoder"

    def weights_source(self) -> str:
        return "" if self.weights == NONE else f"{self.weights} of encoder {self.encoder}"

    def weights_licence(self) -> str:
        return "" if self.about is None else self.about.weights.get(self.weights, "")

    def input_normalisation(self) -> str:
        if self.normalisation != "auto":
            return self.normalisation
        return normalisation_of(self.encoder, self.weights)

    def named_weights(self) -> Mapping[str, Tensor]:
        if self.weights == NONE or self.weights_file():
            return {}
        from engine.models.smp.network import named_weights

        return named_weights(self)

    def build(self, inputs: int, outputs: int) -> SmpNetwork:
        for line in self.missing():
            raise ComponentError(line)
        from engine.models.smp.network import build_network

        return build_network(self, inputs, outputs)


def listed_on(decoder: str) -> str:
    """The encoder with which a decoder is listed."""
    return "tu-vit_small_patch16_224" if decoder == "DPT" else "resnet34"


def decoder_told(decoder: str) -> str:
    """The size of a decoder with the encoder with which it is listed, in words."""
    return f"on {listed_on(decoder)}: {told(f'smp {decoder}')}" if decoder in DECODERS else ""


def _unknown(name: str) -> str:
    """That there is no such encoder, and what may be meant."""
    base, _, tag = name.partition(".")
    if tag and base in encoders():
        return f"weights are not part of the name; model.encoder={base} model.weights={tag} names both"
    near, around = near_names(name), names_with(name)
    if len(near) != 1 and around:
        more = f" and {len(around) - SHOWN} more" if len(around) > SHOWN else ""
        hint = f"with it in their names are {', '.join(around[:SHOWN])}{more}"
    else:
        hint = f"did you mean {' or '.join(near)}?" if near else "`seg-engine models` lists them"
    return f"there is no encoder {name!r}; {hint}"
