"""Epochs that were imported lack what the other program did not record."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    with op.batch_alter_table("epochs") as epochs:
        for name in ("lr", "seconds", "images_per_second", "data_wait"):
            epochs.alter_column(name, existing_type=sa.Float(), nullable=True)
        epochs.alter_column("peak_memory_bytes", existing_type=sa.BigInteger(), nullable=True)
