"""Columns that several tables have, and what all tables are of."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()


def text(name: str) -> sa.Column[str]:
    """Text that is empty, never NULL, where there is none."""
    return sa.Column(name, sa.Text, nullable=False)


def run_id() -> sa.Column[str]:
    return sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False)


def scores() -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Float) for name in ("dice", "dice_image", "miou", "pixel_accuracy")]


def windows() -> list[sa.Column[str]]:
    """Of sliding windows; "" for whole images."""
    names = ("window_size", "window_stride")
    return [sa.Column(name, sa.Text, nullable=False, server_default="") for name in names]
