"""The database on a server: who may use it, what its errors say, several who write at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cli.main import command_line
from engine.config.run_config import RunConfig
from engine.host.processes import identify
from engine.run.events import Failed
from engine.store import Store, StoreError, migrate, postgres
from engine.workspace import DATABASE_VARIABLE
from tests.engine.made_up_runs import (
    MadeUpJournal,
    add_run,
    everything,
    finished_journal,
    ingest,
    make_run_dir,
)
from tests.postgres import Server

ANY = ("auto", "cpu")


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    made = postgres.new_url()
    yield made
    postgres.drop(made)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url, timeout=5.0) as opened:
        yield opened


# ---------------------------------------------------------------------- what errors say


def refusal(url: str) -> str:
    """What opening says, which is one line and never holds a password."""
    with pytest.raises(StoreError) as caught:
        Store(url, timeout=2.0)
    said = str(caught.value)
    assert "\n" not in said
    assert "secret" not in said
    return said


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    said = refusal(f"postgresql://me:secret@/runs?host={tmp_path}")
    assert said.startswith("postgresql://me@/runs: its server cannot be reached (")
    assert "No such file or directory" in said
    said = refusal("postgresql://me:secret@127.0.0.1:1/runs")
    assert said.startswith("postgresql://me@127.0.0.1:1/runs: its server cannot be reached (")
    assert "Connection refused" in said


def test_a_password_that_is_missing_or_wrong(postgres: Server, url: str) -> None:
    name = url.partition("@/")[2]
    assert "requires a password; put it into ~/.pgpass or PGPASSWORD" in refusal(
        f"postgresql://needs_password@/{name}"
    )
    said = refusal(f"postgresql://needs_password:secret@/{name}")
    assert 'password authentication failed for user "needs_password"; look at the user, and' in said


def test_a_database_or_user_that_is_not_there(postgres: Server) -> None:
    assert 'database "nowhere" does not exist; `createdb`' in refusal(postgres.url("nowhere"))
    assert 'role "nobody_known" does not exist' in refusal(postgres.url("postgres", "nobody_known"))


@pytest.mark.parametrize("url", ["postgresql://me:secret@[host/x", "postgresql://me:secret@host/x?no=1"])
def test_a_url_that_is_none_is_not_repeated(url: str) -> None:
    assert "must be postgresql://USER@HOST/DATABASE" in refusal(url)


def test_a_user_who_may_only_read_is_told_so(postgres: Server, url: str) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker", name)
    with Store(url) as store:
        add_run(store)
    with Store(postgres.url(name, "looker")) as looking:
        assert [run.id for run in looking.runs()] == ["aaaaaaaa"]
        with pytest.raises(StoreError, match=r"does not allow this \(permission denied for table"):
            looking.lifecycle.set_status("aaaaaaaa", "stopping")


def test_a_role_that_may_only_select_can_look(
    postgres: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker", name)
    with Store(url) as store:
        run_id = add_run(store)
        store.lifecycle.set_status(run_id, "running")
    theirs = postgres.url(name, "looker")
    with Store(theirs, look=True) as looking:
        assert "the role looker may read here and not write" in looking.read_only
        with pytest.raises(StoreError, match="open for reading only: the role looker"):
            looking.lifecycle.update_card(run_id, note="a note")
    monkeypatch.setenv(DATABASE_VARIABLE, theirs)
    for words, status in (("runs", 0), (f"show {run_id}", 0), ("queue", 0), (f"tag {run_id} seen", 2)):
        assert command_line(["--workspace", str(tmp_path), *words.split()]) == status, words
    assert list(tmp_path.iterdir()) == []
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with Store(url, look=True) as looking:
        assert "the role tests may read here and not write" in looking.read_only


def test_a_database_that_keeps_no_unicode_is_refused(postgres: Server) -> None:
    postgres.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    assert "stores text as SQL_ASCII; create the database with `createdb --encoding UTF8" in refusal(
        postgres.url("ascii")
    )


def test_a_database_of_another_program_is_left_alone(postgres: Server) -> None:
    url = postgres.new_url(empty=True)
    name = url.partition("@/")[2].partition("?")[0]
    for table in ("experiments (id int)", "runs (id int)", "alembic_version (version_num text)"):
        postgres.execute(f"CREATE TABLE {table}", name)  # as another tracker of experiments has them
    postgres.execute("INSERT INTO alembic_version VALUES ('7ac759974ad8')", name)
    assert "is a database of another program" in refusal(url)
    postgres.drop(url)


def test_an_older_schema_waits_for_somebody_to_say_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(url) as store:
        add_run(store)
    schema = migrate.HEAD
    for module in (postgres, migrate):
        monkeypatch.setattr(module, "HEAD", "9998")
    assert (
        f"(schema {schema}, this one's is 9998); `seg-engine db upgrade` brings them up to date"
        in refusal(url)
    )


def test_a_newer_schema_asks_for_a_newer_program(url: str) -> None:
    with Store(url) as store, store.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert "created by a newer version of this program (its schema is 9999" in refusal(url)


def test_without_its_driver_it_says_which_package_is_missing() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from engine.store import Store, StoreError\n"
        "try: Store('postgresql://me@host/x')\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "run `pip install 'seg-engine[postgres]'`" in done.stdout


def test_when_the_server_comes_back_the_store_goes_on(postgres: Server, store: Store) -> None:
    add_run(store)
    postgres.stop()
    try:
        with pytest.raises(StoreError, match=r"cannot be reached .* runs go on, and are read"):
            store.runs()
    finally:
        postgres.start()
    assert [run.id for run in store.runs()] == ["aaaaaaaa"]
    assert store.lifecycle.set_status("aaaaaaaa", "stopping")


# ---------------------------------------------------------------------- several who write at once


def test_a_run_that_others_hold_too_long_is_named(url: str) -> None:
    with Store(url, timeout=0.1) as store:
        add_run(store)
        with store.database.write() as holder:
            holder.exec_driver_sql("SELECT * FROM runs FOR UPDATE")
            with pytest.raises(StoreError, match=r"locked the rows to change for more than 0\.1 s"):
                store.lifecycle.set_status("aaaaaaaa", "stopping")
            assert store.run("aaaaaaaa").status == "queued"  # readers do not wait
        assert store.lifecycle.set_status("aaaaaaaa", "stopping")


def test_a_claim_passes_over_what_another_is_taking(store: Store) -> None:
    add_run(store, "aaaaaaaa", created=1.0)
    add_run(store, "bbbbbbbb", created=2.0)
    with store.database.write() as other:
        other.exec_driver_sql("SELECT * FROM runs WHERE id = 'aaaaaaaa' FOR UPDATE")
        row = store.queue.claim_next(identify(), "cpu", ANY)  # at once, without waiting
        assert row is not None
        assert row.id == "bbbbbbbb"
        assert store.queue.claim_next(identify(), "cpu", ANY) is None
    row = store.queue.claim_next(identify(), "cpu", ANY)
    assert row is not None
    assert row.id == "aaaaaaaa"


def test_no_change_is_missed_that_is_committed_late(store: Store) -> None:
    for run_id in ("aaaaaaaa", "bbbbbbbb"):
        add_run(store, run_id)
    with store.database.write() as slow:
        slow.exec_driver_sql(
            "UPDATE runs SET note = 'slow', changed = pg_current_xact_id()::text::bigint "
            "WHERE id = 'aaaaaaaa'"
        )
        store.lifecycle.update_card("bbbbbbbb", note="fast")
        seen = store.changes()
        assert {run.id: run.changed for run in seen.runs}["bbbbbbbb"] > seen.latest
    later = store.changes(seen.latest)
    assert "aaaaaaaa" in [run.id for run in later.runs]
    assert store.changes(later.latest).runs == ()


def test_runs_and_experiments_come_and_go_at_once(url: str) -> None:
    """The last run of an experiment is deleted while others make their first of the same name."""
    problems: list[BaseException] = []

    def come_and_go(letter: str) -> None:
        try:
            with Store(url) as store:
                for number in range(15):
                    run_id = add_run(store, f"{letter}{number:07}", experiment="shared")
                    assert store.lifecycle.delete(run_id)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=come_and_go, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with Store(url) as store:
        assert store.experiments() == []


# ---------------------------------------------------------------------- what a server keeps otherwise


def test_text_with_nul_is_kept_with_a_sign_in_its_place(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.add(Failed(cause="exception", message="a\0b", traceback="c:\\u0000 \0"))
    run = ingest(store, add_run(store), journal.events)
    assert (run.message, run.traceback) == ("a\ufffdb", "c:\\u0000 \ufffd")
    payload = store.results.events(run.id)[-1].payload
    assert (payload["message"], payload["traceback"]) == ("a\ufffdb", "c:\\u0000 \ufffd")


def test_a_row_that_has_another_kind_under_a_key_spoils_no_query(store: Store) -> None:
    add_run(store, "aaaaaaaa")
    add_run(store, "bbbbbbbb")
    with store.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE runs SET config = jsonb_set(config::jsonb, '{optimizer,lr}', '\"auto\"') "
            "WHERE id = 'bbbbbbbb'"
        )
    lr = RunConfig().optimizer.lr
    assert [run.id for run in store.runs([f"optimizer.lr>={lr}"], sort="optimizer.lr")] == ["aaaaaaaa"]


def test_a_dump_restored_on_another_server_is_followed_from_its_first_change(url: str) -> None:
    with Store(url) as store:
        add_run(store, "aaaaaaaa")
        with store.database.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET changed = 1 << 40")  # that server had done more
    with Store(url) as store:
        seen = store.changes()
        assert store.changes(seen.latest).runs == ()
        store.lifecycle.update_card("aaaaaaaa", name="new")
        assert [run.name for run in store.changes(seen.latest).runs] == ["new"]


# ---------------------------------------------------------------------- several workspaces


def test_each_workspace_takes_its_own_runs_and_sees_all(url: str) -> None:
    with Store(url, workspace="ana@lab:/a") as ana, Store(url, workspace="ben@lab:/b") as ben:
        add_run(ana, "aaaaaaaa")
        add_run(ben, "bbbbbbbb", after="aaaaaaaa")
        assert [run.id for run in ana.queue.waiting()] == ["aaaaaaaa"]
        row = ana.queue.claim_next(identify(), "cpu", ANY)
        assert row is not None
        assert ana.queue.claim_next(identify(), "cpu", ANY) is None
        assert (len(ana.queue.active()), ben.queue.active()) == (1, [])
        ana.lifecycle.set_status("aaaaaaaa", "failed", "killed")
        assert ana.queue.fail_dependents() == []
        assert ben.queue.fail_dependents() == ["bbbbbbbb"]
        for store in (ana, ben):
            assert [run.id for run in store.runs(sort="run")] == ["aaaaaaaa", "bbbbbbbb"]
            assert len(store.changes().runs) == 2


def test_a_copy_of_a_folder_of_another_workspace_is_not_imported(url: str, tmp_path: Path) -> None:
    run = make_run_dir(tmp_path, "aaaaaaaa", finished_journal())
    with Store(url, workspace="ana@lab:/a") as ana, Store(url, workspace="ben@lab:/b") as ben:
        ana.journals.import_run(run)
        before = everything(ana)
        with pytest.raises(StoreError, match="already in the database, as one of the workspace ana@lab:/a"):
            ben.journals.import_run(run)
        assert everything(ana) == before


@pytest.mark.parametrize(
    "place",
    [
        "me:hush@hush@host/db",
        "me:hu/hush@host/db",
        "me:hush@host:hush/db",
        "me%3Ahush@127.0.0.1:1/db",
        "host/me:hush",
    ],
)
def test_no_part_of_a_url_that_is_unclear_is_repeated(place: str) -> None:
    for scheme in ("postgresql://", "postgresql//", "postgresql:", "mysql://", "POSTGRESQL://", ""):
        assert "hush" not in refusal(scheme + place)


def test_a_password_in_the_query_is_no_part_of_a_message() -> None:
    assert "hush" not in refusal("postgresql://me@127.0.0.1:1/runs?password=hush")
