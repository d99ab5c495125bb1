"""The leaderboard has the recall of critical classes."""

from __future__ import annotations

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Nothing but the views, which every migration makes anew."""
