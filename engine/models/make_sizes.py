"""Makes sizes.json, how large each built-in architecture is, counted on the meta device.

python -m engine.models.make_sizes
"""

from __future__ import annotations

import json

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.models import ModelSection
from engine.models.builtin import MODELS
from engine.models.registry import CHANNELS, build_model, count_parameters
from engine.models.sizes import CLASSES, FILE, SIZE


def main() -> None:
    lines = []
    for section in MODELS.sections().values():
        if MODELS.is_built_in(section.model_fields["name"].default):
            for name, each in section(name=section.model_fields["name"].default).listed():
                lines.append(f"{json.dumps(name)}: {json.dumps(measured(each, SIZE))}")
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def measured(section: ModelSection, size: tuple[int, int]) -> tuple[int, float]:
    """Parameters of a network, and GFLOPs of a forward pass of one image of height x width."""
    with torch.device("meta"):
        network = build_model(section, CLASSES).eval()
        image = torch.empty(1, CHANNELS, *size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(image)
    return count_parameters(network), float(f"{counter.get_total_flops() / 1e9:.4g}")


if __name__ == "__main__":
    main()
