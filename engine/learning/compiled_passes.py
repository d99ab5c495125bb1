"""A network in evaluation mode over many images of one size, compiled where that pays."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from engine.learning.compile_autotune import CompileAutotune
from engine.models.contract import outputs_of


class LogitsOf(nn.Module):
    """A network's logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C, H, W] of normalised images [B, 3, H, W]."""
        return outputs_of(self.network, images).logits


@dataclass
class CompiledPasses:
    """The network of `autotune`, a LogitsOf, for batches of one size, of which `left` are to come. Ranks that
    share the batches take each turn together."""

    autotune: CompileAutotune
    left: int

    def begin(self, left: int) -> None:
        """Begin a pass over all images; what came before it took none of its time."""
        self.left = left
        self.autotune.start_clock()

    def logits(self, images: Tensor, full: bool = True) -> Tensor:
        """Logits [B, C, H, W] of a batch or of a window of it; without compiling where the batch, or that of
        another rank, is not `full`."""
        autotune = self.autotune
        if not full:
            return outputs_of(autotune.model, images).logits
        if autotune.group.count > 1 and autotune.is_unproven:
            autotune.prove(lambda: autotune.forward(images))
        return outputs_of(autotune.forward, images).logits

    def batch_done(self) -> None:
        """A full batch has been passed, in all its windows."""
        self.left -= 1
        self.autotune.step_done(self.left)
