"""What a network has to offer, and the check that it does.

Nothing outside a network's own folder names an architecture: training, out-of-distribution detection,
activation checkpointing and warm starts ask the network by this contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from engine.components.origin import ComponentError
from engine.components.outside import defined_in
from engine.models import ModelSection
from engine.models.conversions import Conversion
from engine.plugins import place_in_plugin


class Outputs(NamedTuple):
    """Logits [B, C, H, W], and those of auxiliary heads, which help training alone: each [B, C, h, w], of the
    images' size or smaller. `own` is what the network's own loss is computed of, in training alone."""

    logits: Tensor
    auxiliary: tuple[Tensor, ...] = ()
    own: tuple[Tensor, ...] = ()


class OwnLoss(Protocol):
    """A loss that a network brings, of more than its logits. It is minimised instead of `loss.*`, which are
    still recorded; `loss.beside_own` adds these. It may ask the host, so that no CUDA graph holds the step.
    """

    numbers: int
    """How many random numbers an image needs in a step."""

    def count(self, labels: Tensor) -> Tensor:
        """How much there is to learn in labels, train ids uint8 [B, H, W]: float64 [n], 0 where B is 0.
        Counts of parts of a batch add up to its own."""

    def value(
        self, own: tuple[Tensor, ...], labels: Tensor, numbers: Sequence[Tensor], counted: Tensor
    ) -> Tensor:
        """What a part of a batch adds to the loss of a batch that has `counted`, a scalar with a gradient;
        `own` is that of the part's `Outputs`. Whatever is random follows from `numbers`, each int32 [B], and
        so belongs to an image and a step."""


class SegmentationNetwork(nn.Module, ABC):
    """A network from images float32 [B, 3, H, W], normalised, to logits [B, C, H, W] or `Outputs`.

    H and W are multiples of its section's stride. In evaluation mode auxiliary logits need not be computed.
    """

    head_names: tuple[str, ...] = ("head",)
    """Names of the parts whose weights depend on the classes. A warm start on others draws them anew."""

    encoder_names: tuple[str, ...] = ()
    """Names of the parts from the input to the bottleneck, in that order; pre-trained weights fill them.
    `optimizer.encoder_lr_factor` and `optimizer.layer_decay` act on them."""

    no_decay_names: tuple[str, ...] = ()
    """Names of parts and parameters without weight decay, such as position embeddings. Parameters of fewer
    than two dimensions, those of norms and biases, never have any."""

    convolves_images: bool = False
    """Whether only convolutions read the images. Autocast gives them these in its own type, so the network
    may get them in it, cast together with the weights."""

    own_loss: OwnLoss | None = None
    """The loss that the network brings, if it brings one. Its section's `own_loss_key` says so, too."""

    embeddings_name: str = ""
    """Name of the buffer for class embeddings [classes, size] in a network whose head compares with them,
    which takes those of `model.text`."""

    conversions: tuple[Conversion, ...] = ()
    """How to read weights that other programs made for this network, for `init.weights`. Names that differ by
    a prefix need none; see `engine.models.conversions`."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor | Outputs: ...

    @abstractmethod
    def bottleneck(self) -> nn.Module:
        """The part whose output [B, D, h, w] is the smallest map: what the network makes of the whole image.
        Out-of-distribution scores of images are made of its mean over h and w."""

    def blocks(self) -> Iterable[nn.Module]:
        """Parts whose activations may be computed again instead of kept; none within another.

        None by default: `runtime.recompute` is then refused.
        """
        return ()

    def layers(self) -> Sequence[Sequence[str]]:
        """The layers of the encoder from the input on, each the names of its parts and parameters, for
        `optimizer.layer_decay`. Each of `encoder_names` by default."""
        return [(name,) for name in self.encoder_names]

    def is_head(self, name: str) -> bool:
        """Whether a weight, by its name in `state_dict()`, belongs to a head."""
        return _is_within(name, self.head_names)

    def is_encoder(self, name: str) -> bool:
        """Whether a weight, by its name in `state_dict()`, belongs to the encoder."""
        return _is_within(name, self.encoder_names)

    def layer_of(self, name: str) -> int | None:
        """The index in `layers()` of the layer that a weight belongs to; None when it belongs to none."""
        found = (index for index, names in enumerate(self.layers()) if _is_within(name, names))
        return next(found, None)

    def decays(self, name: str, parameter: Tensor) -> bool:
        """Whether a parameter has weight decay."""
        return parameter.ndim >= 2 and not _is_within(name, self.no_decay_names)


def outputs_of(network: Callable[..., Any], *given: Tensor) -> Outputs:
    """A network's outputs for what it is given, whichever of the two forms it gives them in."""
    made = network(*given)
    return made if isinstance(made, Outputs) else Outputs(made)


def check_structure(network: object, section: ModelSection) -> SegmentationNetwork:
    """The network that a section has built. Raises ComponentError, one line, when it breaks the contract."""
    if not isinstance(network, SegmentationNetwork):
        raise _broken(section, f"build() gives a {type(network).__name__}, not a SegmentationNetwork")
    parts = dict(network.named_modules())
    _check_names(network, section)
    own = {id(part) for part in parts.values()}
    if id(network.bottleneck()) not in own:
        raise _broken(section, "bottleneck() is no part of the network")
    blocks = list(network.blocks())
    if any(id(block) not in own for block in blocks):
        raise _broken(section, "blocks() has a module that is no part of the network")
    inner = {id(part) for block in blocks for part in block.modules() if part is not block}
    if any(id(block) in inner for block in blocks):
        raise _broken(section, "blocks() has a block within another")
    for said, found in (
        ("has_encoder", bool(network.encoder_names)),
        ("has_blocks", bool(blocks)),
        ("has_batch_norm", any(isinstance(part, _BatchNorm) for part in parts.values())),
    ):
        if getattr(section, said) not in (None, found):
            raise _broken(section, f"{said} is {not found} in its section; for this network it is {found}")
    if (network.own_loss is not None) != bool(section.own_loss_key()):
        raise _broken(section, "own_loss of the network and own_loss_key() of its section do not agree")
    return network


def _check_names(network: SegmentationNetwork, section: ModelSection) -> None:
    """The part of `check_structure` about what a network says by name."""
    parts, parameters = dict(network.named_modules()), dict(network.named_parameters())
    for kind, names, known in (
        ("head_names", network.head_names, parts),
        ("encoder_names", network.encoder_names, parts),
        ("no_decay_names", network.no_decay_names, {**parts, **parameters}),
        ("layers()", [name for layer in network.layers() for name in layer], {**parts, **parameters}),
    ):
        missing = [name for name in names if name not in known]
        if missing:
            raise _broken(section, f"{kind} has {missing[0]!r}, which no part of the network is called")
    if not any(network.is_head(name) for name in parameters):
        raise _broken(section, f"no parameter belongs to its head ({', '.join(network.head_names)})")
    for name in parameters:
        if network.is_head(name) and network.is_encoder(name):
            raise _broken(section, f"{name} belongs to its head and to its encoder")
        if network.layer_of(name) is not None and not network.is_encoder(name):
            raise _broken(section, f"{name} belongs to one of its layers() and not to its encoder")


def check_shapes(network: SegmentationNetwork, section: ModelSection, inputs: int, outputs: int) -> None:
    """Push two small images through a network on the meta device: no memory, no arithmetic.

    Raises ComponentError, one line, when logits, auxiliary logits or the bottleneck have another shape than
    the contract says.
    """
    stride = section.input_stride()
    side = max(stride * -(-64 // stride), section.least_side())
    image = torch.empty(2, inputs, side, 2 * side, device="meta")
    seen: list[object] = []
    hook = network.bottleneck().register_forward_hook(lambda part, given, output: seen.append(output))
    try:
        with torch.no_grad():
            made = outputs_of(network, image)
    except Exception as error:
        place = place_in_plugin(error)
        words = " ".join(str(error).split()) or type(error).__name__
        told = f"{place}: {words}" if place else words
        raise _broken(section, f"forward of images {list(image.shape)} fails: {told}") from error
    finally:
        hook.remove()
    wanted = [2, outputs, side, 2 * side]
    if not isinstance(made.logits, Tensor) or list(made.logits.shape) != wanted:
        raise _broken(section, f"its logits are {_shape(made.logits)}, they must be {wanted}")
    for logits in made.auxiliary:
        if not isinstance(logits, Tensor) or not _is_within_size(logits, wanted):
            raise _broken(
                section, f"its auxiliary logits are {_shape(logits)}, they must be {wanted} or smaller"
            )
    if len(seen) != 1 or not isinstance(seen[0], Tensor) or seen[0].ndim != 4:
        shown = _shape(seen[0]) if len(seen) == 1 else f"computed {len(seen)} times"
        raise _broken(section, f"its bottleneck is {shown}, it must be a map [B, D, h, w] computed once")


def _is_within(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _is_within_size(logits: Tensor, full: list[int]) -> bool:
    """Whether logits are [B, C, h, w] for the B and C of `full` and 1 <= h, w <= its sides."""
    shape = list(logits.shape)
    return (
        len(shape) == 4
        and shape[:2] == full[:2]
        and all(0 < side <= most for side, most in zip(shape[2:], full[2:], strict=True))
    )


def _shape(value: object) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _broken(section: ModelSection, problem: str) -> ComponentError:
    return ComponentError(f"model.name={section.name} ({defined_in(type(section))}): {problem}")
