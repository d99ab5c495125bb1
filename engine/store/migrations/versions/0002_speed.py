"""What the machine could do and what a run got out of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name in ("first_step_seconds", "achieved_flops", "ceiling_flops"):
        op.add_column("runs", sa.Column(name, sa.Float))
