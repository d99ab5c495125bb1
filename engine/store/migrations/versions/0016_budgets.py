"""What share of its budget a run has used, by now and after each epoch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    for table in ("runs", "epochs"):
        op.add_column(table, sa.Column("budget_used", sa.Float))
