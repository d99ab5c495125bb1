"""The database as a file: opening it, older and newer schemas, damage, locks, network file systems."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.store import Store, StoreError, migrate, sqlite
from engine.store.filesystem import FileSystem, _statfs_type, file_system
from engine.store.variant import variant_of
from tests.engine.made_up_runs import add_run, finished_journal, ingest, open_store
from tests.older_database import make_older


def test_a_new_database_logs_ahead_and_keeps_foreign_keys(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, sqlite3.connect(store.label) as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        assert mode == ("delete" if file_system(tmp_path).on_network else "wal")
        with store.database.read() as own:
            assert own.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_migrating_an_older_schema_makes_the_views_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path) as store:
        add_run(store)
    with sqlite3.connect(tmp_path / "experiments.db") as connection:
        connection.execute("DROP VIEW leaderboard")
        connection.execute("CREATE VIEW leaderboard AS SELECT 1 AS old")
    for module in (sqlite, migrate):
        monkeypatch.setattr(module, "HEAD", "none so far")  # so that the file counts as behind
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "experiments.db") as connection:
        assert connection.execute("SELECT run FROM leaderboard").fetchall() == [("aaaaaaaa",)]


def test_a_database_of_the_first_schema_is_brought_up_with_its_runs(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        add_run(store)
        ingest(store, "aaaaaaaa", finished_journal().events)
        before = store.run("aaaaaaaa")
    make_older(tmp_path / "experiments.db", "0001")
    with open_store(tmp_path) as store:
        assert store.run("aaaaaaaa") == before
        assert [run.id for run in store.leaderboard()] == ["aaaaaaaa"]
        assert len(store.results.epochs("aaaaaaaa")) == 6
        assert store.changes().runs[0].variant == variant_of(RunConfig().model_dump(mode="json"))


def test_keys_that_were_renamed_are_new_ones_in_the_database_too(tmp_path: Path) -> None:
    config = with_values(RunConfig(), {"validation.every": 3, "init.weights": "/net.pt"})
    with open_store(tmp_path) as store:
        add_run(store, config=config)
        before = store.run("aaaaaaaa")
    make_older(tmp_path / "experiments.db", "0009")
    with sqlite3.connect(tmp_path / "experiments.db") as connection:
        text = connection.execute("SELECT config FROM runs").fetchone()[0]
        old = text.replace('"validation"', '"evaluation"').replace('"weights"', '"from"')
        connection.execute("UPDATE runs SET config = ?, variant = 'of old'", (old,))
    with open_store(tmp_path) as store:
        assert store.run("aaaaaaaa") == before
        assert [run.id for run in store.runs(["validation.every=3", "init.weights=/net.pt"])] == ["aaaaaaaa"]
        assert store.changes().runs[0].variant == variant_of(config.model_dump(mode="json"))
    with sqlite3.connect(tmp_path / "experiments.db") as connection:
        stored = connection.execute("SELECT config FROM runs").fetchone()[0]
    assert json.loads(stored) == json.loads(text)


def test_opening_an_up_to_date_database_imports_neither_alembic_nor_torch(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    program = (
        "import sys; from engine.store import Store; Store(sys.argv[1]).runs();"
        "print([name for name in ('alembic', 'torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{tmp_path / 'experiments.db'}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere: no such folder; create it"):
        open_store(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(StoreError, match=r"/proc/experiments.db: cannot be opened for writing .* /proc and"):
        open_store(Path("/proc"))


@pytest.mark.parametrize("content", [b"this is a text file" * 100, b"\xff" * 5000])
def test_a_file_that_is_no_database_tells_how_to_make_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "experiments.db").write_bytes(content)
    with pytest.raises(
        StoreError, match=r"experiments\.db: is damaged or not a database .*seg-engine db rebuild"
    ):
        open_store(tmp_path)
    assert (tmp_path / "experiments.db").read_bytes() == content


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "experiments.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreError, match="a database of another program"):
        open_store(tmp_path)


def test_a_newer_database_asks_for_a_newer_program(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "experiments.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        StoreError, match=r"newer version of this program \(its schema is 9999.*update seg-engine"
    ):
        open_store(tmp_path)


@pytest.mark.parametrize("url", ["experiments.db", "sqlite:///", "mysql://me:secret@host/name"])
def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="must be sqlite:///PATH or postgresql://") as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_path_may_hold_what_means_something_in_urls(tmp_path: Path) -> None:
    folder = tmp_path / "50% of #1? %41"
    folder.mkdir()
    open_store(folder).close()
    assert (folder / "experiments.db").is_file()


def test_a_lock_that_others_hold_too_long_is_named(tmp_path: Path) -> None:
    with open_store(tmp_path, timeout=0.1) as store:
        run_id = add_run(store)
        holder = sqlite3.connect(store.label, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"another program has locked the database for more than 0\.1 s"):
            store.lifecycle.set_status(run_id, "stopping")
        assert store.run(run_id).status == "queued"  # readers do not wait
        holder.execute("ROLLBACK")
        holder.close()
        assert store.lifecycle.set_status(run_id, "stopping")


MOUNTS = b"""\
21 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
31 21 0:40 / /home rw shared:1 - nfs4 server:/home rw,vers=4.2,local_lock=none
32 31 0:41 / /home/me/scratch\\040disk rw - xfs /dev/vdb rw
33 21 0:50 / /mnt/share rw - fuse.sshfs me@host: rw
34 21 0:51 / /old rw - nfs server:/old rw,vers=3,nolock,local_lock=all
35 21 0:52 / /flash rw - lustre mgs@tcp:/flash rw,localflock
36 21 0:53 / /usb rw - fuseblk /dev/sdb1 rw
37 21 0:54 / /scratch rw - lustre mgs@tcp:/scratch rw,flock
38 21 0:55 / /media/b\xfccher\xe2\x80\xa8\x0b rw - ext4 /dev/sdc1 rw
39 21 0:56 / /media/no\xc2\xa0break rw - fuse.sshfs me@host: rw
"""
EXT4, NFS, FUSE, LUSTRE, BEEGFS, AFS = 0xEF53, 0x6969, 0x65735546, 0x0BD00BD0, 0x19830326, 0x5346414F


@pytest.mark.parametrize(
    ("place", "magic", "kind", "locks_stay_here"),
    [
        ("/data", EXT4, "", False),
        ("/home/me", NFS, "nfs", False),
        ("/home/me/scratch disk", EXT4, "", False),
        ("/homework", EXT4, "", False),
        ("/mnt/share/a", FUSE, "fuse.sshfs", True),
        ("/usb", FUSE, "", False),
        ("/media/no\u00a0break", FUSE, "fuse.sshfs", True),
        ("/old/lab", NFS, "nfs", True),
        ("/flash/me", LUSTRE, "lustre", True),
        ("/scratch/me", LUSTRE, "lustre", False),
        ("/data", BEEGFS, "beegfs", True),  # what the kernel says counts, not what the mounts look like
        ("/data", AFS, "afs", True),
    ],
)
def test_network_file_systems_are_recognised(
    place: str, magic: int, kind: str, locks_stay_here: bool
) -> None:
    found = file_system(Path(place), MOUNTS, magic)
    assert (found.kind, found.on_network, found.locks_stay_here) == (kind, bool(kind), locks_stay_here)


def test_the_kernel_tells_the_file_system_of_a_folder() -> None:
    assert _statfs_type(Path("/proc")) == 0x9FA0
    assert not file_system(Path("/proc")).on_network


def test_on_a_network_there_is_no_log_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(tmp_path).close()  # a database that was made on a local disk and came here later
    monkeypatch.setattr(sqlite, "file_system", lambda folder: FileSystem("nfs"))
    with open_store(tmp_path) as store, sqlite3.connect(store.label) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        add_run(store)
        assert [path.name for path in tmp_path.iterdir()] == ["experiments.db"]


def test_where_locks_reach_nobody_the_database_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "file_system", lambda folder: FileSystem("nfs", frozenset({"nolock"})))
    with pytest.raises(StoreError, match=r"network file system \(nfs nolock\), .*SEG_DATABASE_URL="):
        open_store(tmp_path)
    assert list(tmp_path.iterdir()) == []


RENAMES = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("UPDATE runs SET name = 'renamed', changed = changed + 1")
connection.commit()
connection.close()
"""


def test_who_opens_a_database_twice_goes_on_seeing_what_other_processes_write(tmp_path: Path) -> None:
    """To open and close the file itself would give up the locks of this process: the other one would take
    itself for the last, and delete the log that `store` goes on reading."""
    with open_store(tmp_path) as store:
        add_run(store)
        open_store(tmp_path).close()
        database = tmp_path / "experiments.db"
        subprocess.run([sys.executable, "-c", RENAMES, str(database)], check=True, timeout=60)
        assert store.run("aaaaaaaa").name == "renamed"
        assert database.with_name("experiments.db-wal").exists()
