"""A workspace that several users of a machine share, or may only look at: real users, real files."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from engine.agent.presence import Presence
from engine.run.directory import RunDir
from engine.store import RunSummary
from engine.workspace import Workspace
from tests.engine.conftest import import_made_up_run
from tests.engine.made_up_runs import finished_journal
from tests.older_database import make_older
from tests.people import ALICE, BOB, CAROL, LOCALE, Done, common_ground, give, need_people
from tests.system.conftest import wait_for
from tests.tui.made_up_gallery import add_evaluation, add_with_gallery
from tests.warm import OF_A_TEST

LOOKS = (
    "runs",
    "runs --json",
    "show gal00001",
    "compare gal00001 bbbb2222",
    "images eval0001",
    "logs bbbb2222",
    "watch bbbb2222 --json",
    "queue",
    "db path",
    "data cache",
    "tag bbbb2222",
    "note bbbb2222",
    "views",
)
"""Commands that only look."""

WORKS = (
    "tag bbbb2222 seen",
    "note bbbb2222 hello",
    "stop bbbb2222",
    "requeue bbbb2222",
    "resume bbbb2222",
    "rerun bbbb2222 seed=2",
    "delete bbbb2222 --yes",
    "queue priority 3 bbbb2222",
    "evaluate bbbb2222",
    "db upgrade",
    "db check --fix",
)
"""Commands that change something."""


@pytest.fixture(scope="module", autouse=True)
def _people() -> None:
    need_people()


@pytest.fixture
def ground() -> Iterator[Path]:
    with common_ground() as folder:
        yield folder


@pytest.fixture
def lab(ground: Path) -> Workspace:
    """A workspace with two training runs and an evaluation, which is Alice's; others may read it."""
    workspace = Workspace(ground / "lab")
    workspace.root.mkdir()
    add_with_gallery(workspace, "gal00001")
    import_made_up_run(workspace, "bbbb2222", finished_journal(), note="a note", tags=("night",))
    add_evaluation(workspace, "eval0001")
    workspace.run_dir("bbbb2222").log.write_text("what the worker printed\n")
    give(workspace.root, ALICE)
    return workspace


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a folder: path, owner, length and time of change."""
    found = {str(path): path.lstat() for path in sorted(folder.rglob("*"))}
    return {path: (status.st_uid, status.st_size, status.st_mtime_ns) for path, status in found.items()}


def assert_line(done: Done, *parts: str) -> None:
    """The command was refused in lines that hold all of `parts`, without a traceback."""
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr, done.stderr
    for part in parts:
        assert part in done.stderr


def assert_looks(workspace: Workspace, *looks: str, before: str = "") -> None:
    for words in looks:
        done = CAROL.seg(workspace.root, words, before)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr
        if words == "runs":
            assert "bbbb2222" in done.stdout


def test_who_may_not_write_can_look_and_leaves_nothing_behind(lab: Workspace, ground: Path) -> None:
    before = listing(lab.root)
    assert_looks(lab, *LOOKS)
    assert CAROL.seg(lab.root, "db check").returncode in (0, 1)  # made-up runs have no checkpoints
    elsewhere = ground / "carols"
    elsewhere.mkdir()
    give(elsewhere, CAROL)
    for words, made in (
        (f"picture gal00001 --out {elsewhere}/a.png", "a.png"),
        (f"figure curves gal00001 --out {elsewhere}/b.pdf", "b.pdf"),
        (f"report test --out {elsewhere}/report", "report/report.html"),
    ):
        done = CAROL.seg(lab.root, words)
        assert done.returncode == 0, done.stderr
        assert "matplotlib" not in done.stderr.lower()  # of the home that she has not
        assert (elsewhere / made).is_file()
    assert listing(lab.root) == before


def test_what_cannot_be_done_is_said_with_the_owner_and_changes_nothing(
    lab: Workspace, street: Path, ground: Path
) -> None:
    before = listing(lab.root)
    data = ground / "street"
    shutil.copytree(street, data)
    for words in WORKS:
        assert_line(CAROL.seg(lab.root, words), f"belongs to {ALICE.name}", "mode -rw-r--r--")
    assert_line(
        CAROL.seg(lab.root, f"run quick --data {data} {SMALL}"),
        f"{lab.root} belongs to {ALICE.name}",
        "mode drwxr-xr-x",
    )
    for words in ("picture gal00001", "figure curves gal00001", "report test"):
        assert_line(CAROL.seg(lab.root, words), f"belongs to {ALICE.name}", "--out")
    assert listing(lab.root) == before


def test_a_database_that_may_not_be_read_is_named_with_its_owner(lab: Workspace) -> None:
    lab.database.chmod(0o600)
    assert_line(CAROL.seg(lab.root, "runs"), f"experiments.db belongs to {ALICE.name}", "may not read it")
    lab.root.chmod(0o700)
    assert_line(CAROL.seg(lab.root, "runs"), f"{lab.root} belongs to {ALICE.name}", "drwx------")


def test_a_run_that_may_not_be_read_hides_no_other(lab: Workspace) -> None:
    run = import_made_up_run(lab, "live0001")  # it waits
    give(lab.root, ALICE)
    with closing(sqlite3.connect(lab.database)) as connection:
        connection.execute("UPDATE runs SET status = 'running' WHERE id = 'live0001'")
        connection.commit()
    run.path.chmod(0o700)
    give_database(lab)
    done = CAROL.seg(lab.root, "runs")
    assert done.returncode == 0
    assert "live0001" in done.stdout
    assert_line(CAROL.seg(lab.root, "logs live0001"), f"belongs to {ALICE.name}")


def give_database(lab: Workspace) -> None:
    """Make the database Alice's alone, as it is after root wrote to it."""
    for path in lab.root.glob("experiments.db*"):
        os.chown(path, ALICE.uid, ALICE.group)
        path.chmod(0o644)


def test_on_a_read_only_mount_everything_can_be_looked_at(lab: Workspace) -> None:
    read_only = f"mount --bind {lab.root} {lab.root}; mount -o remount,ro,bind {lab.root}"
    assert_looks(lab, "runs", "show gal00001", before=read_only)
    give(lab.root, CAROL)
    assert_looks(lab, "runs", before=read_only)
    assert_line(CAROL.seg(lab.root, "tag bbbb2222 x", read_only), "mounted read-only")


WRITER = (
    OF_A_TEST
    + """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("UPDATE runs SET name = 'renamed just now' WHERE id = 'bbbb2222'")
print("written", flush=True)
sys.stdin.readline()
if sys.argv[2] == "crash":
    import os
    os._exit(0)
connection.execute("UPDATE runs SET name = 'renamed again' WHERE id = 'bbbb2222'")
print("written", flush=True)
sys.stdin.readline()
"""
)


def writer(lab: Workspace, end: str) -> subprocess.Popen[str]:
    """Alice's program that has the database open and has just written to it."""
    command = ALICE.command(sys.executable, "-c", WRITER, str(lab.database), end)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


@pytest.mark.parametrize("writable_folder", [False, True])
def test_what_a_living_writer_has_committed_is_seen(lab: Workspace, writable_folder: bool) -> None:
    if writable_folder:  # the database as older versions made it, in a folder of the group
        lab.root.chmod(0o777)
    with writer(lab, "live") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert "renamed just now" in CAROL.seg(lab.root, "runs").stdout
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        assert "renamed again" in CAROL.seg(lab.root, "runs").stdout
        assert {path.stat().st_uid for path in lab.root.glob("experiments.db*")} == {ALICE.uid}
        process.stdin.close()
    assert ALICE.seg(lab.root, "tag bbbb2222 mine").returncode == 0  # nobody's files are in her way
    assert {path.stat().st_uid for path in lab.root.glob("experiments.db*")} == {ALICE.uid}


@pytest.mark.parametrize("index", ["there", "missing", "unreadable"])
def test_what_a_dead_writer_left_in_the_log_is_seen(lab: Workspace, index: str) -> None:
    with writer(lab, "crash") as process:
        assert process.stdin is not None
        process.stdin.close()
    log, shm = lab.root / "experiments.db-wal", lab.root / "experiments.db-shm"
    assert log.stat().st_size > 0
    if index == "missing":
        shm.unlink()
    elif index == "unreadable":
        shm.chmod(0)
    assert "renamed just now" in CAROL.seg(lab.root, "runs").stdout
    log.chmod(0)
    shm.unlink(missing_ok=True)
    assert_line(CAROL.seg(lab.root, "runs"), f"experiments.db-wal belongs to {ALICE.name}")


def test_an_older_database_is_looked_at_without_bringing_it_up_to_date(lab: Workspace) -> None:
    make_older(lab.database, "0007")
    give_database(lab)
    before = listing(lab.root)
    assert_looks(lab, "runs", "show bbbb2222")
    assert listing(lab.root) == before
    with closing(sqlite3.connect(lab.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    give_database(lab)
    assert_line(CAROL.seg(lab.root, "runs"), "was created by a newer version of this program")


def test_the_dashboard_shows_it_and_says_of_an_action_whose_it_is(lab: Workspace) -> None:
    before = listing(lab.root)
    program = """
import asyncio, sys
from pathlib import Path
from engine.workspace import Workspace
from seg_tui.app import SegTui

async def main():
    app = SegTui(Workspace(Path(sys.argv[1])))
    async with app.run_test(size=(160, 40)) as pilot:

        async def until(condition):
            while not condition():
                await pilot.pause(0.05)

        await until(lambda: "bbbb2222" in app.snapshot.runs and app._notifications)
        print(*(notice.message for notice in app._notifications))
        app.screen.table.put_cursor("bbbb2222")
        await pilot.press("o")
        await until(lambda: app.screen.query("Input"))
        await pilot.press("!", "enter")
        await until(lambda: app.screen.query(".problem"))
        print(app.screen.query_one(".problem").render(), app.screen.query_one("Input").value)

asyncio.run(main())
"""
    done = CAROL.run(sys.executable, "-P", "-c", program, lab.root, TERM="xterm-256color")
    assert done.returncode == 0, done.stderr
    opened, refused = done.stdout.splitlines()
    assert "read-only: " in opened
    assert f"belongs to {ALICE.name}" in opened
    assert f"experiments.db belongs to {ALICE.name}" in refused
    assert refused.endswith(" !")  # what she typed is there to be sent again
    assert listing(lab.root) == before


# ---------------------------------------------------------------------- a group that works together


def wrong_modes(folder: Path) -> list[str]:
    """What below a folder the group may not write, or is another group's."""
    found = []
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        wanted = 0o2770 if path.is_dir() else 0o660
        if status.st_mode & wanted != wanted or status.st_gid != ALICE.group:
            found.append(f"{path.relative_to(folder)} {oct(status.st_mode)} {status.st_uid}:{status.st_gid}")
    return found


@pytest.fixture
def group(ground: Path) -> Workspace:
    """A folder set up as the guide says, and a data set."""
    workspace = Workspace(ground / "group")
    workspace.root.mkdir()
    os.chown(workspace.root, 0, ALICE.group)
    workspace.root.chmod(0o2775)
    return workspace


SMALL = (
    "data.size=32x32 data.val_fraction=0.25 model.width=4 batch_size=2 epochs=2 gallery.images=2 "
    "runtime.threads=1 device=cpu"
)


def test_a_group_works_on_each_others_runs(group: Workspace, street: Path, ground: Path) -> None:
    data = ground / "street"
    shutil.copytree(street, data)
    give(data, ALICE)
    begun = ALICE.seg(group.root, f"run quick --data {data} --name first {SMALL} limits.hours=1e-9")
    assert begun.returncode == 1, begun.stderr  # it ran out of time behind its first step
    assert wrong_modes(group.root) == []
    went_on = BOB.seg(group.root, "resume first")
    assert f"is {ALICE.name}'s run; it goes on as {BOB.name}" in went_on.stderr
    assert went_on.returncode == 1, went_on.stderr
    done = BOB.seg(group.root, f"run quick --data {data} --name second {SMALL}")
    assert done.returncode == 0, done.stderr
    for person, words in (
        (BOB, "tag first ours"),
        (ALICE, "note second seen"),
        (ALICE, "figure curves second"),
        (BOB, "picture second"),
        (ALICE, "report default"),
        (BOB, "report default"),
        (ALICE, "evaluate second device=cpu runtime.threads=1"),
        (BOB, "db check"),
        (BOB, "db rebuild"),
        (ALICE, "tag second after"),
        (BOB, "data cache --prune --all"),
        (ALICE, "delete first --yes"),
        (BOB, "delete second --yes"),
    ):
        done = person.seg(group.root, words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert wrong_modes(group.root) == []


def test_a_run_that_the_group_may_not_write_is_refused_before_anything_changes(group: Workspace) -> None:
    run = import_made_up_run(group, "aaaa1111")
    give(group.root, ALICE, 0o664, 0o2775)
    for path in (run.path, *run.path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # made with umask 022
    with group.open_store() as store:
        store.lifecycle.set_status("aaaa1111", "stopped", "stopped")
    give_database(group)
    for path in group.root.glob("experiments.db*"):
        path.chmod(0o664)
    before = listing(run.path)
    for words in ("resume aaaa1111", "requeue aaaa1111", "delete aaaa1111 --yes"):
        assert_line(BOB.seg(group.root, words), f"is {ALICE.name}'s run", "mode drwxr-xr-x", BOB.name)
    said = BOB.seg(group.root, "tag aaaa1111 mine")
    assert said.returncode == 0
    assert f"belongs to {ALICE.name}" in said.stderr
    assert "only the database has this" in said.stderr
    assert listing(run.path) == before
    with group.open_store() as store:
        assert store.run("aaaa1111").status == "stopped"


@pytest.mark.parametrize(("place", "mode"), [("outputs/closed", 0o2700), ("gallery", 0o2755)])
def test_a_deletion_that_would_stop_half_way_is_refused_before_anything_is_removed(
    group: Workspace, place: str, mode: int
) -> None:
    run = import_made_up_run(group, "aaaa1111", finished_journal())
    (run.path / "outputs" / "closed").mkdir(parents=True)
    (run.path / "gallery" / "epoch_0001").mkdir(parents=True)
    give(group.root, ALICE, 0o664, 0o2775)
    (run.path / place).chmod(mode)
    before = listing(run.path)
    said = BOB.seg(group.root, "delete aaaa1111 --yes")
    assert_line(said, f"{run.path / place} belongs to {ALICE.name}", f"{BOB.name} may not")
    assert listing(run.path) == before
    with group.open_store() as store:
        assert store.run("aaaa1111").status == "finished"


def test_an_imported_run_is_the_groups_whatever_its_files_were(group: Workspace, ground: Path) -> None:
    away = Workspace(ground / "away")
    away.root.mkdir()
    run = import_made_up_run(away, "aaaa1111", finished_journal())
    whole = run.journal.read_bytes()
    run.journal.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))  # copied while it was at work
    give(away.root, CAROL, 0o644, 0o755)
    close_for_others(run.path)
    done = BOB.seg(group.root, f"db import {run.path}")
    assert done.returncode == 0, done.stderr
    assert wrong_modes(group.root) == []
    # A newer copy brings new files, and replaces others.
    run.journal.write_bytes(whole)
    (run.path / "outputs").mkdir(exist_ok=True)
    (run.path / "outputs" / "figure.png").write_bytes(b"one")
    close_for_others(run.path)
    done = BOB.seg(group.root, f"db import {run.path}")
    assert done.returncode == 0, done.stderr
    assert "updated" in done.stdout + done.stderr
    assert (group.run_dir("aaaa1111").path / "outputs" / "figure.png").is_file()
    assert wrong_modes(group.root) == []


def close_for_others(folder: Path) -> None:
    """Make a folder Bob's, of another group, and of a mode that lets nobody else in."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, BOB.uid, CAROL.group)
        path.chmod(0o700 if path.is_dir() else 0o600)


@contextmanager
def alices_run(group: Workspace, street: Path) -> Iterator[subprocess.Popen[str]]:
    """A long run that Alice has begun in her terminal, which is given, and that has made its first step."""
    data = group.root.parent / "street"
    shutil.copytree(street, data)
    give(data, ALICE)
    words = f"run quick --data {data} --name hers {SMALL}".replace("epochs=2", "epochs=100000")
    program = "from engine.cli.main import main; main()"
    place = ("--workspace", group.root)
    command = ALICE.command(sys.executable, "-P", "-c", program, *place, *shlex.split(words))
    environment = {"PATH": os.environ["PATH"], **LOCALE}
    worker: int | None = None
    with subprocess.Popen(
        command, cwd="/", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as terminal:
        try:
            begun = wait_for(lambda: has_begun(group) or terminal.poll() is not None, group)
            assert isinstance(begun, RunDir), terminal.communicate()[0]
            process = begun.read_proc()
            assert process is not None
            worker = process.pid
            yield terminal
        finally:
            terminal.kill()
            agent = Presence.of(group).living()
            for pid in (worker, agent and agent.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL) if pid else None


def has_begun(workspace: Workspace) -> RunDir | None:
    """The first run with an epoch on record; asked of the files alone, as this process is root."""
    for journal in workspace.runs.glob("*/journal.jsonl"):
        if b'"event":"epoch"' in journal.read_bytes():
            return RunDir(journal.parent)
    return None


def rows(workspace: Workspace) -> list[RunSummary]:
    with workspace.open_store() as store:
        return store.runs()


def test_a_stop_reaches_anothers_run_by_way_of_whoever_looks_after_it(group: Workspace, street: Path) -> None:
    with alices_run(group, street) as terminal:
        done = BOB.seg(group.root, "stop hers")
        assert done.returncode == 0, done.stderr
        assert "stopping: it finishes its step and saves a checkpoint" in done.stdout
        assert terminal.wait(timeout=60) == 3
    assert [row.status for row in rows(group)] == ["stopped"]


def test_a_stop_that_nobody_would_pass_on_is_refused_with_who_can(group: Workspace, street: Path) -> None:
    with alices_run(group, street) as terminal:
        terminal.kill()  # so that the worker goes on by itself
        terminal.wait()
        assert_line(BOB.seg(group.root, "stop hers"), f"belongs to {ALICE.name}", "has to stop it")
        assert [row.status for row in rows(group)] == ["running"]
        assert Presence.of(group).living() is None  # an agent of Bob's could do nothing
        done = ALICE.seg(group.root, "stop hers")
        assert done.returncode == 0, done.stderr

        def is_stopped() -> bool:
            ALICE.seg(group.root, "runs")  # who looks reads what a run has written that no agent looks after
            return [row.status for row in rows(group)] == ["stopped"]

        wait_for(is_stopped, group)
        assert Presence.of(group).living() is None  # the worker was told by the command itself


@pytest.mark.parametrize("words", ["agent --idle-exit 0", "run quick --queue"])
def test_who_cannot_be_the_agent_is_told_whose_the_folder_is(
    group: Workspace, street: Path, words: str
) -> None:
    data = group.root.parent / "street"
    shutil.copytree(street, data)
    agents = group.root / "agents"
    agents.mkdir()
    name = socket.gethostname()
    for path in (agents / f"{name}.lock", agents / f"{name}.log", agents / f"{name}.json"):
        path.touch()
    give(agents, ALICE, 0o664, 0o755)
    done = BOB.seg(group.root, f"{words} --data {data} {SMALL}" if "--queue" in words else words)
    assert_line(done, f"{agents} belongs to {ALICE.name}", "mode drwxr-xr-x")
    assert len([line for line in done.stderr.splitlines() if not line.startswith("note: ")]) == 1
    if "--queue" in words:
        assert "queued" in done.stdout  # it waits for somebody's agent
        assert [row.status for row in rows(group)] == ["queued"]
    else:
        as_program = BOB.run(sys.executable, "-P", "-m", "engine.agent", group.root)
        assert as_program.returncode == 2
        assert len(as_program.stdout.splitlines()) == 1
        assert "Traceback" not in as_program.stderr


LOCKER = (
    OF_A_TEST
    + """
import sys
from pathlib import Path
from engine.run.files import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.readline()
"""
)


@pytest.mark.parametrize("folder_mode", [0o2775, 0o3775])
def test_a_lock_of_another_user_works(group: Workspace, folder_mode: int) -> None:
    """Also one that only its owner may write, and in a folder with the sticky bit."""
    group.root.chmod(folder_mode)
    path = group.root / "a.lock"
    command = ALICE.command(sys.executable, "-P", "-c", LOCKER, path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        for mode in (0o664, 0o644):
            path.chmod(mode)
            assert BOB.run(sys.executable, "-P", "-c", LOCKER, path).stdout == "False\n"
        holder.stdin.close()
    assert BOB.run(sys.executable, "-P", "-c", LOCKER, path).stdout == "True\n"
