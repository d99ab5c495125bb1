"""What a run does when something dies, fills up or runs out: real workers, real signals, real limits."""

from __future__ import annotations

import ctypes
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.run.directory import RunDir
from engine.run.events import Epoch, Failed, Started, Warned
from engine.run.journal import JournalWriter, read_all, read_events
from engine.run.scoring_events import Result
from tests import warm
from tests.system.conftest import WAIT_SECONDS
from tests.system.test_worker import MakeRun, curve, digest

KILLS = 10
MB = 1 << 20


def begin(run: RunDir, preparation: str = "") -> subprocess.Popen[bytes]:
    """Start a worker that runs `preparation` (Python) before anything else."""
    code = f"import engine.training.probes.fit, engine.training.train\n{preparation}\n{warm.WORKER}"
    with open(run.log, "ab") as log:
        command = [sys.executable, "-c", code, str(run.path)]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def work(run: RunDir, preparation: str = "") -> int:
    return begin(run, preparation).wait(timeout=WAIT_SECONDS)


def failure(run: RunDir) -> Failed:
    last = read_all(run.journal)[-1]
    assert isinstance(last, Failed), run.log.read_text()
    return last


def warnings_of(run: RunDir) -> list[str]:
    return [event.message for event in read_all(run.journal) if isinstance(event, Warned)]


def started(run: RunDir) -> list[Started]:
    return [event for event in read_all(run.journal) if isinstance(event, Started)]


def test_kills_at_random_moments_change_no_bit(new_run: MakeRun, tiny: RunConfig) -> None:
    seed = int(os.environ.get("SEG_KILL_SEED", "0"))
    kills = int(os.environ.get("SEG_KILLS", KILLS))
    rng = random.Random(seed)
    config = with_values(tiny, {"epochs": 3 * kills, "gallery.every": 10, "checkpoint.keep_every": 10})
    whole = new_run(config)
    begun = time.monotonic()
    assert work(whole) == 0, whole.log.read_text()
    epoch_seconds = (time.monotonic() - begun) / config.epochs

    broken = new_run(config)
    offset = killed = 0
    for _ in range(kills):
        worker = begin(broken)
        wanted = rng.randrange(3)  # epochs that this attempt lives through, then a part of the next
        deadline = time.monotonic() + WAIT_SECONDS
        while wanted > 0 and time.monotonic() < deadline:
            events, offset = read_events(broken.journal, offset)
            wanted -= sum(isinstance(event, Epoch) and event.split == "val" for event in events)
            time.sleep(0.001)
        time.sleep(rng.random() * 2 * epoch_seconds)
        worker.kill()
        killed += worker.wait(timeout=WAIT_SECONDS) == -signal.SIGKILL
        for checkpoint in broken.checkpoints.glob("*.pt"):
            torch.load(checkpoint, weights_only=True)
    left_behind = list(broken.path.rglob("*.tmp"))
    assert work(broken) == 0, broken.log.read_text()

    print(f"seed {seed}: {killed} kills, {len(left_behind)} temporaries left by the last one")
    assert killed == kills
    assert curve(broken) == curve(whole)
    names = sorted(path.name for path in whole.checkpoints.iterdir())
    assert names == sorted(path.name for path in broken.checkpoints.iterdir())
    assert {"last.pt", "best.pt", "epoch_0010.pt", "epoch_0030.pt"} <= set(names)
    for name in names:
        assert digest(broken.checkpoints / name) == digest(whole.checkpoints / name), name
    assert [event.seq for event in read_all(broken.journal)] == list(range(len(read_all(broken.journal))))
    assert list(broken.path.rglob("*.tmp")) == []


def test_a_damaged_checkpoint_costs_work_and_not_the_run(new_run: MakeRun, tiny: RunConfig) -> None:
    source = new_run(with_values(tiny, {"epochs": 2}))
    assert work(source) == 0, source.log.read_text()

    def damaged(name: str) -> None:
        path = run.checkpoints / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    run = new_run(with_values(tiny, {"epochs": 4}))
    shutil.copytree(source.checkpoints, run.checkpoints, dirs_exist_ok=True)
    damaged("last.pt")
    best = torch.load(run.checkpoints / "best.pt", weights_only=True)
    assert work(run) == 0, run.log.read_text()
    assert "last.pt: is damaged: the checksum of" in warnings_of(run)[0]
    assert f"going on from the weights of best.pt, after epoch {best['epoch']}" in warnings_of(run)[1]
    assert started(run)[0].resumed_from_epoch == best["epoch"]
    assert min(epoch for epoch, _ in curve(run)) == best["epoch"] + 1
    result = next(event for event in read_all(run.journal) if isinstance(event, Result))
    assert result.dice is not None
    assert result.dice >= best["dice"], "the best that was known before counts"
    assert (run.checkpoints / "last.pt.damaged").exists()
    assert torch.load(run.checkpoints / "last.pt", weights_only=True)["epoch"] == 4

    damaged("last.pt")
    damaged("best.pt")
    assert work(run) == 0, run.log.read_text()
    assert any("the run begins anew" in told for told in warnings_of(run))
    assert started(run)[1].resumed_from_epoch == 0


def test_a_run_whose_time_is_over_says_how_to_go_on(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(with_values(tiny, {"limits.hours": 0.002, "epochs": 1_000_000, "gallery.every": 0}))
    reached = (0, 0)
    for attempt in (1, 2):
        assert work(run) == 1, run.log.read_text()
        assert failure(run).cause == "timeout"
        content = torch.load(run.checkpoints / "last.pt", weights_only=True)
        kept = (content["epoch"], content["step"])
        assert f"limits.hours=0.002 is over after {kept[0]} complete epochs" in failure(run).message
        assert kept > reached
        reached = kept
        record = run.read_exit()
        assert record is not None
        assert (record.status, record.cause, record.attempt) == ("failed", "timeout", attempt)


LIMIT_MEMORY = f"""
import resource
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + 1150 * {MB}, used + 1150 * {MB}))
"""
"""Data alone, not addresses: how many of those allocators and threads reserve differs from time to time."""


def test_a_run_without_memory_is_told_what_fits(new_run: MakeRun, tiny: RunConfig) -> None:
    # Few channels of many pixels: what there is no room for is then an activation, which torch allocates and
    # complains about, and no workspace of oneDNN, which may crash.
    hungry = {"data.size": "512x512", "model.width": 8, "batch_size": 8, "epochs": 1, "gallery.every": 0}
    run = new_run(with_values(tiny, {**hungry, "data.split": "official"}))
    assert work(run, LIMIT_MEMORY) == 1, run.log.read_text()
    assert failure(run).cause == "out_of_memory"
    assert "Traceback" in failure(run).traceback
    advice = re.fullmatch(
        r"out of memory: no room for [\d.]+ MB more; batch_size=(\d) fits; or runtime.micro_batch=\1 "
        r"validation.batch_size=\1, which keeps 8 images a step",
        failure(run).message,
    )
    assert advice is not None, failure(run).message
    for changes in (
        {"batch_size": advice[1]},
        {"runtime.micro_batch": advice[1], "validation.batch_size": advice[1]},
    ):
        advised = new_run(with_values(run.read_config(), changes))
        assert work(advised, LIMIT_MEMORY) == 0, advised.log.read_text()


SHORT_WHILE_DECODING = """
import engine.data.image_files

def short(path):
    raise MemoryError

engine.data.image_files.read_regular = short
"""


def test_memory_that_runs_out_while_images_are_read_is_no_fault_of_the_images(
    new_run: MakeRun, tiny: RunConfig
) -> None:
    run = new_run(with_values(tiny, {"data.skip_bad": True, "data.size": "48x80"}))
    assert work(run, SHORT_WHILE_DECODING) == 1, run.log.read_text()
    assert failure(run).cause == "out_of_memory"
    assert "out of memory while decoding" in failure(run).traceback


def limit_file_size(size: int) -> str:
    """Python that makes every write beyond `size` bytes of a file fail, as on a full disk."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


def test_a_full_disk_keeps_the_last_good_checkpoint(new_run: MakeRun, tiny: RunConfig) -> None:
    source = new_run(with_values(tiny, {"epochs": 1}))
    assert work(source) == 0, source.log.read_text()
    run = new_run(with_values(tiny, {"epochs": 3}))
    shutil.copytree(source.checkpoints, run.checkpoints, dirs_exist_ok=True)
    size = (source.checkpoints / "best.pt").stat().st_size
    assert work(run, limit_file_size(size - 1)) == 1
    assert failure(run).cause == "exception"
    assert re.search(r"(best|last)\.pt: cannot be written: File too large$", failure(run).message)
    record = run.read_exit()
    assert record is not None
    assert record.message == failure(run).message
    assert list(run.path.rglob("*.tmp")) == []
    assert torch.load(run.checkpoints / "last.pt", weights_only=True)["epoch"] == 1
    assert work(run) == 0, run.log.read_text()
    assert started(run)[1].resumed_from_epoch == 1


@pytest.mark.parametrize("spare", [150, 5500], ids=["not even the failure", "an epoch does not fit"])
def test_a_journal_that_cannot_grow_ends_the_run_and_loses_nothing(
    new_run: MakeRun, tiny: RunConfig, spare: int
) -> None:
    # Long already, so that the limit is met by nothing but the journal.
    run = new_run(with_values(tiny, {"epochs": 2}))
    with JournalWriter(run.journal) as writer:
        while run.journal.stat().st_size < 8 * MB:
            writer.write(Warned(message="x" * MB))
    size = run.journal.stat().st_size
    events = len(read_all(run.journal))
    # How often progress is told depends on the machine, and with it which event is the first without room.
    quiet = "import engine.worker.job; engine.worker.job.PROGRESS_SECONDS = float('inf')"
    assert work(run, f"{quiet}\n{limit_file_size(size + spare)}") == 1
    assert "journal.jsonl: cannot be written: " in run.log.read_text()
    assert len(read_all(run.journal)) >= events
    assert len(curve(run)) < 4
    if spare > 1000:
        assert "journal.jsonl: cannot be written: " in failure(run).message
    record = run.read_exit()
    assert record is not None
    assert (record.status, record.cause) == ("failed", "exception")
    assert work(run) == 0, run.log.read_text()
    assert sorted(curve(run)) == [(1, "train"), (1, "val"), (2, "train"), (2, "val")]
    everything = read_all(run.journal)
    assert [event.seq for event in everything] == list(range(len(everything)))


def fail_to_start(run: RunDir, prepare: Callable[[], None]) -> str:
    """What a worker says on stderr that cannot even begin."""
    worker = subprocess.run(
        [sys.executable, "-m", "engine.worker", str(run.path)],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        preexec_fn=prepare,
    )
    assert worker.returncode == 1, worker.stderr
    return worker.stderr


def test_a_disk_that_takes_nothing_is_told_on_stderr(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(tiny)
    said = fail_to_start(run, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))
    assert "File too large" in said
    assert read_all(run.journal) == []
    assert list(run.path.rglob("*.tmp")) == []


def drop_privilege_over_files() -> None:
    """Make file permissions count for root, too: give up CAP_DAC_OVERRIDE (1) and CAP_DAC_READ_SEARCH (2)."""
    PR_CAPBSET_DROP = 24
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability)


def test_a_read_only_run_directory_is_told_on_stderr(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(tiny)
    run.path.chmod(0o555)
    try:
        said = fail_to_start(run, drop_privilege_over_files)
    finally:
        run.path.chmod(0o755)
    assert said.count("\n") == 1
    assert f"{run.path}: the run cannot be worked on: " in said
    assert "Permission denied" in said
    assert not run.journal.exists()


def test_a_deleted_run_directory_stays_deleted(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(with_values(tiny, {"epochs": 1_000_000}))
    worker = begin(run)
    deadline = time.monotonic() + WAIT_SECONDS
    while not (run.checkpoints / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    worker.send_signal(signal.SIGSTOP)  # rmtree loses a race against somebody who goes on writing
    shutil.rmtree(run.path)
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(timeout=WAIT_SECONDS) == 1
    assert not run.path.exists()


def test_a_second_worker_leaves_the_first_alone(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(with_values(tiny, {"epochs": 1_000_000}))
    worker = begin(run)
    deadline = time.monotonic() + WAIT_SECONDS
    while not started(run) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert "another worker is at work in it" in fail_to_start(run, lambda: None)
    worker.terminate()
    assert worker.wait(timeout=WAIT_SECONDS) == 3, run.log.read_text()
    assert [event.attempt for event in started(run)] == [1]
    assert {event.attempt for event in read_all(run.journal)} == {1}


CLOCK_GOES_BACK = """
import itertools, time
days = itertools.count()
time.time = lambda: 1_800_000_000.0 - 86_400 * next(days)
"""


def test_a_clock_that_steps_back_changes_nothing(new_run: MakeRun, tiny: RunConfig) -> None:
    config = with_values(tiny, {"limits.hours": 1, "checkpoint.seconds": 3600})
    steady, odd = new_run(config), new_run(config)
    assert work(steady) == 0, steady.log.read_text()
    assert work(odd, CLOCK_GOES_BACK) == 0, odd.log.read_text()
    assert curve(odd) == curve(steady)
    assert digest(odd.checkpoints / "last.pt") == digest(steady.checkpoints / "last.pt")
    times = [event.t for event in read_all(odd.journal)]
    assert times == sorted(times, reverse=True)
    assert all(event.seconds >= 0 for event in read_all(odd.journal) if isinstance(event, Epoch))
