"""What tests need not pay for: files that outlive a power cut, and all migrations for each new database."""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from typing import Any

import sqlalchemy as sa

from engine.store import sqlite
from tests import warm

_migrate, _configure = sqlite.migrate, sqlite._configure


def take_shortcuts() -> None:
    """Take them from now on, in this process and its forks."""
    os.fsync = os.fdatasync = lambda descriptor: None
    sqlite.migrate, sqlite._configure = _migrate_at_once, _configure_without_syncs  # type: ignore[assignment]


def _migrate_at_once(connection: sa.Connection, label: str) -> None:
    """Make the tables of an empty database as the migrations leave them; others are migrated as ever."""
    if sqlite.revision_of(connection, label) is not None:
        _migrate(connection, label)
        return
    for statement in migrated():
        connection.exec_driver_sql(statement)


@cache
def migrated() -> tuple[str, ...]:
    """The statements that make of an empty database what the migrations make of it."""
    engine = sqlite.make_engine(sa.URL.create("sqlite"), timeout=1)
    with engine.begin() as connection:
        _migrate(connection, "a database in memory")
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master ORDER BY rowid")
        statements = [str(sql) for (sql,) in made if sql is not None]
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    engine.dispose()
    return (*statements, f"INSERT INTO alembic_version VALUES ('{version}')")


def _configure_without_syncs(connection: sqlite3.Connection, record: Any) -> None:
    warm.Warm.knows_locks = True
    _configure(connection, record)
    connection.execute("PRAGMA synchronous = OFF")
