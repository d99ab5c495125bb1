"""An exponential moving average of a network's weights.

Polyak and Juditsky 1992; Tarvainen and Valpola, "Mean teachers are better role models", NIPS 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of a model's parameters and of its floating-point buffers, such as the statistics of batch
    norm; other buffers are those of the model.

    After each step, average <- d average + (1 - d) weights. d is `decay`; with `warmup` it is at most
    (1 + n) / (10 + n) in step n, so that the weights of the beginning are soon forgotten. All that changes is
    on the device, where a CUDA graph of the step may have it.
    """

    def __init__(self, model: nn.Module, decay: float, warmup: bool) -> None:
        self.decay, self.warmup = decay, warmup
        kept = {
            name: each for name, each in model.state_dict(keep_vars=True).items() if each.is_floating_point()
        }
        places = {
            id(each): place for place, each in enumerate({id(each): each for each in kept.values()}.values())
        }
        self._places = {name: places[id(each)] for name, each in kept.items()}  # some may share a tensor
        self._current = [each.detach() for each in {id(each): each for each in kept.values()}.values()]
        self._average = [each.clone() for each in self._current]
        self._updates = torch.zeros((), dtype=torch.float64, device=self._current[0].device)

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after a step into the average."""
        self._updates += 1
        share = 1 - self._limited_decay()
        towards = torch._foreach_sub(self._current, self._average)
        torch._foreach_mul_(towards, share.float())
        torch._foreach_add_(self._average, towards)

    def restart(self) -> None:
        """Begin with the weights as they are."""
        torch._foreach_copy_(self._average, self._current)
        self._updates.zero_()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within it the model has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the average by the names of `state_dict()`, and its steps."""
        weights = [each.clone() for each in self._average]
        return {
            "model": {name: weights[place] for name, place in self._places.items()},
            "updates": int(self._updates),
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over the state that `state` gave. Raises KeyError for that of another network."""
        for name, place in self._places.items():
            self._average[place].copy_(saved["model"][name])
        self._updates.fill_(saved["updates"])

    def _limited_decay(self) -> Tensor:
        if not self.warmup:
            return torch.full_like(self._updates, self.decay)
        return ((1 + self._updates) / (10 + self._updates)).clamp(max=self.decay)

    @torch.no_grad()
    def _swap(self) -> None:
        for current, average in zip(self._current, self._average, strict=True):
            weights = current.clone()
            current.copy_(average)
            average.copy_(weights)


def validated_weights(content: Mapping[str, Any], use: str = "") -> Mapping[str, Any]:
    """The weights of a checkpoint. Where it has an average beside them, `use` says whether it is meant,
    "average" or "raw"; "": as its run did."""
    average = content.get("ema")
    if average is None or (use or average["use"]) == "raw":
        return dict(content["model"])
    return {**content["model"], **average["model"]}
