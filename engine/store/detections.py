"""What the tasks `ood` and `robustness` found out about a run's network."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from engine.store.rows import (
    CORRUPTION_COLUMNS,
    OOD_COLUMNS,
    OOD_IMAGE_COLUMNS,
    CorruptionRow,
    OodImageRow,
    OodRow,
)
from engine.store.schema import corruptions, ood_images, ood_results, runs


class DetectionVerbs(abc.ABC):
    """The verbs of the `Store` that read out-of-distribution scores and robustness."""

    @abc.abstractmethod
    def _rows_of(self, run_id: str, select: sa.Select[Any]) -> Sequence[tuple[Any, ...]]: ...

    def ood_results(self, run_id: str) -> list[OodRow]:
        """What the run itself, of the task `ood`, or the runs that looked at its network measured; in order
        of time, of one run first pixels, then images."""
        chosen = sa.select(*OOD_COLUMNS).join_from(ood_results, runs).where(_of(run_id))
        order = (runs.c.created_at, ood_results.c.run_id, ood_results.c.seq)
        return [OodRow(*row) for row in self._rows_of(run_id, chosen.order_by(*order))]

    def ood_images(self, run_id: str) -> list[OodImageRow]:
        """What the scores say of each image, in the order in which a run of the task `ood` looked at them."""
        chosen = sa.select(*OOD_IMAGE_COLUMNS).where(ood_images.c.run_id == run_id)
        return [OodImageRow(*row) for row in self._rows_of(run_id, chosen.order_by(ood_images.c.seq))]

    def corruptions(self, run_id: str) -> list[CorruptionRow]:
        """What the run itself, of the task `robustness`, or those of its network measured; in order of
        time."""
        chosen = sa.select(*CORRUPTION_COLUMNS).join_from(corruptions, runs).where(_of(run_id))
        order = (runs.c.created_at, corruptions.c.run_id, corruptions.c.seq)
        return [CorruptionRow(*row) for row in self._rows_of(run_id, chosen.order_by(*order))]


def _of(run_id: str) -> sa.ColumnElement[bool]:
    return (runs.c.id == run_id) | (runs.c.source == run_id)
