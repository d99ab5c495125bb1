"""Whether an exported file does what its network does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.config.export import ExportConfig
from engine.errors import EngineError
from engine.inference.export.formats import Run
from engine.inference.export.network import ExportedNetwork

MOST_DIFFERENCE = 1e-3
"""Of a logit, as a share of the largest: float32 sums in another order differ by less than a tenth of it."""
MOST_PIXELS = 1e-3
"""Share of pixels whose class differs: near ties, which untrained networks have more of."""
MOST_PIXELS_QUANTIZED = 0.1
"""The same of an int8 network on images of its data; its logits are rounded on purpose."""


class ExportError(EngineError):
    """A network that a format cannot hold, or a file that does something else; the message is one line."""


@dataclass(frozen=True)
class Agreement:
    """How a file differs from its network: the largest difference of a logit, None where it gives class ids
    alone; the largest logit; the share of pixels whose class differs; on images of which sizes."""

    largest_difference: float | None
    largest_logit: float
    pixels_differing: float
    sizes: tuple[tuple[int, int], ...]
    quantized: bool = False

    @property
    def problem(self) -> str:
        """What is wrong, "" where nothing is."""
        difference, allowed = self.largest_difference, MOST_DIFFERENCE * max(1.0, self.largest_logit)
        if difference is not None and not self.quantized and not difference <= allowed:
            return (
                f"its logits differ from the network's by up to {difference:.3g}; "
                f"at most {allowed:.3g} is allowed"
            )
        most = MOST_PIXELS_QUANTIZED if self.quantized else MOST_PIXELS
        if self.pixels_differing > most:
            return (
                f"it gives {100 * self.pixels_differing:.2f} % of the pixels another class than the network; "
                f"at most {100 * most:g} % is allowed"
            )
        return ""


def images_of(size: tuple[int, int], count: int, seed: int) -> Tensor:
    """Pictures of coloured blobs and noise, uint8 [count, H, W, 3]: smooth and rough, dark and bright."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    smooth = functional.interpolate(coarse, size=size, mode="bicubic")
    rough = 0.1 * torch.randn(count, 3, *size, generator=generator)
    return (255 * (smooth + rough).clamp(0, 1)).to(torch.uint8).movedim(1, -1).contiguous()


def images_to_try(wanted: ExportConfig, stride: int) -> list[Tensor]:
    """What a file has to do: also images of another number and size than it was made with, where it may."""
    height, width = wanted.size
    tries = [(1, wanted.size)]
    if wanted.dynamic:
        tries += [(2, (height + stride, width)), (3, (height, width + 2 * stride))]
    return [images_of(size, count, seed) for seed, (count, size) in enumerate(tries)]


@torch.inference_mode()
def compare(
    network: ExportedNetwork, run: Run, tries: Sequence[Tensor], quantized: bool = False
) -> Agreement:
    """Run both on the same images, each uint8 [B, H, W, 3]. Raises ExportError when the file cannot be run
    on one of them, and where either gives NaN or infinity."""
    wants_ids, network.argmax = network.argmax, False
    differences, largest, differing, pixels = [0.0], 0.0, 0, 0
    for pixels_in in tries:
        images = network.prepared(pixels_in)
        logits = network(images)
        height, width = pixels_in.shape[1:3]
        try:
            found = run(images)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportError(f"the file cannot be run on images of {height}x{width}: {reason}") from error
        for whose, numbers in (("the network's", logits), ("the file's", found)):
            if not torch.isfinite(numbers).all():
                raise ExportError(f"{whose} output is NaN or infinite on images of {height}x{width}")
        largest = max(largest, float(logits.abs().max()))
        if not wants_ids:
            differences.append(float((found - logits).abs().max()))
            found = found.argmax(dim=1)
        differing += int((found.long() != logits.argmax(dim=1)).sum())
        pixels += found.numel()
    network.argmax = wants_ids
    return Agreement(
        largest_difference=None if wants_ids else max(differences),
        largest_logit=largest,
        pixels_differing=differing / pixels,
        sizes=tuple((int(each.shape[1]), int(each.shape[2])) for each in tries),
        quantized=quantized,
    )
