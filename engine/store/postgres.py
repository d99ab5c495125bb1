"""PostgreSQL: one database for the workspaces of several people and machines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Self
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from engine.store.database import POSTGRESQL, Database
from engine.store.dialects import CURRENT_TRANSACTION
from engine.store.errors import StoreError
from engine.store.migrate import HEAD, migrate, newer, refuse_older, revision_of
from engine.store.values import JSON, printable, without_nul
from engine.typed import typed

try:
    import psycopg
    from psycopg import conninfo, sql
except ImportError as problem:
    raise StoreError(
        f"PostgreSQL needs the package psycopg ({problem}); run `pip install 'seg-engine[postgres]'`"
    ) from problem

OLDEST = 13
"""Major version of the oldest server that has what the queries use."""

_MIGRATING = 7_363_745
"""Key of the advisory lock under which tables are made and migrated."""

# Whoever looks at a database has one connection; a server has about a hundred for everybody.
_KEPT_CONNECTIONS, _MORE_CONNECTIONS = 1, 9


class PostgresDatabase(Database):
    """A database on a server. Connections that the server has closed are replaced by new ones."""

    errors = (psycopg.Error,)

    def __init__(self, url: str, timeout: float) -> None:
        self.timeout = timeout
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # The driver's own message repeats the URL, which may hold a password.
            raise StoreError(
                f"the URL of the database names no server; it must be {POSTGRESQL[0]}USER@HOST/DATABASE"
            ) from None
        if not _is_clear(url, given):
            raise StoreError(
                "the URL of the database can be read in several ways; in a user's name or a password @ is "
                "%40, / is %2F and : is %3A"
            )
        self.label = _label(given)
        self.secrets = _secrets(given)
        # A server that a network cut off silently answers nothing: without limits one waits for hours.
        patience: dict[str, Any] = {
            "application_name": "seg-engine",
            "client_encoding": "UTF8",
            "connect_timeout": max(2, round(min(timeout, 10.0))),
            "keepalives_idle": 30,
            "tcp_user_timeout": 30_000,
        }
        engine = sa.create_engine(
            "postgresql+psycopg://",
            connect_args=patience | given,
            pool_pre_ping=True,
            pool_size=_KEPT_CONNECTIONS,
            max_overflow=_MORE_CONNECTIONS,
            **JSON,
        )
        sa.event.listen(engine, "connect", self._configure)
        sa.event.listen(engine, "before_cursor_execute", without_nul, retval=True)
        # All statements of a reader see one moment. Each of a writer's sees what is committed by then; what
        # it reads before it changes it, it holds.
        self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._writer = engine.execution_options(isolation_level="READ COMMITTED")

    @classmethod
    def open(cls, url: str, timeout: float, upgrade: bool, look: bool = False, read_only: str = "") -> Self:
        """Connect, and make the tables where there are none; those of an older version only if `upgrade`.

        Any number of processes may do so at once: one makes the tables, the others wait. With `look` a role
        that may read and not write is enough, if the tables are there. With a reason to be `read_only`
        nothing is made or changed. Raises StoreError.
        """
        database = cls(url, timeout)
        try:
            with database.explained():
                with database.reader.begin() as connection:
                    revision = revision_of(connection, database.label)
                    if read_only:
                        refuse_older(revision, database.label, read_only)
                    if look and revision is not None:
                        database.read_only = _why_read_only(connection) or read_only
                    foreign = (
                        revision == HEAD and not database.read_only and _is_from_another_server(connection)
                    )
                if revision is not None and revision > HEAD:
                    raise newer(database.label, revision)
                if revision is not None and revision < HEAD and not upgrade:
                    raise StoreError(
                        f"{database.label}: has the tables of an older version (schema {revision}, this "
                        f"one's is {HEAD}); `{typed('db', 'upgrade')}` brings them up to date, and "
                        "whoever uses the database needs this version from then on"
                    )
                if revision != HEAD:
                    with database.writer.begin() as connection:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
                        migrate(connection, database.label)
                if foreign:
                    with database.writer.begin() as connection:
                        connection.exec_driver_sql(f"UPDATE runs SET changed = {CURRENT_TRANSACTION}")
        except BaseException:
            database.close()
            raise
        return database

    def _configure(self, connection: psycopg.Connection[Any], record: Any) -> None:
        if connection.info.server_version < OLDEST * 10_000:
            found = connection.info.server_version // 10_000
            raise StoreError(f"{self.label}: is PostgreSQL {found}; this program needs {OLDEST} or newer")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreError(
                f"{self.label}: stores text as {encoding}; create the database with "
                "`createdb --encoding UTF8 --template template0 NAME`"
            )
        connection.execute(f"SET lock_timeout = {round(self.timeout * 1000)}")
        connection.commit()

    def advice(self, error: BaseException | None) -> str:
        code = getattr(error, "sqlstate", None) or ""
        said = _last_line(error)
        if code == "55P03":
            return (
                f"another program has locked the rows to change for more than {self.timeout:g} s; try again "
                "when it is done"
            )
        if code == "42501":
            return f"its server does not allow this ({said}); ask whoever owns the database"
        if code == "53100":
            return "the server's disk is full; nothing of this change was written"
        if code == "53300" or "too many clients" in said:
            return "the server has no connection left; try again, or raise its max_connections"
        connection = getattr(error, "pgconn", None)
        if "password authentication failed" in said:
            return f"{said}; look at the user, and at the password in ~/.pgpass, PGPASSWORD or the URL"
        if connection is not None and connection.needs_password:
            return "the server requires a password; put it into ~/.pgpass or PGPASSWORD"
        if "does not exist" in said and not code:
            return f"{said}; `createdb` and `createuser` make one"
        if not code or code[:2] in ("08", "57"):
            return f"its server cannot be reached ({said}); runs go on, and are read when it is back"
        return said

    def relax(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")

    def faults(self, connection: sa.Connection) -> list[str]:
        """None: the server sees to foreign keys itself, and to damaged pages if made with checksums."""
        return []

    def insert(
        self, connection: sa.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        own: Any = connection.connection.driver_connection
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
        with own.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([printable(value) for value in row])


def _why_read_only(connection: sa.Connection) -> str:
    """Why this role can look at the tables and not write them; "" where it can."""
    row = connection.exec_driver_sql(
        "SELECT current_user, pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool,"
        " has_table_privilege('runs', 'INSERT') AND has_table_privilege('runs', 'UPDATE')"
    ).one()
    role, standby, reads, writes = row
    if standby:
        return "its server is a standby, which follows another one"
    if reads or not writes:
        return f"the role {role} may read here and not write; ask whoever owns the database"
    return ""


def _is_from_another_server(connection: sa.Connection) -> bool:
    """Whether rows have numbers that this server has not given out yet: they were restored from a dump."""
    given = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    return bool(connection.exec_driver_sql(f"SELECT max(changed) >= {given} FROM runs").scalar())


def _is_clear(url: str, given: dict[str, Any]) -> bool:
    """Whether the driver cut the URL where its writer meant to. Of a password with @ or / in it, parts would
    be taken for the host, the port or the database, and shown."""
    place = url.partition("://")[2].partition("?")[0]
    host, port, name = (str(given.get(part) or "") for part in ("host", "port", "dbname"))
    return not (
        place.count("@") > 1 or "@" in host or "@" in name or ":" in name or port.strip("0123456789,")
    )


def _secrets(given: dict[str, Any]) -> tuple[str, ...]:
    known = [str(value) for name, value in given.items() if "password" in name and value]
    return tuple(dict.fromkeys([*known, *map(quote, known), *map(quote_plus, known)]))


def _label(given: dict[str, Any]) -> str:
    # Of a user's name with a colon or the like in it the rest may be meant as a password.
    whole = str(given.get("user") or "")
    name = whole if re.fullmatch(r"[\w.@-]*", whole) else "..."
    user = f"{name}@" if name else ""
    host = given.get("host") or ""
    place = "" if host.startswith("/") else host + (f":{given['port']}" if given.get("port") else "")
    return f"{POSTGRESQL[0]}{user}{place}/{given.get('dbname') or ''}"


def _last_line(error: BaseException | None) -> str:
    """The end of what the driver says, which names the reason; what comes before lists the ways it tried."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    said = str(primary) if primary else lines[0] if len(lines) < 3 else lines[-1]
    return re.sub(r"^.*?(FATAL|ERROR): +", "", said)
