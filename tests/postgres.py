"""A PostgreSQL server of the tests' own: a throw-away cluster that answers on a socket in its folder only."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from engine.store import Store

REQUIRED = "SEG_TEST_SERVERS"
"""Set it to `required` where a missing server is a failure, not a reason to skip."""

# Nobody's data: a crash of the machine may take it. Passwords are asked of one role only.
_SETTINGS = "listen_addresses=''\nfsync=off\nfull_page_writes=off\nmax_connections=60\nshared_buffers=64MB\n"
_WHO_MAY = "local all needs_password scram-sha-256\nlocal all all trust\n"


class Server:
    """A cluster in `folder`, owned by `user` where the tests run as root, whom PostgreSQL refuses."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self.folder, self._programs, self._user = folder, programs, user
        self._numbers = itertools.count()
        self._template = ""

    def url(self, database: str, user: str = "tests") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def new_url(self, empty: bool = False) -> str:
        """A database of its own, with all tables and no rows; or with nothing at all."""
        if not empty and not self._template:
            self._template = "with_tables"
            self.execute(f"CREATE DATABASE {self._template}")
            Store(self.url(self._template)).close()
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else self._template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        name = url.partition("@/")[2].partition("?")[0]
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        self._run("pg_ctl", "start", "-w", "-s", "-D", self._data, "-l", self.folder / "log")

    def stop(self) -> None:
        """Go away as a crashed machine does: whoever is connected is cut off."""
        self._run("pg_ctl", "stop", "-w", "-s", "-m", "immediate", "-D", self._data)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def make(self) -> None:
        options = ("-U", "tests", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        self._run("initdb", "-D", self._data, *options)
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{_SETTINGS}unix_socket_directories='{self.folder}'\n")
        (self._data / "pg_hba.conf").write_text(_WHO_MAY)
        self.start()
        self.execute("CREATE ROLE needs_password LOGIN PASSWORD 'right'")
        self.execute("CREATE ROLE looker LOGIN")

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [self._programs / program, *map(str, arguments)],
            user=self._user,
            group=pwd.getpwnam(self._user).pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if program == "initdb" else subprocess.DEVNULL,
            text=True,
        )
        if done.returncode != 0:
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed: {done.stdout} {log.read_text() if log.exists() else ''}")


def find_programs() -> Path | None:
    """The folder of the newest PostgreSQL here; Debian keeps them off the path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """A server for as long as the block lasts; skips, or fails where servers are required, without one."""
    programs = find_programs()
    if programs is None:
        reason = "no PostgreSQL server is installed here (Debian: apt-get install postgresql)"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    # Not below pytest's folders: those are closed to the user that the server runs as, and their names are
    # too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="seg-pg-"))
    user = None
    if os.geteuid() == 0:
        user = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
        shutil.chown(folder, user)
    server = Server(folder, programs, user)
    try:
        server.make()
        yield server
    finally:
        with contextlib.suppress(RuntimeError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
