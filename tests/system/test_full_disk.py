"""A disk that is really full: a small one of its own, filled to its last byte while somebody works on it."""

from __future__ import annotations

import importlib.util
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.agent.agent import Agent
from engine.agent.executors.local import is_held
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.data.cache import open_cache
from engine.data.catalog import DataError, scan
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.run.events import Started
from engine.run.journal import read_all
from engine.store import Store, StoreError
from engine.store.cards import keep_card
from engine.workspace import Workspace
from tests.system.conftest import WAIT_SECONDS, seg, start_worker, wait_for, wait_for_event
from tests.system.test_survival import drop_privilege_over_files

SIZE = 12 << 20
FORMATS = ["csv", *(name for name in ("tensorboard", "mlflow") if importlib.util.find_spec(name))]
MOUNTERS = ((), ("sudo", "-n"))


class Disk:
    """A file system of SIZE bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Take all that is free but about `leave` bytes."""
        with open(self._filler, "ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                pass
            try:
                while True:
                    filler.write(bytes(512))
            except OSError:
                pass
            if leave:
                filler.truncate(max(0, filler.tell() - leave))

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A tmpfs, which takes the right to mount: root's, or that of sudo without a password."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={SIZE},uid={os.getuid()},gid={os.getgid()},mode=0755"
    for mounter in MOUNTERS:
        try:
            subprocess.run(
                [*mounter, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
                check=True,
                capture_output=True,
            )
            break
        except (OSError, subprocess.CalledProcessError):
            continue
    else:
        pytest.skip("no right to mount a small disk")
    yield Disk(folder)
    subprocess.run([*mounter, "umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def workspace(disk: Disk) -> Workspace:
    return Workspace(disk.folder / "workspace")


def sound(database: Path) -> bool:
    with sqlite3.connect(database) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def add(workspace: Workspace, store: Store, config: RunConfig) -> RunDir:
    run = workspace.run_dir(new_run_id())
    card = RunCard(run.id, "a test", "tests", 1.0)
    run.create(card, config)
    store.lifecycle.create(card, config)
    return run


def test_a_cache_that_fills_the_disk_is_refused_whole_and_built_when_there_is_room(
    disk: Disk, street: Path
) -> None:
    catalog = scan(street)
    samples, where = catalog.splits["train"], disk.folder / "cache"

    def fill_half_way(done: int, total: int) -> None:
        if done == total // 2:
            disk.fill()

    with pytest.raises(DataError, match=r"cache cannot be written: No space left on device; free some space"):
        open_cache(samples, (256, 256), catalog.class_set, street, where, fill_half_way)
    assert [path.suffix for path in where.iterdir()] == [".lock"]
    with pytest.raises(DataError, match=r"needs \d+\.\d MB and \d+\.\d MB are free"):
        open_cache(samples, (256, 256), catalog.class_set, street, where)
    disk.free()
    cache = open_cache(samples, (256, 256), catalog.class_set, street, where)
    assert len(cache.names) == len(samples)


@pytest.mark.parametrize("leave", [0, 40_000], ids=["no room", "room for the journal alone"])
def test_a_run_whose_disk_fills_up_fails_whole_and_goes_on_when_there_is_room(
    disk: Disk, workspace: Workspace, tiny: RunConfig, leave: int
) -> None:
    workspace.root.mkdir()
    with Store(f"sqlite:///{workspace.database}", timeout=5) as store:
        run = add(workspace, store, with_values(tiny, {"epochs": 300, "device": "cpu", "gallery.every": 0}))
        said: list[str] = []
        agent = Agent(store, workspace, {"cpu": 1}, said.append)
        agent.step()
        worker = agent.watched[run.id].worker
        assert worker is not None
        wait_for((run.checkpoints / "last.pt").exists, workspace)
        worker.send_signal(signal.SIGSTOP)  # so that it meets a disk that is full already
        disk.fill(leave)
        worker.send_signal(signal.SIGCONT)
        assert worker.wait(timeout=60) == 1
        assert "No space left on device" in run.log.read_text() or leave == 0  # the log is on that disk, too
        for path in run.checkpoints.glob("*.pt"):
            torch.load(path, weights_only=True)
        assert list(run.path.rglob("*.tmp")) == []
        before = read_all(run.journal)
        assert [event.seq for event in before] == list(range(len(before)))
        kept = torch.load(run.checkpoints / "last.pt", weights_only=True)["epoch"]
        refusals = []
        try:
            agent.step()  # which may find room for its few bytes in the database's log
        except StoreError as error:
            refusals.append(str(error))
        assert all("the disk is full; free some space" in refusal for refusal in refusals)

        disk.free()
        agent.slots = {"cpu": 0}
        agent.step()
        row = store.run(run.id)
        assert (row.status, row.cause) == ("failed", "exception")
        assert sound(workspace.database)
        wait_for(lambda: not is_held(run), workspace)
        store.lifecycle.set_status(run.id, "queued")
        agent.slots = {"cpu": 1}
        agent.step()
        wait_for(lambda: agent.step() or store.run(run.id).epoch >= kept + 2, workspace)
        assert store.run(run.id).attempt == 2
        started = [e for e in read_all(run.journal) if isinstance(e, Started)]
        assert started[1].resumed_from_epoch == kept
        curve = [epoch.epoch for epoch in store.results.epochs(run.id, "val")]
        assert curve == list(range(1, len(curve) + 1))
        store.lifecycle.set_status(run.id, "stopping")
        wait_for(lambda: agent.step() or store.run(run.id).status == "stopped", workspace)
        assert seg(workspace, "db", "check").returncode == 0


@pytest.mark.cold
def test_the_end_of_a_run_on_several_devices_needs_no_room_for_temporary_files(
    disk: Disk, tmp_path: Path, tiny: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(disk.folder))
    run = RunDir(tmp_path / "runs" / new_run_id())
    run.create(RunCard(run.id, "a test", "tests", 1.0), with_values(tiny, {"device": "cpu", "devices": 2}))
    for stop, status in ((True, 3), (False, 0)):
        seen = run.journal.stat().st_size if run.journal.exists() else 0
        worker = start_worker(run)
        wait_for_event(run, worker, lambda event: event.event == "started", seen)
        disk.fill()
        if stop:
            worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=WAIT_SECONDS) == status, run.log.read_text()
        assert read_all(run.journal)[-1].event == ("stopped" if stop else "finished")
        disk.free()


def test_commands_on_a_full_disk_are_one_line_and_leave_nothing_half_done(
    disk: Disk, workspace: Workspace, tiny: RunConfig, street: Path
) -> None:
    workspace.root.mkdir()
    with workspace.open_store() as store:
        run = add(workspace, store, tiny)
        store.lifecycle.set_status(run.id, "stopped", "stopped")
        assert keep_card(store, run)
    # The data is cached, so that the run itself is what there is no room for.
    sizes = ("data.size=32x32", "data.val_fraction=0.25", "device=cpu", "model.width=4")
    assert seg(workspace, "run", "quick", *sizes, "epochs=1", "--data", str(street)).returncode == 0
    runs = {path.name for path in workspace.runs.iterdir()}
    mine = disk.folder / "mine"
    mine.mkdir(mode=0o700)
    disk.fill()
    for command in (
        ("run", "quick", *sizes, "--data", str(street)),
        ("run", "quick", *sizes, "--data", str(street), "--queue"),
        ("requeue", run.id),
        ("init", str(disk.folder / "project")),
        ("reproduce", "quick", "--bundle", str(disk.folder / "x.zip")),
        *(("export", "quick", "--format", form, "--out", str(disk.folder / "out")) for form in FORMATS),
        ("export", "quick", "--format", "csv", "--out", str(mine)),
        ("runs",),
        ("clean",),
    ):
        done = seg(workspace, *command)
        assert done.returncode == (0 if command in (("runs",), ("clean",)) else 2), (command, done.stderr)
        assert "Traceback" not in done.stderr
        if done.returncode == 2:
            # What the data lacks is told before: it is as true, and the person may mend both.
            refusals = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
            assert len(refusals) == 1, done.stderr
            assert "disk is full" in refusals[0] or "No space left" in refusals[0], done.stderr
            assert f"{disk.folder}/" in refusals[0], done.stderr
        assert not (disk.folder / "out").exists()
        assert not [*mine.iterdir()]
        assert mine.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in workspace.runs.iterdir()} == runs
    # Where not a byte is left, this makes room.
    freed = seg(workspace, "clean", "last", "--yes")
    assert "freed" in freed.stdout, freed.stderr
    assert seg(workspace, "clean", "caches", "--yes").returncode == 0
    disk.free()
    assert sound(workspace.database)
    with workspace.open_store() as store:
        assert {row.id for row in store.runs()} == runs
        assert store.run(run.id).status == "stopped"
    assert seg(workspace, "db", "check").returncode == 0


def test_commands_that_write_to_a_read_only_workspace_are_one_line(
    tmp_path: Path, tiny: RunConfig, street: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    with workspace.open_store() as store:
        run = add(workspace, store, tiny)
    workspace.database.chmod(0o444)
    workspace.root.chmod(0o555)
    try:
        for command in (
            ("run", "quick", "data.size=32x32", "--data", str(street)),
            ("tag", run.id, "seen"),
            ("stop", run.id),
            ("delete", run.id, "--yes"),
            ("db", "check", "--fix"),
        ):
            done = seg(workspace, *command, preexec_fn=drop_privilege_over_files)
            assert done.returncode == 2, (command, done.stdout, done.stderr)
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert str(workspace.root) in done.stderr
            assert "may not write to it" in done.stderr or "Permission denied" in done.stderr
        looked = seg(workspace, "runs", preexec_fn=drop_privilege_over_files)
        assert looked.returncode == 0, looked.stderr
        assert run.id in looked.stdout
    finally:
        workspace.root.chmod(0o755)
