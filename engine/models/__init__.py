"""Networks: the base of their config sections and the registry of them. Torch-free: front ends read it.

Each family is a folder: `config.py` with its section, `network.py` with what needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict

from engine.components.origin import ComponentError
from engine.components.sections import Registry
from engine.config.fields import Section
from engine.models.pretrained import IMAGENET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from engine.models.contract import SegmentationNetwork


class ModelSection(Section):
    """The keys of one architecture, and how its network is built.

    A subclass has a field `name: Literal["mine"] = option("mine", "Architecture")`, further fields for its
    other keys, and `build`; `@models.register` makes it known. Its module must not import torch; `build`
    imports the network.
    """

    stride: ClassVar[int] = 1
    """Both sides of the input must be multiples of this, in pixels; see `input_stride`."""

    breadth_key: ClassVar[str] = ""
    """The key that makes the network smaller, for advice after out of memory; empty: there is none."""

    has_encoder: ClassVar[bool | None] = None
    """Whether the network has `encoder_names`, without which factors on its learning rate have no effect."""

    has_blocks: ClassVar[bool | None] = None
    """Whether the network has `blocks()`, which `runtime.recompute` needs."""

    has_batch_norm: ClassVar[bool | None] = None
    """Whether the network has batch norm, which `batch_norm` is about. None, here and above: it is known only
    when the network is built; what is said refuses a run before it is made."""

    exports_any_size: ClassVar[bool] = True
    """Whether `export --dynamic` can write a file of the network for images of any size."""

    name: str

    def input_stride(self) -> int:
        """`stride`; to be overridden where it depends on other keys."""
        return self.stride

    def least_side(self) -> int:
        """The least that a side of the input may be, a multiple of `input_stride`."""
        return self.input_stride()

    def size_problem(self, height: int, width: int) -> str:
        """Why the network cannot take images of height x width pixels, "" where it can."""
        stride, least = self.input_stride(), self.least_side()
        told = f"{height}x{width} does not suit {self.name}, whose input sides must"
        if height % stride or width % stride:
            nearest = "x".join(str(max(least, round(side / stride) * stride)) for side in (height, width))
            return f"{told} divide by {stride}; the nearest that do are {nearest}"
        return f"{told} be at least {least}" if min(height, width) < least else ""

    def missing(self) -> list[str]:
        """What this machine lacks to build the network, a line each with what would help; asked before a run
        is made or resumed."""
        return []

    def weights_file(self) -> str:
        """The file of weights that a new network starts from, as it was typed for `model.weights`; empty:
        none."""
        return ""

    def weights_source(self) -> str:
        """What the weights of `model.weights` are called in the log; empty: none."""
        return ""

    def weights_licence(self) -> str:
        """The licence of the weights that `model.weights` names; empty: it is not known."""
        return ""

    def named_weights(self) -> Mapping[str, Tensor]:
        """The weights that `model.weights` calls by name, downloaded, by names of the network or its encoder;
        empty: none. Raises EngineError, one line, when they cannot be had."""
        return {}

    def input_normalisation(self) -> str:
        """How the network wants images normalised, a name of `pretrained.NORMALISATIONS`. It is given them
        normalised as ImageNet's whatever it wants, and changes them itself."""
        return IMAGENET

    def own_loss_key(self) -> str:
        """The key by which the network brings a loss of its own, as `key=value`; empty: it brings none. Such
        a network learns classes alone."""
        return ""

    def embeddings_file(self) -> str:
        """The file of class embeddings that `model.text` names, as it was typed; empty: none. A section with
        this key has `text_size`, too: how long they are, as read when the run was made."""
        return ""

    def listed(self) -> list[tuple[str, ModelSection]]:
        """What `seg-engine models` lists of this architecture: names and sections."""
        return [(self.name, type(self)(name=self.name))]

    def values_per_channel(self, height: int, width: int) -> int | None:
        """How many values of a channel one image of height x width gives to the norm layer that sees the
        fewest, where it averages over the images of a batch in training; 1 where features are pooled to one
        pixel before batch norm. None: no layer does, or it is not known. Such a layer needs two values, so
        that runs with too small a batch can be refused before they are made."""
        return None

    @classmethod
    def smaller(cls, size_key: str = "data.size") -> str:
        """What to make smaller where memory does not hold one image, whose size `size_key` says."""
        return (
            f"a smaller {size_key} or model.{cls.breadth_key}" if cls.breadth_key else f"a smaller {size_key}"
        )

    def build(self, inputs: int, outputs: int) -> SegmentationNetwork:
        """The network, from images [B, inputs, H, W] to logits [B, outputs, H, W]: float32 on torch's current
        default device, its weights drawn from torch's global generator."""
        raise NotImplementedError(f"{type(self).__name__} has no build()")


class UnknownModel(ModelSection):
    """The keys of a network that is not registered here, as a run has them on its record."""

    model_config = ConfigDict(extra="allow")

    def build(self, inputs: int, outputs: int) -> SegmentationNetwork:
        raise ComponentError(f"model.name={self.name}: no such model here")


MODELS: Registry[ModelSection] = Registry(
    "model", "seg_engine.models", ModelSection, default="unet", unknown=UnknownModel, needs=("build",)
)
"""Every architecture by the value of `model.name`."""

register = MODELS.register
