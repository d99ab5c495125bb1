"""Classes that count as one: what a confusion matrix becomes when classes are merged or left out.

A pixel's predicted class is found among all classes first and merged afterwards, so the matrix of merged
classes is the sum of rows and columns of the whole one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.metrics.image_confusions import ImageConfusions, Matrix


@dataclass(frozen=True)
class Merging:
    """The classes that are scored, in the order of their first members, and which of them each class of the
    network is: `places`, -1 for one that is left out."""

    classes: tuple[str, ...]
    colors: tuple[str, ...]
    places: tuple[int, ...]

    @classmethod
    def of(
        cls,
        classes: Sequence[str],
        colors: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        left_out: Sequence[str] = (),
    ) -> Merging:
        """A group has the colour of the member that it is called like, else that of its first."""
        color_of = dict(zip(classes, colors, strict=True))
        group_of = {member: name for name, members in groups.items() for member in members}
        scored = list(dict.fromkeys(group_of.get(name, name) for name in classes if name not in left_out))
        places = tuple(-1 if name in left_out else scored.index(group_of.get(name, name)) for name in classes)
        shown = (name if name in color_of else groups[name][0] for name in scored)
        return cls(tuple(scored), tuple(color_of[name] for name in shown), places)

    def matrix(self, confusion: Matrix) -> Matrix:
        """The matrix [G, G+1] of the scored classes from one [C, C+1] of the network's. The pixels of a class
        that is left out are in no count; where it is predicted, the prediction is wrong and of no class."""
        count = len(self.classes)
        merged = np.zeros((count, count + 1), np.int64)
        columns = np.array([place if place >= 0 else count for place in (*self.places, -1)])
        for row, place in zip(confusion, self.places, strict=True):
            if place >= 0:
                merged[place] += np.bincount(columns, weights=row, minlength=count + 1).astype(np.int64)
        return merged

    def confusions(self, of: ImageConfusions) -> ImageConfusions:
        """The same for each image."""
        if self.places == tuple(range(len(self.classes))):
            return of
        merged = ImageConfusions(self.classes, of.checkpoint)
        for name, matrix in zip(of.names, of.matrices(), strict=True):
            merged.add(name, self.matrix(matrix))
        return merged

    def never_labelled(self, confusion: NDArray[np.int64]) -> tuple[str, ...]:
        """The scored classes that no label has, by the pooled matrix of the scored classes."""
        there = confusion.sum(axis=1) > 0
        return tuple(name for name, is_there in zip(self.classes, there, strict=True) if not is_there)
