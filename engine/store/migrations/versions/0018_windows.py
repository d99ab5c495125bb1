"""Sliding windows: their size and how far apart they are, beside the scores that they gave."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    for table in ("results", "ood_results", "corruptions"):
        for name in ("window_size", "window_stride"):
            op.add_column(table, sa.Column(name, sa.Text, nullable=False, server_default=""))
