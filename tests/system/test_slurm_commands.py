"""How Slurm's commands are asked, and what is made of what they print."""

from __future__ import annotations

import os
import pwd
import shlex
import sys
from pathlib import Path

import pytest

from engine.agent.executors import slurm
from engine.agent.executors.slurm import SlurmError, SlurmJob
from engine.config.slurm import SlurmConfig
from engine.run.directory import RunDir


def test_slurm_is_asked_for_all_jobs_of_this_user_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("squeue", "scancel"):
        program = tmp_path / command
        program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked; env >>{tmp_path}/told\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("LOGNAME", "SQUEUE_PARTITION", "SQUEUE_ACCOUNT", "SCANCEL_STATE"):
        monkeypatch.setenv(name, "other")
    assert slurm.list_jobs() == []
    slurm.cancel("7")
    asked, told = (tmp_path / "asked").read_text(), (tmp_path / "told").read_text()
    assert f"--user={os.getuid()} " in asked
    other = next(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != os.getuid())
    slurm.list_jobs({other, 2**31})
    both = ",".join(map(str, sorted({os.getuid(), other})))
    assert f"--user={both} " in (tmp_path / "asked").read_text(), "squeue refuses the number of nobody"
    assert "SQUEUE_" not in told
    assert "SCANCEL_" not in told
    assert "LOGNAME=other" in told


@pytest.mark.parametrize(("told", "state"), [("RUNNING", ""), ("CANCELLED by 7", "CANCELLED"), ("", "")])
def test_the_accounting_tells_ends_and_may_be_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, state: str
) -> None:
    program = tmp_path / "sacct"
    program.write_text(f"#!/bin/sh\necho {told}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm.accounted_state("7") == state


SQUEUE = """
import sys

for job, name in ((b"1", b"a|b"), (b"2", b"two\\nlines"), (b"3", b"b\\xfccher"), (b"4_1", b"seg-mine")):
    told = dict(JobArrayID=job, Name=name, State=b"PENDING", RestartCnt=b"2", ReasonList=b"(None)")
    for field in sys.argv[-1].split(","):
        sys.stdout.buffer.write(told[field.partition(":")[0]].ljust(120) + b"|")
    print(flush=True)
"""
"""Answers as squeue does with the fields of -O."""


def test_jobs_of_other_programs_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "squeue"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(SQUEUE)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm.list_jobs() == [SlurmJob("4_1", "seg-mine", "PENDING", 2, "(None)")]


@pytest.mark.parametrize(
    ("said", "passing", "too_many"),
    [
        ("QOSMaxSubmitJobPerUserLimit", True, True),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", True, True),
        ("Socket timed out on send/recv operation", True, False),
        ("Invalid account or account/partition combination specified", False, False),
        ("Batch job submission failed: Invalid job array specification", False, True),
    ],
)
def test_a_refusal_says_whether_a_later_try_or_fewer_jobs_may_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, passing: bool, too_many: bool
) -> None:
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/sh\necho {shlex.quote(f'sbatch: error: {said}')} >&2; exit 1\n")
    program.chmod(0o755)
    (tmp_path / "job.sh").touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(SlurmError) as refusal:
        slurm.submit(tmp_path / "job.sh")
    assert (refusal.value.passing, refusal.value.too_many) == (passing, too_many)
    assert str(refusal.value) == f"sbatch: error: {said}"


def test_what_a_script_asks_for_outranks_variables_of_sbatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "sbatch"
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{tmp_path}/asked; env >{tmp_path}/told; echo '12;here'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("SBATCH_WAIT", "SBATCH_CLUSTERS", "SBATCH_RESERVATION"):
        monkeypatch.setenv(name, "x")
    about = SlurmConfig(account="lab", extra="--comment='two words' # why; -q high; echo '#SBATCH --hold'")
    script = tmp_path / "job.sh"
    script.write_text(slurm.job_script("seg-name", [RunDir(tmp_path / "abcd1234")], about, tmp_path))
    assert slurm.submit(script) == "12"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert {"--job-name=seg-name", "--account=lab", "--comment=two words", "--requeue"} <= set(asked)
    assert asked[asked.index("-q") + 1] == "high"
    assert not {"#", "why", "--hold"} & set(asked)
    assert asked[-1] == str(script)
    told = {line for line in (tmp_path / "told").read_text().splitlines() if line.startswith("SBATCH_")}
    assert told == {"SBATCH_RESERVATION=x"}, "it would wait for the job's end, or submit it elsewhere"
