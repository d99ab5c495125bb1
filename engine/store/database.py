"""What every database can do, whichever kind it is: transactions, and errors people can act on."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from engine.store.errors import StoreError

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")
"""How the URLs of the two kinds begin."""


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

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one moment and writes nothing. Errors of the driver become StoreErrors."""
        with self.explained(), self.reader.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes, all of it or nothing. Errors of the driver become StoreErrors."""
        with self.explained(), self.writer.begin() as connection:
            yield connection

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
