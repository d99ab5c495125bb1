"""The kernel's count of what it killed for want of memory, on trees that look like /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.host.oom import oom_killed_since, oom_kills

V2 = "sys/fs/cgroup/user.slice/job/memory.events"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def events(kills: int) -> str:
    return f"low 0\nhigh 0\nmax 12\noom 3\noom_kill {kills}\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("groups", "path", "before", "after"),
    [
        ("0::/user.slice/job\n", V2, events(2), events(3)),
        # The leaf has no memory controller; the slice above it counts.
        ("0::/user.slice/job/leaf\n", V2, events(0), events(1)),
        # A container that sees its own cgroup as the top.
        ("0::/far/away\n", "sys/fs/cgroup/memory.events", events(0), events(1)),
        (
            "5:cpu,cpuacct:/x\n4:memory:/jobs/7\n0::/\n",
            "sys/fs/cgroup/memory/jobs/7/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        ),
        # The top cgroup counts nothing; the machine does.
        ("0::/\n", "proc/vmstat", "nr_free_pages 5\noom_kill 7\n", "nr_free_pages 5\noom_kill 8\n"),
    ],
    ids=["v2", "above", "container", "v1", "machine"],
)
def test_a_kill_is_seen_and_nothing_else(
    tmp_path: Path, groups: str, path: str, before: str, after: str
) -> None:
    write(tmp_path, "proc/self/cgroup", groups)
    write(tmp_path, path, before)
    count = oom_kills(root=tmp_path)
    assert list(count) == [path]
    assert not oom_killed_since(count, tmp_path)
    write(tmp_path, path, after)
    assert oom_killed_since(count, tmp_path)


def test_of_two_counters_that_of_the_cgroup_counts(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/user.slice/job\n")
    write(tmp_path, V2, events(0))
    write(tmp_path, "proc/vmstat", "oom_kill 0\n")
    count = oom_kills(root=tmp_path)
    write(tmp_path, "proc/vmstat", "oom_kill 5\n")  # somebody else's
    assert not oom_killed_since(count, tmp_path)


def test_where_the_kernel_tells_nothing_nothing_is_claimed(tmp_path: Path) -> None:
    assert oom_kills(root=tmp_path) == {}
    assert not oom_killed_since({}, tmp_path)
    assert not oom_killed_since({V2: 0}, tmp_path)  # the cgroup is gone
