"""Who is told what when something ends, and whether it has been told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("runs", sa.Column("untold", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("runs_untold", "runs", ["untold"])
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer, primary_key=True),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("workspace", "scope", "subject", "occasion", "channel", "target", "state", "problem")
        ),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("taken_at", sa.Float),
        sa.UniqueConstraint(
            *("workspace", "scope", "subject", "occasion", "channel", "target"), name="notices_once"
        ),
    )
