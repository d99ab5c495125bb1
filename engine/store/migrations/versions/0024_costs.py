"""What runs cost: device time, energy and disk, of each attempt and in all; the energy of epochs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    for name in ("device_seconds", "gpu_joules", "cpu_joules"):
        op.add_column("runs", sa.Column(name, sa.Float))
    op.add_column("runs", sa.Column("disk_bytes", sa.BigInteger))
    op.add_column("runs", sa.Column("attempts_measured", sa.Integer, nullable=False, server_default="0"))
    op.add_column("epochs", sa.Column("joules", sa.Float))
    op.create_table(
        "costs",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("devices", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("gpu_joules", sa.Float),
        sa.Column("cpu_joules", sa.Float),
        sa.Column("disk_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt"),
    )
