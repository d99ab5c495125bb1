"""What the attempts at a run have cost."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.run.events import Used
from engine.store.folds.folding import Folding, folds
from engine.store.schema import costs


@folds(Used)
def used(folding: Folding, event: Used) -> None:
    folding.put(costs, event)


def cost_summary(connection: sa.Connection, run_id: str) -> dict[str, Any]:
    """The columns of a run that sum up its attempts: NULL for what none of them measured. `attempts_measured`
    counts those that told what they used; one that was killed did not."""
    c = costs.c
    sums = sa.select(
        sa.func.sum(c.devices * c.seconds).label("device_seconds"),
        sa.func.sum(c.gpu_joules).label("gpu_joules"),
        sa.func.sum(c.cpu_joules).label("cpu_joules"),
        sa.func.count().label("attempts_measured"),
    ).where(c.run_id == run_id)
    disk = sa.select(c.disk_bytes).where(c.run_id == run_id).order_by(c.attempt.desc()).limit(1)
    return dict(connection.execute(sums).mappings().one()) | {"disk_bytes": connection.scalar(disk)}
