"""A SQLite database as an earlier version had it: the same rows, in the tables and columns of that time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from engine.store.migrate import MIGRATIONS


def make_older(path: Path, version: str) -> None:
    """Take a database back to a migration, as its own migrations up to there make the tables."""
    older = path.with_name(f"{path.name}-older")
    engine = sa.create_engine(f"sqlite:///{older}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, version)
    engine.dispose()
    with closing(sqlite3.connect(older)) as database:
        database.execute("ATTACH DATABASE ? AS newer", (str(path),))
        tables = database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table == "alembic_version":
                continue
            columns = ", ".join(f'"{name}"' for name in _columns(database, "main", table))
            database.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")
        database.commit()
    for file in path.parent.glob(f"{path.name}*"):
        if file != older:
            file.unlink()
    older.rename(path)


def _columns(database: sqlite3.Connection, schema: str, table: str) -> list[str]:
    return [name for _, name, *_ in database.execute(f"PRAGMA {schema}.table_info({table})")]
