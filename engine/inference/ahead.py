"""The device works on the next images while the results of those before are on their way to the host."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray
from torch import Tensor

from engine.inference.network import are_finite, refuse_infinite
from engine.learning.transfers import Arrival

AHEAD = 2
"""Images whose results the host waits for only when yet another is under way."""

_Read = TypeVar("_Read")


def computed_ahead(
    reads: Iterable[_Read],
    compute: Callable[[_Read], tuple[Tensor, Sequence[Tensor]] | None],
    name: Callable[[_Read], str],
) -> Iterator[tuple[_Read, list[NDArray[Any]]]]:
    """Every item with the arrays that were computed of it, in order.

    `compute` starts the work of one: it returns the logits, which must be finite, and what is wanted in the
    host's memory, or None for an item that has nothing to compute. Raises PredictionError with the item's
    `name`. A consumer that leaves early drops what is under way.
    """
    under_way: deque[tuple[_Read, Arrival]] = deque()
    for read in reads:
        started = compute(read)
        wanted: list[Tensor] = []
        if started is not None:
            logits, results = started
            wanted = [are_finite(logits), *results]
        under_way.append((read, Arrival(wanted)))
        while under_way and (len(under_way) > AHEAD or under_way[0][1].is_here()):
            yield _arrived(*under_way.popleft(), name)
    while under_way:
        yield _arrived(*under_way.popleft(), name)


def _arrived(read: _Read, arrival: Arrival, name: Callable[[_Read], str]) -> tuple[_Read, list[NDArray[Any]]]:
    arrived = arrival.tensors()
    if arrived:
        refuse_infinite(bool(arrived[0]), name(read))
    return read, [result.numpy() for result in arrived[1:]]
