"""Fitting weights that were made elsewhere into a network: what they fill, by which of their names.

Programs name the parts of the same network differently. A `Conversion` reads one program's names; a network
lists its own in `conversions`, and some hold for every network (`GENERAL`). Wrappers need no conversion: a
prefix that many names of the file have, such as "module." or "backbone.", may be left out, and the place of
the encoder, such as "network.encoder.", put before. Of all these ways to read a file, the one that fills most
of the network is taken; of conversions that fill as much, one that knows which tensors have no place here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from engine.models.contract import SegmentationNetwork
from engine.models.conversions import AS_IS, GENERAL, Weights

_COUNTER = "num_batches_tracked"
"""Of batch norm. Old files lack it, and nothing that a network computes depends on it."""

_MOST_PREFIXES, _DEEPEST_PREFIX, _LEAST_SHARE = 12, 4, 0.2


@dataclass(frozen=True)
class Fit:
    """What weights that were made elsewhere fill of a network; `source` is whose names they have."""

    source: str
    taken: dict[str, Tensor]
    """By names of the network."""
    new: list[str]
    """Names of the network for which there was no tensor."""
    unused: list[str]
    """Names of the file for which there was no place."""
    shapes: list[str]
    """Names that are in both, but with another shape: a line each."""
    misfits: dict[str, str]
    """What says that the weights are of another network, a line for each name in this one: a part that they
    fill incompletely. Heads do not count, nor does what comes after an encoder that they fill, nor do parts
    of the file, such as a classifier, of which this network has nothing."""

    @property
    def problem(self) -> str:
        """The misfits in one line; empty if there are none."""
        if not self.misfits:
            return ""
        count = len(self.misfits)
        first = next(iter(self.misfits.values()))
        return f"{count} {'tensor does' if count == 1 else 'tensors do'} not fit, the first {first}"


@dataclass(frozen=True)
class _Reading:
    """One way to read a file: its tensors by what they are called in the network, less `add`, and the name in
    the file of each. `cut` is what was left out at the beginning of these."""

    source: str
    tensors: dict[str, Tensor]
    origins: dict[str, str]
    cut: str = ""
    add: str = ""

    def named(self) -> dict[str, Tensor]:
        return {f"{self.add}{name}": tensor for name, tensor in self.tensors.items()}


def fit_weights(network: SegmentationNetwork, offered: Weights) -> Fit:
    """Find what weights that were made elsewhere fill of a network; it stays as it is."""
    own = network.state_dict()
    best, most = _Reading("", {}, {}), (0, 0)
    for reading in _readings(network, offered, _encoder_prefixes(network, own)):
        known = [
            _fits(own[name], tensor)
            for name, tensor in reading.named().items()
            if name in own and not name.endswith(_COUNTER)
        ]
        filled = sum(known), len(known)
        if filled > most or (filled == most and _leaves_less(network, own, reading, best)):
            best, most = reading, filled
    return _fit(network, own, offered, best)


def shape_of(tensor: Tensor) -> str:
    """The sides of a tensor for people, such as 64x3x3x3."""
    return "x".join(str(side) for side in tensor.shape) or "a number"


def _readings(network: SegmentationNetwork, offered: Weights, adds: Sequence[str]) -> Iterator[_Reading]:
    for conversion in (AS_IS, *network.conversions, *GENERAL):
        for prefix in _prefixes(offered):
            tensors: dict[str, Tensor] = {}
            origins: dict[str, str] = {}
            for name in offered:
                if name.startswith(prefix):
                    converted = conversion.convert(name.removeprefix(prefix), offered[name])
                    tensors.update(converted)
                    origins.update(dict.fromkeys(converted, name))
            for add in adds:
                yield _Reading(conversion.source, tensors, origins, prefix, add)


def _leaves_less(network: SegmentationNetwork, own: Weights, reading: _Reading, best: _Reading) -> bool:
    """Whether a reading differs from the best one by its conversion alone, which leaves fewer tensors without
    a place. What else it may leave out, such as a decoder, says that the file is of another network."""
    if (reading.cut, reading.add) != (best.cut, best.add):
        return False
    return len(_strangers(network, own, reading)) < len(_strangers(network, own, best))


def _prefixes(offered: Weights) -> list[str]:
    """What may be left out at the beginning of a file's names: nothing, or what many of them have."""
    counts = Counter(prefix for name in offered for prefix in _beginnings(name))
    common = [
        prefix for prefix, count in counts.most_common(_MOST_PREFIXES) if count >= _LEAST_SHARE * len(offered)
    ]
    return ["", *common]


def _beginnings(name: str) -> Iterator[str]:
    parts = name.split(".")[:-1][:_DEEPEST_PREFIX]
    for depth in range(len(parts)):
        yield "".join(f"{part}." for part in parts[: depth + 1])


def _encoder_prefixes(network: SegmentationNetwork, own: Weights) -> list[str]:
    """Where in a network the names of a file may begin: at the top, or at a part with all of its encoder."""
    encoder = [name for name in own if network.is_encoder(name)] or list(own)
    shared = set.intersection(*(set(_beginnings(name)) for name in encoder))
    return ["", *sorted(shared, key=len)]


def _fit(network: SegmentationNetwork, own: Weights, offered: Weights, reading: _Reading) -> Fit:
    named = reading.named()
    taken = {name: tensor for name, tensor in named.items() if name in own and _fits(own[name], tensor)}
    shapes = {
        name: f"{name}, {_kind(tensor, own[name])} there and {_kind(own[name], tensor)} here"
        for name, tensor in named.items()
        if name in own and name not in taken
    }
    used = {reading.origins[name.removeprefix(reading.add)] for name in taken}
    new = [name for name in own if name not in taken and not name.endswith(_COUNTER)]
    unused = [name for name in offered if name not in used and not name.endswith(_COUNTER)]
    misfits = {name: told for name, told in shapes.items() if not network.is_head(name)}
    misfits |= {name: f"{name}, absent there" for name in _gaps(network, new) if name not in shapes}
    misfits |= {name: f"{origin}, absent here" for name, origin in _strangers(network, own, reading).items()}
    return Fit(reading.source, taken, new, unused, list(shapes.values()), misfits)


def _gaps(network: SegmentationNetwork, new: list[str]) -> list[str]:
    """The new tensors without which a part is filled incompletely."""
    if network.encoder_names and not any(network.is_encoder(name) for name in new):
        return []
    return [name for name in new if not network.is_head(name)]


def _strangers(network: SegmentationNetwork, own: Weights, reading: _Reading) -> dict[str, str]:
    """Tensors of the file without a place in a part that this network has, of other layers: their names in
    the file, by those that they would have here."""
    parts = {name.removeprefix(reading.add).split(".")[0] for name in own if name.startswith(reading.add)}
    return {
        f"{reading.add}{name}": origin
        for name, origin in reading.origins.items()
        if f"{reading.add}{name}" not in own
        and name.split(".")[0] in parts
        and not (network.is_head(f"{reading.add}{name}") or name.endswith(_COUNTER))
    }


def _fits(own: Tensor, offered: Tensor) -> bool:
    return own.shape == offered.shape and own.is_floating_point() == offered.is_floating_point()


def _kind(tensor: Tensor, other: Tensor) -> str:
    """The shape of a tensor; its type where that is the difference."""
    return shape_of(tensor) if tensor.shape != other.shape else str(tensor.dtype).removeprefix("torch.")
