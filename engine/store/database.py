"""Opening a database: which kind a URL names, the schema's version, and errors people can act on."""

from __future__ import annotations

import abc
import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json, to_json

from engine.store.errors import DamagedRow, StoreError

HEAD = "0009"
"""The newest migration. Known here so that opening a database that is up to date needs no Alembic, whose
import takes longer than all else that `seg-engine runs` does."""

MIGRATIONS = Path(__file__).with_name("migrations")

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")


def dump_json(value: object) -> str:
    """JSON without the escape of the character NUL, at which PostgreSQL's operators end the whole query."""
    text = to_json(value).decode()
    return _NUL.sub(r"\1\\ufffd", text) if r"\u0000" in text else text


_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def load_json(text: str) -> object:
    """What `dump_json` has written. Raises DamagedRow for anything else."""
    try:
        return from_json(text)
    except ValueError as error:
        raise DamagedRow(f"a JSON value of the database is damaged: {error}") from error


JSON = {"json_serializer": dump_json, "json_deserializer": load_json}
"""How every engine writes and reads JSON columns."""


def without_nul(
    connection: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    """Send text without the character NUL, which PostgreSQL cannot keep and C programs end at, and without
    lone surrogates, which are no UTF-8; U+FFFD stands in their place. To be called before a statement is
    executed.
    """
    return statement, [_clean(one) for one in parameters] if many else _clean(parameters)


def _clean(values: Any) -> Any:
    all_values = values.values() if isinstance(values, dict) else values
    if not any(isinstance(value, str) and _UNKEEPABLE.search(value) for value in all_values):
        return values
    if isinstance(values, dict):
        return {name: printable(value) for name, value in values.items()}
    return tuple(printable(value) for value in values)


def printable(value: Any) -> Any:
    """The value, text without the characters that a database cannot keep."""
    return _UNKEEPABLE.sub("\ufffd", value) if isinstance(value, str) else value


_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")


class Database(abc.ABC):
    """An open database. `label` is what messages call it, without a password. `read_only` is "", or why
    nothing can be written to it, in words that say whose it is."""

    label: str
    read_only: str = ""
    secrets: tuple[str, ...] = ()
    """What no message may repeat, whoever wrote it: passwords, and how they stand in the URL."""
    _reader: sa.Engine
    _writer: sa.Engine
    errors: tuple[type[Exception], ...]
    """What the driver raises where SQLAlchemy does not wrap it."""

    @property
    def reader(self) -> sa.Engine:
        """Begins transactions that see one moment and write nothing."""
        return self._reader

    @property
    def writer(self) -> sa.Engine:
        """Begins transactions that write. Raises StoreError where nothing can be written."""
        if self.read_only:
            raise StoreError(f"{self.label}: is open for reading only: {self.read_only}")
        return self._writer

    @abc.abstractmethod
    def advice(self, error: BaseException | None) -> str:
        """What to say of an error of the driver: what is wrong and what to do, in a line."""

    def relax(self, connection: sa.Connection) -> None:  # noqa: B027
        """Let this transaction be one that a power cut may undo, with the rest of the last moments."""

    @abc.abstractmethod
    def faults(self, connection: sa.Connection) -> list[str]:
        """What the database itself finds damaged; none when it is sound."""

    @abc.abstractmethod
    def insert(
        self, connection: sa.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        """Insert many rows, faster than by statements that know the columns' types; JSON is text here."""

    def close(self) -> None:
        self._reader.dispose()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the database into a StoreError whose one line says what to do."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise StoreError(f"{self.label}: {self._masked(self.advice(error.orig))}") from error
        except self.errors as error:
            raise StoreError(f"{self.label}: {self._masked(self.advice(error))}") from error

    def _masked(self, message: str) -> str:
        for secret in self.secrets:
            message = message.replace(secret, "...")
        return message


def open_database(url: str, timeout: float, upgrade: bool, look: bool = False) -> Database:
    """Open what `url` names, making its tables where there are none; wait for others at most `timeout` s.

    Tables of an older version are brought up to date; those on a server only if `upgrade` says so, as
    everybody else who uses it needs this version from then on. Who only wants to `look` may open what is not
    theirs to write; it is then `read_only`. Raises StoreError.
    """
    if url.startswith(SQLITE) and url != SQLITE:
        from engine.store.sqlite import SqliteDatabase, why_read_only

        path = Path(url.removeprefix(SQLITE))
        if look and (why := why_read_only(path)):
            from engine.store.sqlite_look import SqliteLook

            return SqliteLook.open(path, timeout, why)
        return SqliteDatabase.open(path, timeout)
    if url.startswith(POSTGRESQL):
        from engine.store.postgres import PostgresDatabase  # most people have no server

        return PostgresDatabase.open(url, timeout, upgrade, look)
    # Nothing of the URL is repeated: of one that cannot be read nobody knows where its password is.
    raise StoreError(
        f"the URL of the database names none that this program opens; it must be {SQLITE}PATH or "
        f"{POSTGRESQL[0]}USER@HOST/DATABASE"
    )


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


def newer(label: str, revision: str) -> StoreError:
    return StoreError(
        f"{label}: was made by a newer version of this program (its schema is {revision}, this one's is "
        f"{HEAD}); update seg-engine, or choose another database"
    )
