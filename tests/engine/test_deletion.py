"""`delete`: the row and all files of a run, or neither, wherever its folder lies and whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config.run_config import RunConfig
from engine.exits import BAD_USE
from engine.requests import deleting, queueing
from engine.run import deletion
from engine.run.directory import RunCard, RunDir
from engine.store import StoreError
from engine.store.lifecycle import Lifecycle
from engine.visible import visible
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import finished_journal


@pytest.fixture
def run(either_workspace: Workspace) -> RunDir:
    """A finished run with files of all kinds."""
    run = import_made_up_run(either_workspace, "aaaa1111", finished_journal(), queued_for=0)
    (run.checkpoints / "best.pt").write_bytes(b"weights")
    (run.outputs / "to a folder").symlink_to("..")
    return run


def linked(run: RunDir, disk: Path) -> Path:
    """Move the folder to another disk, link it back over a second link, and return where it lies."""
    disk.mkdir()
    there = run.path.rename(disk / "moved")
    (disk / "on the way").symlink_to("moved")
    run.path.symlink_to(disk / "on the way")
    return there


def known(seg: Command) -> list[str]:
    return [row["id"] for row in seg("runs --json").json]


@pytest.mark.parametrize("is_linked", [False, True])
def test_row_and_files_go(seg: Command, run: RunDir, tmp_path: Path, is_linked: bool) -> None:
    if is_linked:
        linked(run, tmp_path / "disk")
    done = seg("delete aaaa1111 --yes")
    assert (done.status, done.err) == (0, "")
    assert known(seg) == []
    assert os.listdir(run.path.parent) == []
    assert not is_linked or os.listdir(tmp_path / "disk") == []


def test_where_runs_itself_is_a_link(seg: Command, run: RunDir, tmp_path: Path) -> None:
    run.path.parent.rename(tmp_path / "disk")
    run.path.parent.symlink_to(tmp_path / "disk")
    assert seg("db check").status == 0
    assert seg("delete aaaa1111 --yes").status == 0
    assert os.listdir(tmp_path / "disk") == []


def test_a_link_to_what_is_not_the_run_is_never_followed(seg: Command, run: RunDir, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    there = linked(run, tmp_path / "disk")
    run.path.unlink()
    run.path.symlink_to(home)
    done = seg("delete aaaa1111 --yes")
    assert done.status == BAD_USE
    assert f"is a link to {home}, which is not the folder of a run" in done.err
    (home / "run.json").write_text((there / "run.json").read_text().replace("aaaa1111", "bbbb2222"))
    assert "which is the folder of run bbbb2222; nothing is removed" in seg("delete aaaa1111 --yes").err
    assert (home / "thesis.tex").exists()
    assert known(seg) == ["aaaa1111"]


def test_a_link_that_leads_nowhere_goes_with_the_row(seg: Command, run: RunDir, tmp_path: Path) -> None:
    linked(run, tmp_path / "disk").rename(tmp_path / "unmounted")
    assert seg("delete aaaa1111 --yes").status == 0
    assert (known(seg), os.listdir(run.path.parent)) == ([], [])
    assert (tmp_path / "unmounted" / "run.json").exists()


@pytest.mark.parametrize("place", ["", "checkpoints", "../"])
def test_what_cannot_be_removed_is_refused_before_anything_is(
    seg: Command, run: RunDir, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    locked = Path(os.path.normpath(run.path / place))
    access = os.access
    # As root one may write everywhere, so the kernel's answer is made up.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and access(path, mode))
    done = seg("delete aaaa1111 --yes")
    assert done.status == BAD_USE
    assert f"{locked} " in done.err
    assert "may not write to it" in done.err
    assert known(seg) == ["aaaa1111"]
    assert (run.checkpoints / "best.pt").exists()


@pytest.mark.parametrize(
    "name", ["", "one disk", "Messungen für später", "no\u00a0break", "b\udcfccher", "a\\b"]
)
def test_a_mount_point_is_refused_before_anything_is(
    seg: Command, run: RunDir, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    point = run.gallery / name
    told = os.fsencode(point).replace(b"\\", rb"\134").replace(b" ", rb"\040")
    line = b"1 1 0:1 / /mnt/b\xfccher\x0b rw - tmpfs none rw\n1 1 0:1 / " + told + b" rw - tmpfs none rw\n"
    monkeypatch.setattr(deletion, "read_mounts", lambda: line)
    done = seg("delete aaaa1111 --yes")
    assert done.status == BAD_USE
    assert f"{visible(str(point))} is a mount point; unmount it first" in visible(done.err)
    assert known(seg) == ["aaaa1111"]


def test_a_folder_that_cannot_be_renamed_keeps_its_row(
    seg: Command, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(16, "Device or resource busy", str(path))

    monkeypatch.setattr(Path, "rename", refuse)
    done = seg("delete aaaa1111 --yes")
    monkeypatch.undo()
    assert done.status == BAD_USE
    assert "Device or resource busy" in done.err


def test_a_row_that_cannot_be_removed_keeps_its_folder(
    either_workspace: Workspace, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with either_workspace.open_store() as store:
        real = store.lifecycle.delete

        def fail_at_the_end(*args: object, **options: object) -> bool:
            real(*args, **options)  # type: ignore[arg-type]
            raise StoreError("the disk is full")

        row = store.run(run.id)
        monkeypatch.setattr(store.lifecycle, "delete", fail_at_the_end)
        with pytest.raises(StoreError, match="the disk is full"):
            deleting.delete(either_workspace, store, row)
    assert (run.checkpoints / "best.pt").exists()
    assert os.listdir(run.path.parent) == ["aaaa1111"]


def killed_at(workspace: Workspace, name: str, returns: bool) -> None:
    """Delete the run in a process that is killed where it calls the function of this name, or where that
    returns."""
    script = (
        "import os, signal, sys\n"
        "from engine.requests import deleting\n"
        "from engine.run import deletion\n"
        "from engine.cli.main import command_line\n"
        f"real = {name}\n"
        "def die(*args, **options):\n"
        f"    {'real(*args, **options)' if returns else 'pass'}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{name} = die\n"
        "command_line(['--workspace', sys.argv[1], 'delete', 'aaaa1111', '--yes'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(workspace.root)], capture_output=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


CHECK, REBUILD, DELETE = "db check --fix", "db rebuild", "delete aaaa1111 --yes"


@pytest.mark.parametrize("is_linked", [False, True])
@pytest.mark.parametrize(
    ("name", "returns", "stays", "repair"),
    [
        pytest.param("deleting.hide", False, True, CHECK, id="before the folder is hidden"),
        pytest.param("deleting.hide", True, True, CHECK, id="before the row is gone"),
        pytest.param("deleting.hide", True, True, DELETE, id="before the row is gone, deleted again"),
        pytest.param("deleting.remove_hidden", False, False, CHECK, id="before a file is gone"),
        pytest.param("os.rmdir", False, False, CHECK, id="among the files"),
        pytest.param("os.rmdir", False, False, REBUILD, id="among the files, rebuilt"),
    ],
)
def test_a_deletion_that_was_killed_is_finished_or_undone(
    seg: Command,
    workspace: Workspace,
    tmp_path: Path,
    name: str,
    returns: bool,
    stays: bool,
    repair: str,
    is_linked: bool,
) -> None:
    run = import_made_up_run(workspace, "aaaa1111", finished_journal(), queued_for=0)
    (run.checkpoints / "best.pt").write_bytes(b"weights")
    if is_linked:
        linked(run, tmp_path / "disk")
    killed_at(workspace, name, returns)
    assert known(seg) == (["aaaa1111"] if stays else [])
    seg(repair)
    stays = stays and repair != DELETE
    assert os.listdir(workspace.runs) == (["aaaa1111"] if stays else [])
    assert known(seg) == (["aaaa1111"] if stays else [])
    if is_linked:
        assert bool(os.listdir(tmp_path / "disk")) == stays
    assert seg("db check").status == 0


def test_a_hidden_folder_whose_row_is_there_comes_back(
    seg: Command, workspace: Workspace, run: RunDir
) -> None:
    hidden = run.path.rename(run.path.with_name(".deleted-aaaa1111"))
    left = run.path.with_name(".deleted-bbbb2222")
    (left / "checkpoints").mkdir(parents=True)
    done = seg("db check")
    assert done.status == 1
    assert f"{left} was left behind by an interrupted operation" in done.out
    assert seg("db check --fix").status in (0, 1)
    assert seg("db check").status == 0
    assert (run.checkpoints / "best.pt").exists()
    assert not hidden.exists()
    assert not left.exists()


def test_what_is_being_made_just_now_is_left_alone(workspace: Workspace) -> None:
    young, old = (workspace.runs / f".making-{run_id}" for run_id in ("aaaa1111", "bbbb2222"))
    for folder in (young, old):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    assert deletion.left_behind(workspace.runs) == [old]
    assert deletion.finish(workspace.runs, lambda run_id: False) == []
    assert (young.exists(), old.exists()) == (True, False)


def test_a_run_is_made_whole_or_not_at_all(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    card = RunCard("aaaa1111", "n", "e", 1.0)
    run = workspace.run_dir(card.id)
    with workspace.open_store() as store:
        for failure in (OSError(28, "No space left on device"), KeyboardInterrupt()):

            def fail(*args: object, failure: BaseException = failure) -> None:
                raise failure

            for target, name in ((RunDir, "write_card"), (Lifecycle, "create")):
                monkeypatch.setattr(target, name, fail)
                with pytest.raises(type(failure)):
                    queueing.make_run(workspace, store, card, RunConfig())
                monkeypatch.undo()
                assert os.listdir(workspace.runs) == []
        for odd in ("\udc80", "n" * 601):
            with pytest.raises(Exception, match="name: "):
                queueing.make_run(workspace, store, RunCard(card.id, odd, "e", 1.0), RunConfig())
        assert os.listdir(workspace.runs) == []
        queueing.make_run(workspace, store, card, RunConfig())
        with pytest.raises(FileExistsError):
            run.create(card, RunConfig())
    assert os.listdir(workspace.runs) == ["aaaa1111"]


def test_what_a_kill_left_of_a_run_is_not_in_the_way_of_the_same_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id of a run may be settled before it is made, as that of a trial or of imported records is."""
    card, run = RunCard("aaaa1111", "n", "e", 1.0), workspace.run_dir("aaaa1111")

    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "write_card", killed)
        patch.setattr("shutil.rmtree", lambda *args, **options: None)
        with pytest.raises(KeyboardInterrupt):
            run.create(card, RunConfig())
    assert len(os.listdir(workspace.runs)) == 1
    run.create(card, RunConfig())
    assert run.read_card() == card


def test_runs_that_are_queued_together_are_all_made_or_none(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = RunConfig.model_validate({"pretrain": {"epochs": 1}})
    with workspace.open_store() as store:
        made = 0
        create = Lifecycle.create

        def fail_at_the_fourth(*args: object, **options: object) -> None:
            nonlocal made
            made += 1
            if made == 4:
                raise StoreError("the disk is full")
            create(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Lifecycle, "create", fail_at_the_fourth)

        def queue_all() -> None:
            with queueing.all_or_none(workspace, store) as cards:
                for run_id in ("aaaa1111", "bbbb2222", "cccc3333"):
                    card = RunCard(run_id, "n", "e", 1.0)
                    cards += queueing.enqueue(workspace, store, card, chain, queueing.Place())

        with pytest.raises(StoreError, match="the disk is full"):
            queue_all()
        assert made == 4
        assert store.runs() == []
    assert os.listdir(workspace.runs) == []
