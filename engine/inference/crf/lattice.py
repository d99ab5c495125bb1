"""The permutohedral lattice: Gaussian filtering of many values in few dimensions (Adams, Baek and Davis,
"Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010).

A point with `d` features lies in a simplex of d + 1 vertices. Filtering splats values onto the vertices by
barycentric weights, blurs them along the d + 1 axes of the lattice, and slices them off at the points again.
Which vertex a point touches is decided as in the reference code of Krähenbühl and Koltun, so that results
agree with it to rounding.

All three are weighted sums of a few rows, which `torch.nn.functional.embedding_bag` does at the speed of the
memory, on the CPU as on CUDA: values have the classes innermost, and the vertices are in the order of the
image, so that what is read together lies together. Building the lattice makes the host wait on CUDA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from engine.errors import EngineError

BAND = 1 << 14
"""Points or vertices that the CPU works on at once: what it makes of them stays in its cache."""
LARGEST_KEY = 2**62


class CrfError(EngineError):
    """Features for which there is no lattice; the message is one line."""


@dataclass(frozen=True)
class Vertices:
    """The d + 1 vertices of each of N points.

    `ids` int32 [N, d + 1] are rows among the `count` vertices, `shares` float32 [N, d + 1] the barycentric
    weights of a point, which add up to 1. `neighbours` has for each of the d + 1 axes int32 [count, 3]: a
    vertex and those before and after it; `count` where there is none."""

    ids: Tensor
    shares: Tensor
    neighbours: tuple[Tensor, ...]
    count: int


def find_vertices(features: Tensor) -> Vertices:
    """The vertices around points with `features` float32 [d, N], d >= 2, each in units of its standard
    deviation.

    The first two features should be x and y: vertices are numbered by y, then by x. Raises CrfError.
    """
    step = points_at_once(features.device, features.shape[1])
    pieces = [_embed(band) for band in torch.split(features, step, dim=1)]
    lowest = torch.stack([rounded.amin(1) for rounded, _, _ in pieces]).amin(0)
    highest = torch.stack([rounded.amax(1) for rounded, _, _ in pieces]).amax(0)
    packing = _Packing.of(lowest, highest)
    keys, shares = zip(*(_corners(*piece, packing) for piece in pieces), strict=True)
    del pieces
    known, ids = _unique(torch.cat(keys))
    del keys
    neighbours = tuple(_neighbours(known, offset) for offset in packing.axes())
    return Vertices(ids, torch.cat(shares), neighbours, len(known))


class Filter:
    """A Gaussian filter over points whose values are normalised to D^-1/2 K D^-1/2, where K is what the
    lattice makes of the Gaussian kernel and D the diagonal of its row sums: symmetric, as Krähenbühl and
    Koltun have it."""

    def __init__(self, features: Tensor) -> None:
        """`features` float32 [d, N] as `find_vertices` takes them. Raises CrfError."""
        vertices = find_vertices(features)
        self._ids, self._neighbours, self._count = vertices.ids, vertices.neighbours, vertices.count
        self._step = points_at_once(features.device, self._count)
        rows = min(self._step, self._count)
        self._blurring = torch.tensor([1.0, 0.5, 0.5], device=features.device).repeat(rows, 1)
        self._of_vertex, order, self._starts = _transposed(vertices)
        plain = torch.take(vertices.shares, order)
        ones = torch.ones(len(self._ids), 1, device=features.device)
        sums = self._slice(self._blur(self._splat(ones, plain)), slice(None), vertices.shares)  # [N, 1]
        self._weights = vertices.shares.mul_(sums.add_(1e-20).rsqrt_())
        self._splat_weights = torch.take(self._weights, order)

    def blurred(self, values: Tensor) -> Tensor:
        """What the vertices have of `values` float32 [N, C]: [count + 1, C], to be sliced."""
        return self._blur(self._splat(values, self._splat_weights))

    def sliced(self, blurred: Tensor, points: slice) -> Tensor:
        """The filtered values of some points, [n, C]."""
        return self._slice(blurred, points, self._weights)

    def _splat(self, values: Tensor, weights: Tensor) -> Tensor:
        count = self._count
        out = values.new_empty(count + 1, values.shape[1])
        out[count] = 0  # the neighbour where there is none
        bounds = self._starts
        if self._step >= count:
            out[:count] = functional.embedding_bag(
                self._of_vertex, values, bounds[:-1], mode="sum", per_sample_weights=weights
            )
            return out
        for first in range(0, count, self._step):
            last = min(first + self._step, count)
            entries = slice(int(bounds[first]), int(bounds[last]))
            out[first:last] = functional.embedding_bag(
                self._of_vertex[entries],
                values,
                bounds[first:last] - bounds[first],
                mode="sum",
                per_sample_weights=weights[entries],
            )
        return out

    def _blur(self, values: Tensor) -> Tensor:
        count = self._count
        other = torch.empty_like(values)
        other[count] = 0
        for neighbours in self._neighbours:
            for first in range(0, count, self._step):
                rows = neighbours[first : first + self._step]
                other[first : first + len(rows)] = functional.embedding_bag(
                    rows, values, mode="sum", per_sample_weights=self._blurring[: len(rows)]
                )
            values, other = other, values
        return values

    def _slice(self, values: Tensor, points: slice, weights: Tensor) -> Tensor:
        return functional.embedding_bag(
            self._ids[points], values, mode="sum", per_sample_weights=weights[points]
        )


def on_host(device: torch.device) -> bool:
    """Whether to work as suits the CPU: in bands that stay in the cache, with NumPy's sort and SciPy's
    transpose. On a GPU all is done at once, by torch."""
    return device.type == "cpu"


def points_at_once(device: torch.device, points: int) -> int:
    """How many of `points` points or vertices are worked on at once."""
    return BAND if on_host(device) else max(1, points)


def _embed(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where points [d, n] lie: the nearest vertex of remainder 0, int32 [d + 1, n]; the rank of each
    coordinate by its distance from there, uint8 [d + 1, n]; and that distance in sides of a simplex, float32
    [d + 1, n]."""
    d = len(features)
    deviation = np.sqrt(2 / 3) * (d + 1)  # of the blur, in units of the lattice
    elevated = features.new_empty(d + 1, features.shape[1])
    total = torch.zeros_like(features[0])
    for axis in range(d, 0, -1):
        scaled = features[axis - 1] * float(np.float32(deviation / np.sqrt(axis * (axis + 1))))
        elevated[axis] = total - axis * scaled
        total = total + scaled
    elevated[0] = total
    rounds = (elevated * (1 / (d + 1))).round_()
    distance = elevated - rounds * (d + 1)
    rank = rounds.sum(0).int().repeat(d + 1, 1)
    for one in range(d + 1):
        for two in range(one + 1, d + 1):
            nearer = distance[one] < distance[two]
            rank[one] += nearer
            rank[two] += ~nearer
    wrap = (rank < 0).int() - (rank > d).int()
    rank += wrap * (d + 1)
    rounds += wrap
    offset = (elevated - rounds * (d + 1)) * (1 / (d + 1))
    return (rounds * (d + 1)).int(), rank.to(torch.uint8), offset


@dataclass(frozen=True)
class _Packing:
    """A vertex as one number: a linear function of its d + 1 coordinates, so that a step between vertices is
    the same difference everywhere. `factors` int64 [d + 1]; the most significant part grows with y, the next
    with x."""

    factors: Tensor
    base: int

    @classmethod
    def of(cls, lowest: Tensor, highest: Tensor) -> _Packing:
        """For coordinates from `lowest` to `highest`, int64 [d + 1], and those around. Raises CrfError."""
        corners = len(lowest)
        parts = torch.zeros(corners - 1, corners, dtype=torch.int64)
        parts[0, :3] = torch.tensor([1, 1, -2])  # six times the second feature
        parts[1, :2] = torch.tensor([1, -1])  # twice the first feature
        for row in range(2, corners - 1):
            parts[row, row + 1] = 1
        around = 2 * corners
        low, high = lowest.cpu() - around, highest.cpu() + around
        least = (parts.clamp(min=0) * low + parts.clamp(max=0) * high).sum(1)
        most = (parts.clamp(min=0) * high + parts.clamp(max=0) * low).sum(1)
        factors, width, base = torch.zeros(corners, dtype=torch.int64), 1, 0
        for row in range(corners - 2, -1, -1):
            factors += width * parts[row]
            base -= width * int(least[row])
            width *= int(most[row] - least[row]) + 1
            if width > LARGEST_KEY:
                raise CrfError("the standard deviations are too small for an image of this size")
        return cls(factors.to(lowest.device), base)

    def axes(self) -> list[int]:
        """What a step along each axis of the lattice adds to a key."""
        factors = self.factors.tolist()
        return [len(factors) * factor - sum(factors) for factor in factors]


def _corners(rounded: Tensor, rank: Tensor, offset: Tensor, packing: _Packing) -> tuple[Tensor, Tensor]:
    """The keys int64 [n, d + 1] and barycentric weights float32 [n, d + 1] of the vertices around points."""
    corners, points = rank.shape
    factors, rank = packing.factors, rank.long()
    ranked = torch.empty_like(offset).scatter_(0, rank, offset)
    steps = torch.empty_like(rank).scatter_(0, rank, factors[:, None].expand(corners, points))
    keys, shares = rank.new_empty(points, corners), offset.new_empty(points, corners)
    key = (rounded * factors[:, None]).sum(0) + packing.base
    keys[:, 0], shares[:, 0] = key, 1 + ranked[-1] - ranked[0]
    total = factors.sum()
    for remainder in range(1, corners):
        place = corners - remainder
        key = key + total - corners * steps[place]
        keys[:, remainder], shares[:, remainder] = key, ranked[place - 1] - ranked[place]
    return keys, shares


def _unique(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The sorted unique keys int64 [count], and where each of `keys` is among them, int32, of their shape."""
    if not on_host(keys.device):
        return _unique_by_sorting(keys)
    known_here, ids_here = unique_by_table(keys.numpy().reshape(-1))
    return torch.from_numpy(known_here), torch.from_numpy(ids_here).view(keys.shape)


def _unique_by_sorting(keys: Tensor) -> tuple[Tensor, Tensor]:
    """On a GPU: a sort, and one number that the host waits for."""
    ordered, order = keys.flatten().sort()
    places = functional.pad((ordered[1:] != ordered[:-1]).cumsum(0), (1, 0))
    known = ordered.new_zeros(int(places[-1]) + 1).scatter_(0, places, ordered)
    ids = torch.empty_like(places).scatter_(0, order, places)
    return known, ids.view(keys.shape).int()


def unique_by_table(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """As np.unique with its inverse, several times as fast: values are sorted alone, without their places,
    and found again through a table of hashes; those that share a place in it are searched for."""
    known = np.concatenate(
        [_distinct(np.sort(keys[at : at + (1 << 20)])) for at in range(0, len(keys), 1 << 20)]
    )
    known = _distinct(np.sort(known))
    bits = max(10, len(known).bit_length() + 2)

    def hashed(some: NDArray[np.int64]) -> NDArray[np.intp]:
        spread = some.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
        return (spread >> np.uint64(64 - bits)).view(np.int64).astype(np.intp, copy=False)

    table = np.zeros(1 << bits, dtype=np.int32)
    table[hashed(known)] = np.arange(len(known), dtype=np.int32)
    ids = np.empty(len(keys), dtype=np.int32)
    for at in range(0, len(keys), 1 << 17):
        some = keys[at : at + (1 << 17)]
        found = table[hashed(some)]
        others = np.flatnonzero(known[found] != some)
        found[others] = np.searchsorted(known, some[others])
        ids[at : at + len(some)] = found
    return known, ids


def _distinct(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    first = np.append(True, ordered[1:] != ordered[:-1])
    distinct: NDArray[np.int64] = ordered[first]
    return distinct


def _neighbours(known: Tensor, offset: int) -> Tensor:
    """For each key [count] its place and those of the keys `offset` before and after; int32 [count, 3]."""
    count = len(known)
    here = torch.arange(count, dtype=torch.int32, device=known.device)
    found = torch.searchsorted(known, known + offset).clamp_(max=count - 1)
    there = known[found] == known + offset
    after = torch.where(there, found.int(), count)
    before = torch.full((count + 1,), count, dtype=torch.int32, device=known.device)
    before[torch.where(there, found, count)] = here
    return torch.stack([here, before[:count], after], 1)


def _transposed(vertices: Vertices) -> tuple[Tensor, Tensor, Tensor]:
    """The points of each vertex, one vertex after the other: their rows int32 [N * (d + 1)], where among the
    flattened shares each is, and the vertices' starts among them, int32 [count + 1]."""
    points, corners = vertices.ids.shape
    flat = vertices.ids.flatten()
    if not on_host(flat.device):
        ordered, order = flat.sort(stable=True)
        every = torch.arange(vertices.count + 1, dtype=flat.dtype, device=flat.device)
        starts = torch.searchsorted(ordered, every, out_int32=True)
        return (order // corners).int(), order, starts
    places = np.arange(len(flat), dtype=np.int32)
    starts_of_points = np.arange(0, len(flat) + 1, corners, dtype=np.int32)
    by_point = csr_array((places, flat.numpy(), starts_of_points), shape=(points, vertices.count))
    by_vertex = by_point.tocsc()
    as_tensors = (by_vertex.indices, by_vertex.data, by_vertex.indptr)
    rows, order, starts = (torch.from_numpy(np.asarray(each, dtype=np.int32)) for each in as_tensors)
    return rows, order.long(), starts
