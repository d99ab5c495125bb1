"""What agents say: why they start nothing on this or that device."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("owner", sa.JSON, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "host"),
    )
