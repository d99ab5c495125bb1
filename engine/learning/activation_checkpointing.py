"""Activation checkpointing: a block's activations are freed, and computed again for its gradient.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from engine.components.origin import ComponentError
from engine.models.contract import SegmentationNetwork
from engine.models.layers import BatchNorm


def checkpoint_activations(model: SegmentationNetwork) -> None:
    """Turn on activation checkpointing for the building blocks of the model. In place.

    Results are the same to the last bit; the names of the weights stay. Raises ComponentError for a network
    that has no blocks.
    """
    if not any(True for _ in model.blocks()):
        name = type(model).__name__
        raise ComponentError(f"runtime.recompute: {name} offers no blocks() for activation checkpointing")
    for block in model.blocks():
        plain = block.forward
        block.forward = partial(checkpoint, plain, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """The second pass sees the batch that the first one has counted: batch norm must not count it again."""
    norms = [(module, module.momentum) for module in block.modules() if isinstance(module, _BatchNorm)]
    for norm, _ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum
            # The network of a `BatchNorm` counts batches, and only the block runs twice. A frozen norm counts
            # none.
            counts = norm.training and not isinstance(norm, BatchNorm)
            if counts and norm.num_batches_tracked is not None:
                norm.num_batches_tracked -= 1
