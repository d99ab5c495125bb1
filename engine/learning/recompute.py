"""Activation checkpointing: a block's activations are forgotten, and computed again when its gradient is due.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from engine.models.registry import BLOCKS


def recompute_blocks(model: nn.Module) -> None:
    """Make the building blocks of the model forget and recompute. In place.

    Results are the same to the last bit; the names of the weights stay.
    """
    for block in model.modules():
        if isinstance(block, BLOCKS):
            plain = block.forward
            block.forward = partial(  # type: ignore[method-assign]
                checkpoint, plain, use_reentrant=False, context_fn=partial(_contexts, block)
            )


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
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked -= 1
