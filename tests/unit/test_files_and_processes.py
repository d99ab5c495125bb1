from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engine.host.processes import identify, is_alive
from engine.run.files import replacing, sweep_temporaries, write_json
from engine.run.scratch import scratch_folder
from engine.worker.process import keep_what_is_compiled


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})

    def fail_half_way() -> None:
        with replacing(path) as stream:
            stream.write(b"half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["value.json"]


def test_what_cannot_be_written_is_told_by_the_name_that_was_wanted(tmp_path: Path) -> None:
    wanted = tmp_path / "nosuch" / "value.json"
    with pytest.raises(FileNotFoundError) as told:
        write_json(wanted, {})
    assert str(told.value) == f"[Errno 2] No such file or directory: '{wanted}'"
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as told:
        write_json(tmp_path / "folder", {})
    assert str(told.value) == f"[Errno 21] Is a directory: '{tmp_path / 'folder'}'"


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from engine.run.files import replacing
with replacing(Path({str(tmp_path / "value.json")!r})) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert not (tmp_path / "value.json").exists()
    assert len(sweep_temporaries(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


def test_a_scratch_folder_outlives_a_kill_until_the_next_one(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from engine.run.scratch import scratch_folder
with scratch_folder(Path({str(tmp_path)!r}), ".making-") as folder:
    print(folder, flush=True)
    input()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with scratch_folder(tmp_path, ".making-") as beside:
            assert sorted(tmp_path.iterdir()) == sorted([left, beside]), "that of a living process stays"
        process.kill()
    assert list(tmp_path.iterdir()) == [left]
    with scratch_folder(tmp_path, ".making-") as again:
        assert list(tmp_path.iterdir()) == [again]
    assert list(tmp_path.iterdir()) == []


def test_this_process_is_alive_and_a_reused_pid_is_not() -> None:
    me = identify()
    assert is_alive(me) is True
    assert is_alive(replace(me, start_time=me.start_time + 1)) is False
    assert is_alive(replace(me, boot_id="another boot")) is False
    assert is_alive(replace(me, host="another-host")) is None


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = identify(child.pid)
    assert is_alive(process) is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, nobody has reaped it
    assert is_alive(process) is False
    child.communicate()
    assert is_alive(process) is False
    with pytest.raises(ProcessLookupError):
        identify(child.pid)


@pytest.mark.parametrize(
    ("given", "kept_in"),
    [
        ({"XDG_CACHE_HOME": "{}/cache"}, "{}/cache/seg-engine/inductor"),
        ({"HOME": "{}"}, "{}/.cache/seg-engine/inductor"),
        ({"XDG_CACHE_HOME": "cache"}, None),
        ({"XDG_CACHE_HOME": "{}/file/cache"}, None),
        ({"XDG_CACHE_HOME": "{}/cache", "TORCHINDUCTOR_CACHE_DIR": "/mine"}, "/mine"),
    ],
)
def test_compiled_kernels_are_kept_in_the_users_cache_folder(
    given: dict[str, str], kept_in: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for variable in ("XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(variable, "")  # so that what is set below is unset again
        monkeypatch.delenv(variable)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value.format(tmp_path))
    keep_what_is_compiled()
    assert os.environ.get("TORCHINDUCTOR_CACHE_DIR") == (kept_in and kept_in.format(tmp_path))
