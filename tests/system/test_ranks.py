"""One run in two processes: Gloo on the CPU, started, stopped and killed for real."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.host.processes import is_alive, python_command
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.run.events import Epoch, Failed, Started, Stopped, Warned
from engine.run.journal import JournalWriter, read_all
from engine.worker import entry
from engine.worker.nodes import run_nodes
from engine.worker.ranks import end_of, exchange
from tests.slurm import REQUIRED
from tests.system.conftest import WAIT_SECONDS, start_worker, wait_for_event, work
from tests.system.test_worker import curve, digest

Make = Callable[..., RunDir]


@pytest.fixture(scope="module")
def make(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a run of two processes: seven images in steps of 4 and 3, so that their parts differ in size, and
    no batch norm, which would see each part alone. Samples are mixed with those of the other process."""
    runs = tmp_path_factory.mktemp("ranks") / "runs"
    base = with_values(
        get_recipe("quick-modern"),
        {
            "data.root": str(street),
            "data.size": "32x32",
            "data.val_fraction": 0.3,
            "model.hidden": 4,
            "batch_size": 4,
            "validation.batch_size": 1,
            "augment.flip": 0.5,
            "augment.brightness": 0.2,
            "augment.crop": "16x32",
            "augment.cutmix": 0.5,
            "augment.mosaic": 0.5,
            "data.class_uniform": 0.5,
            "epochs": 6,
            "precision": "fp32",
            "optimizer.name": "sgd",
            "optimizer.lr": 0.05,
            "optimizer.encoder_lr_factor": 0.5,
            "optimizer.layer_decay": 0.9,
            "gallery.every": 3,
            "gallery.images": 1,
            "checkpoint.seconds": 0,
            "device": "cpu",
            "devices": 2,
            "runtime.threads": 1,
        },
    )

    def make(**values: object) -> RunDir:
        run = RunDir(runs / new_run_id())
        config = with_values(base, {key.replace("__", "."): value for key, value in values.items()})
        run.create(RunCard(run.id, "a test", "tests", time.time()), config)
        return run

    return make


@pytest.fixture(scope="module")
def whole(make: Make) -> RunDir:
    """A run of two processes that nobody disturbed."""
    run = make()
    assert work(run) == 0, run.log.read_text()
    return run


def val_scores(run: RunDir) -> list[Epoch]:
    """What was measured on the validation split, the times and the memory left out."""
    times = {"seq": 0, "t": 0.0, "seconds": 0.0, "images_per_second": 0.0, "data_wait": 0.0, "joules": None}
    return [
        event.model_copy(update={**times, "peak_memory_bytes": 0})
        for event in read_all(run.journal)
        if isinstance(event, Epoch) and event.split == "val"
    ]


def ranks_of(worker: subprocess.Popen[bytes]) -> dict[int, int]:
    """The process of each rank."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (process / "environ").read_bytes().split(b"\0") if parent == worker.pid else []
        except OSError:
            continue
        found |= {int(v[5:]): int(process.name) for v in variables if v.startswith(b"RANK=")}
    return found


def test_two_ranks_learn_what_one_learns(make: Make, whole: RunDir) -> None:
    alone = make(devices=1)
    assert work(alone) == 0, alone.log.read_text()
    learned, expected = (
        torch.load(run.checkpoints / "last.pt", weights_only=True)["model"] for run in (whole, alone)
    )
    assert learned.keys() == expected.keys()
    for name, tensor in learned.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)

    events = read_all(whole.journal)
    assert [event.seq for event in events] == list(range(len(events)))
    assert [event.event for event in events][-3:] == ["result", "used", "finished"]
    assert [(e.epoch, e.split) for e in events if isinstance(e, Epoch)] == [
        (epoch, split) for epoch in range(1, 7) for split in ("train", "val")
    ]
    started, process = events[0], whole.read_proc()
    assert isinstance(started, Started)
    assert process is not None
    assert (started.ranks, started.pid, started.threads) == (2, process.pid, 1)


def test_two_ranks_and_one_score_the_same_weights_alike(make: Make, street: Path, tmp_path: Path) -> None:
    # The step is too small to move a weight: all score what the seed has drawn, three images in turn.
    root = shutil.copytree(street, tmp_path / "data")
    for blank, path in enumerate(sorted(root.glob("gtFine/train/*/*_labelIds.png"))):
        labels = np.array(Image.open(path))
        labels[: 9 * blank] = 0  # of no class, and in no two images as many
        Image.fromarray(labels).save(path)
    values = {"data__root": str(root), "epochs": 1, "optimizer__lr": 1e-60}
    one, two = (make(devices=devices, **values) for devices in (1, 2))
    parts = make(runtime__micro_batch=1, **values)
    for run in (one, two, parts):
        assert work(run) == 0, run.log.read_text()
    assert val_scores(one) == val_scores(two) == val_scores(parts)
    assert len(val_scores(one)) == 1
    losses = [loss_of_training(run) for run in (one, two, parts)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def loss_of_training(run: RunDir) -> float:
    (loss,) = (e.loss for e in read_all(run.journal) if isinstance(e, Epoch) and e.split == "train")
    assert loss is not None
    return loss


def test_stopped_preempted_and_killed_ranks_go_on_to_the_same_bits(make: Make, whole: RunDir) -> None:
    run = make()

    def disturbed(strike: Callable[[subprocess.Popen[bytes]], None]) -> int:
        seen = run.journal.stat().st_size if run.journal.exists() else 0
        worker = start_worker(run)
        wait_for_event(run, worker, lambda event: event.event == "epoch", seen)
        strike(worker)
        return worker.wait(timeout=WAIT_SECONDS)

    assert disturbed(lambda worker: worker.send_signal(signal.SIGTERM)) == 3, run.log.read_text()
    last = read_all(run.journal)[-1]
    assert isinstance(last, Stopped)
    assert last.cause == "stopped"

    assert disturbed(lambda worker: os.kill(ranks_of(worker)[1], signal.SIGKILL)) == 1
    last = read_all(run.journal)[-1]
    assert isinstance(last, Failed)
    assert last.cause == "killed"
    assert last.message.startswith("rank 1 was killed by signal 9")
    record = run.read_exit()
    assert record is not None
    assert (record.status, record.cause, record.attempt) == ("failed", "killed", 2)

    def preempt_all(worker: subprocess.Popen[bytes]) -> None:  # as Slurm does, every process of the job
        for pid in (*ranks_of(worker).values(), worker.pid):
            os.kill(pid, signal.SIGUSR2)

    assert disturbed(preempt_all) == 3, run.log.read_text()
    last = read_all(run.journal)[-1]
    assert isinstance(last, Stopped)
    assert last.cause == "preempted"

    assert work(run) == 0, run.log.read_text()
    assert digest(run.checkpoints / "last.pt") == digest(whole.checkpoints / "last.pt")
    assert digest(run.checkpoints / "best.pt") == digest(whole.checkpoints / "best.pt")
    assert curve(run).keys() == curve(whole).keys()
    assert [event.dice for event in val_scores(run)][-1] == [event.dice for event in val_scores(whole)][-1]


def test_ranks_end_with_their_worker(make: Make) -> None:
    run = make(epochs=10_000)
    worker = start_worker(run)
    wait_for_event(run, worker, lambda event: event.event == "epoch")
    ranks = ranks_of(worker)
    assert sorted(ranks) == [0, 1]
    descriptors = [os.pidfd_open(pid) for pid in ranks.values()]
    worker.kill()
    worker.wait(timeout=WAIT_SECONDS)
    for descriptor in descriptors:  # readable once the process has ended
        assert select.select([descriptor], [], [], WAIT_SECONDS)[0]
        os.close(descriptor)
    process = run.read_proc()
    assert process is not None
    assert is_alive(process) is False


def test_the_end_of_a_run_is_that_of_the_rank_where_it_began() -> None:
    cut_off = Failed(cause="exception", message="RuntimeError: connection closed by peer")
    memory = Failed(cause="out_of_memory", message="no room")
    stopped = Stopped(cause="stopped", epoch=3)

    def no() -> bool:
        return False

    assert end_of({1: memory, 0: cut_off}, {0: 1, 1: 1}, no) == memory
    killed = end_of({0: cut_off}, {0: 1, 1: -9}, no)
    assert isinstance(killed, Failed)
    assert killed.cause == "killed"
    for_memory = end_of({0: cut_off}, {1: -9}, lambda: True)
    assert isinstance(for_memory, Failed)
    assert for_memory.cause == "out_of_memory"
    # What the first rank has saved and recorded stands, whatever becomes of the others.
    assert end_of({0: stopped, 1: cut_off}, {1: 1}, no) == stopped
    assert end_of({0: None, 1: cut_off}, {1: -9}, no) is None
    # Without a node, the ranks of the others fail.
    lost = Failed(cause="killed", message="node b went away")
    assert end_of({0: cut_off}, {0: 1}, no, lost) == lost
    assert end_of({0: None}, {}, no, lost) is None
    silent = end_of({}, {1: 120}, no)
    assert isinstance(silent, Failed)
    assert "rank 1 with exit status 120" in silent.message


def test_what_ranks_have_written_stays_when_their_launcher_fails(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make()

    def launch(run: RunDir, cache_dir: Path, attempt: int, *rest: object) -> None:
        with JournalWriter(run.journal, attempt) as journal:
            for number in range(3):
                journal.write(Warned(message=f"of rank 0: {number}"))
        raise RuntimeError("the launcher")

    for name in ("prepare_process", "listen_for_stops", "beat_forever", "sample_forever"):
        monkeypatch.setattr(entry, name, lambda *_: None)
    monkeypatch.setattr(entry, "run_ranks", launch)
    assert entry.attempt(run, tmp_path, time.monotonic(), []) == 1
    events = read_all(run.journal)
    assert [event.event for event in events] == ["warning", "warning", "warning", "used", "failed"]
    assert [event.seq for event in events] == [0, 1, 2, 3, 4]


@pytest.mark.timeout(60)
def test_a_stop_is_heeded_while_srun_waits_for_its_nodes(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = SCONTROL.replace("10.213.7.2", "127.0.0.1")
    for program, script in {"srun": "#!/bin/sh\nexec cat\n", "scontrol": scontrol}.items():
        (tmp_path / program).write_text(script)
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "nodes")
    monkeypatch.setenv("SLURMD_NODENAME", "first")
    with exchange() as between:
        between.ask_to_stop("preempted")
        ending = run_nodes(make(), tmp_path, 1, 1, 2, between, preemptible=True)
    assert ending == Stopped(cause="preempted", epoch=0)


SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
export SLURM_PROCID=0
echo $$ >"$SEG_TEST_SRUN"
exec ip netns exec "$SEG_TEST_NODES"2 "$@"
"""
SCONTROL = """#!/bin/sh
if [ "$2" = hostnames ]; then printf "first\\nsecond\\n"; else echo "NodeName=$4 NodeAddr=10.213.7.2"; fi
"""


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two network namespaces that a cable joins, the two nodes of a job, and Slurm's commands in them. Gives
    the environment of the job's first process; its key `node` is the namespace."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        if os.environ.get(REQUIRED) == "required":
            pytest.fail("network namespaces need root and the program ip (Debian: apt-get install iproute2)")
        pytest.skip("network namespaces need root and the program ip")
    name = f"seg{os.getpid()}n"
    for program, script in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tmp_path / program).write_text(script)
        (tmp_path / program).chmod(0o755)

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for node in "12":
            ip("netns", "add", f"{name}{node}")
        ip("-n", f"{name}1", "link", "add", "cable", "type", "veth", "peer", "cable", "netns", f"{name}2")
        for node in "12":
            ip("-n", f"{name}{node}", "address", "add", f"10.213.7.{node}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", f"{name}{node}", "link", "set", device, "up")
        yield {
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SEG_TEST_NODES": name,
            "SEG_TEST_SRUN": str(tmp_path / "srun.pid"),
            "SLURM_JOB_NODELIST": "nodes",
            "SLURMD_NODENAME": "first",
            "node": f"{name}1",
        }
    finally:
        for node in "12":
            left = subprocess.run(["ip", "netns", "pids", f"{name}{node}"], capture_output=True, text=True)
            for pid in left.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", f"{name}{node}"])


COLD_SECONDS = 4 * WAIT_SECONDS
"""How long a run in namespaces may take, of which each process imports torch anew."""


@pytest.mark.timeout(3 * COLD_SECONDS)
def test_a_run_on_two_nodes_loses_one_and_goes_on_to_the_bits_of_one_machine(
    make: Make, whole: RunDir, two_nodes: dict[str, str]
) -> None:
    run = make(devices=1, executor="slurm", slurm__nodes=2)
    command = ["ip", "netns", "exec", two_nodes["node"], *python_command("engine.worker", str(run.path))]

    def start() -> subprocess.Popen[bytes]:
        with open(run.log, "ab") as log:
            return subprocess.Popen(command, env=two_nodes, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    worker = start()
    wait_for_event(run, worker, lambda event: event.event == "epoch", seconds=COLD_SECONDS)
    os.kill(int(Path(two_nodes["SEG_TEST_SRUN"]).read_text()), signal.SIGKILL)
    assert worker.wait(timeout=COLD_SECONDS) == 1
    last = read_all(run.journal)[-1]
    assert isinstance(last, Failed)
    assert last.cause == "killed", run.log.read_text()
    assert last.message.startswith("node second went away")

    worker = start()
    assert worker.wait(timeout=COLD_SECONDS) == 0, run.log.read_text()
    started = [event for event in read_all(run.journal) if isinstance(event, Started)]
    assert [(event.attempt, event.ranks) for event in started] == [(1, 2), (2, 2)]
    assert digest(run.checkpoints / "last.pt") == digest(whole.checkpoints / "last.pt")
    assert curve(run).keys() == curve(whole).keys()


def test_a_run_on_nodes_that_are_not_there_says_so(make: Make) -> None:
    run = make(devices=1, executor="slurm", slurm__nodes=2)
    assert work(run) == 1
    last = read_all(run.journal)[-1]
    assert isinstance(last, Failed)
    assert last.message == "slurm.nodes: the run is to be on 2 nodes, and this is no job of Slurm"
