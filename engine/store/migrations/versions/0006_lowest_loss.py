"""The view `leaderboard` tells the lowest validation loss: the only score of a run without classes."""

from __future__ import annotations

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Nothing but the views, which every migration makes anew."""
