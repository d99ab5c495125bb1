"""The version of the tables: which one a database has, and bringing it to this program's."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

from engine.store.errors import OtherVersion, StoreError
from engine.typed import typed

HEAD = "0025"
"""The newest migration. Known here so that opening a database that is up to date needs no Alembic, whose
import takes longer than all else that `seg-engine runs` does."""

MIGRATIONS = Path(__file__).with_name("migrations")


def revision_of(connection: sa.Connection, label: str) -> str | None:
    """The migration the tables are at, None where there are no tables. Raises StoreError."""
    names = sa.inspect(connection).get_table_names()
    if not names:
        return None
    revision = None
    if {"alembic_version", "runs"} <= set(names):
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if revision is None or not re.fullmatch(r"\d{4}", revision):
        raise StoreError(f"{label}: is a database of another program; choose another one")
    return str(revision)


def migrate(connection: sa.Connection, label: str) -> None:
    """Bring the tables to HEAD in the caller's transaction, so that a crash leaves them as they were."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    revision = revision_of(connection, label)
    if revision == HEAD:
        return  # somebody else was faster
    if revision is not None and revision not in known:
        raise newer(label, revision)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def refuse_older(revision: str | None, label: str, read_only: str) -> None:
    """Raises OtherVersion for tables that would have to be made or changed first."""
    if revision is None or revision < HEAD:
        has = "has no tables yet" if revision is None else f"has the tables of an older version ({revision})"
        raise OtherVersion(
            f"{label}: {has}, and {read_only}; `{typed('db', 'upgrade')}` brings it to this version ({HEAD})"
        )
    if revision > HEAD:
        raise newer(label, revision)


def newer(label: str, revision: str) -> OtherVersion:
    return OtherVersion(
        f"{label}: was created by a newer version of this program (its schema is {revision}, this one's is "
        f"{HEAD}); update seg-engine, or choose another database"
    )
