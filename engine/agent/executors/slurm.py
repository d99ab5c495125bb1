"""The Slurm executor: a worker is a job of a cluster, started, watched and ended by Slurm's own commands.

https://slurm.schedmd.com/sbatch.html, squeue.html, scancel.html and sacct.html say what their options mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import secrets
import shlex
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.agent.executors.local import environment_of_workers
from engine.config.slurm import SlurmConfig
from engine.errors import EngineError
from engine.host.processes import SAFE_PATH_VARIABLE, command_line, living_pids, python_command, shown
from engine.run.directory import ID_ALPHABET, RunDir

NAME_PREFIX = "seg-"
SALT_LENGTH = 8
LARGEST_ARRAY = 1000
"""Jobs in one array; a cluster that is not told otherwise takes 1001. One that takes less refuses it."""

ALIVE = {
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"),
    *("STAGE_OUT", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
}
"""States of a job that has not ended for good."""

WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}

COMMAND_SECONDS = 60.0

_FIELDS = ("JobArrayID", "State", "RestartCnt", "ReasonList", "Name")
"""The name last: a job of another program may have any, with bars and line breaks in it."""


class SlurmError(EngineError):
    """Slurm cannot be asked, or refuses; the message is one line. `passing`: a later try may do. `too_many`:
    nothing was submitted, and fewer jobs at once may be taken now."""

    def __init__(self, message: str, passing: bool = True, too_many: bool = False) -> None:
        super().__init__(message)
        self.passing, self.too_many = passing, too_many


@dataclass(frozen=True)
class SlurmJob:
    """A job as squeue has it. `id` is what scancel takes, such as 12 or, in an array, 12_3."""

    id: str
    name: str
    state: str
    restarts: int
    reason: str

    @property
    def alive(self) -> bool:
        return self.state in ALIVE

    @property
    def waiting(self) -> bool:
        """Whether it is in Slurm's queue, for the first time or again."""
        return self.state in WAITING

    @property
    def task(self) -> int:
        """Its place in its array; 0 outside of one."""
        place = self.id.partition("_")[2]
        return int(place) if place.isdecimal() else 0


def new_name(runs: Sequence[RunDir]) -> str:
    """A name for the job or array of these runs, by which it is known again.

    Slurm keeps it, and nobody else can change it there; so it vouches for the script, which others might.
    """
    salt = "".join(secrets.choice(ID_ALPHABET) for _ in range(SALT_LENGTH))
    return NAME_PREFIX + salt + _digest(salt, str(runs[0].path.parent), [run.id for run in runs])


def runs_of(name: str, script: str, folder: Path) -> list[str]:
    """The runs in `folder` that the jobs of a name are for, in the order of their array.

    None when `script` is not what the name was made for, so that it cannot take a stranger's job for a run's,
    and none when it is for the runs of another folder, such as the one that this is a copy of.
    """
    ids = next((line.split()[2:] for line in script.splitlines() if line.startswith("set -- ")), [])
    words = next((line for line in script.splitlines() if line.startswith("run=")), "")
    try:
        place = shlex.split(words.removeprefix("run="))[0].removesuffix("/$1")
    except (ValueError, IndexError):
        return []
    known = name.removeprefix(NAME_PREFIX)
    salt, digest = known[:SALT_LENGTH], known[SALT_LENGTH:]
    if digest and digest != _digest(salt, place, ids):  # a job of version 0.1 has none
        return []
    with contextlib.suppress(OSError, ValueError):  # another login node may have it mounted elsewhere
        if not os.path.samefile(place, folder):
            return []
    return ids


def _digest(salt: str, folder: str, ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([salt, folder, *ids]).encode()).hexdigest()[:20]


def is_job(number: object) -> bool:
    """Whether something is the number of a job, or of one in an array."""
    return isinstance(number, str) and re.fullmatch(r"[0-9]{1,12}(_[0-9]{1,9})?", number) is not None


def job_script(name: str, runs: Sequence[RunDir], about: SlurmConfig, cache_dir: Path) -> str:
    """What sbatch is given: a job for each of the runs, which want the same of the cluster.

    The worker takes the script's place, so that a signal to the batch job is one to the worker. Nothing is
    read but the run's own folder, the data and the cache.
    """
    options = {
        "job-name": name,
        "partition": about.partition,
        "account": about.account,
        "time": about.time,
        "gres": f"gpu:{about.gpus}" if about.gpus else "",
        "cpus-per-task": str(about.cpus) if about.cpus else "",
        "array": f"0-{len(runs) - 1}" if len(runs) > 1 else "",
        "nodes": str(about.nodes),
        # The worker, and for each other node what the worker starts there by srun.
        **({"ntasks": "1"} if about.nodes == 1 else {"ntasks-per-node": "1"}),
        "signal": f"B:USR2@{about.signal_seconds}",
        "output": "/dev/null",  # each run has its own log
        "chdir": "/",
    }
    head = [f"#SBATCH --{key}={value}" for key, value in options.items() if value]
    head += [f"#SBATCH {line}" for line in about.lines if line.startswith("-")]
    folder = runs[0].path.parent
    worker = python_command("engine.worker")
    return "\n".join(
        [
            "#!/bin/sh",
            *head,
            "#SBATCH --requeue",
            f"set -- {' '.join(run.id for run in runs)}",
            'shift "${SLURM_ARRAY_TASK_ID:-0}"',
            f'run={shlex.quote(str(folder))}/"$1"',
            'cd "$run" || exit 1',
            "exec >>log.txt 2>&1",
            f"export {SAFE_PATH_VARIABLE}=1",
            *(line for line in about.lines if not line.startswith("-")),
            f'exec {shlex.join(worker)} "$run" --cache {shlex.quote(str(cache_dir))} --preemptible',
            "",
        ]
    )


def submit(script: Path) -> str:
    """Hand a script to sbatch; returns the number of the job or array. Raises SlurmError."""
    return _ask("sbatch", "--parsable", *_options_in(script), str(script)).strip().partition(";")[0]


def _options_in(script: Path) -> list[str]:
    """The options of a script, to be given to sbatch themselves, too: of those in a script, variables such as
    SBATCH_ACCOUNT and SBATCH_JOB_NAME have their way. Raises SlurmError."""
    lines = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH ")]
    try:
        return [word for line in lines for word in shlex.split(line.removeprefix("#SBATCH "), comments=True)]
    except ValueError as error:
        raise SlurmError(f"sbatch: {script}: an option of slurm.extra: {error}", passing=False) from None


def being_submitted() -> set[str]:
    """The names of the jobs that an sbatch on this machine is submitting now, whoever has started it."""
    scripts = (Path(words[-1]) for pid in living_pids() if (words := command_line(pid)))
    return {path.stem for path in scripts if path.suffix == ".sh" and path.name.startswith(NAME_PREFIX)}


def list_jobs(users: Collection[int] = ()) -> list[SlurmJob]:
    """The jobs of this program that are this user's or of others, by their uids; those that have just ended
    among them. Raises SlurmError."""
    form = ",".join(f"{field}:120|" for field in _FIELDS)
    whose = ",".join(map(str, sorted({os.getuid(), *filter(_is_known, users)})))
    told = _ask("squeue", "--noheader", "--array", "--states=all", f"--user={whose}", "-O", form)
    jobs = []
    for line in told.split("\n"):
        fields = [part.strip() for part in line.split("|", len(_FIELDS) - 1)]
        name = fields[-1].removesuffix("|").rstrip()
        if len(fields) == len(_FIELDS) and name.startswith(NAME_PREFIX):
            job, state, restarts, reason, _ = fields
            jobs.append(SlurmJob(job, name, state, int(restarts or 0), reason))
    return jobs


def _is_known(uid: int) -> bool:
    """Whether there is such a user; for one that is gone squeue refuses the whole list."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def accounted_state(job: str) -> str:
    """How a job ended that squeue has forgotten, by the accounting; "" where there is none, and while it has
    not heard of the end."""
    try:
        told = _ask("sacct", "--noheader", "--parsable2", "-X", f"--jobs={job}", "--format=State")
    except SlurmError:
        return ""
    state = next(iter(told.split()), "")
    return "" if state in ALIVE else state


def interrupt(job: str) -> None:
    """Let the worker of a running job end its step and save. Raises SlurmError."""
    _refuse_other(job)
    _ask("scancel", "--batch", "--signal=INT", job)


def cancel(job: str) -> None:
    """End a job, or take it out of the queue. Raises SlurmError."""
    _refuse_other(job)
    _ask("scancel", job)


def _refuse_other(job: str) -> None:
    if not is_job(job):
        raise SlurmError(f"{shown(job)} is no number of a job", passing=False)


_FILTERS = ("SQUEUE_", "SCANCEL_", "SACCT_")
"""Variables of people's own looking, such as SQUEUE_PARTITION. What they leave out would count as gone."""

_NOT_OURS = {"SBATCH_WAIT", "SBATCH_CLUSTERS", "SBATCH_ARRAY_INX"}
"""With these sbatch waits for the end of the job, or makes jobs that are not looked for."""

_NO_ROOM = ("MaxSubmit", "job submit limit")
_TOO_MANY = (*_NO_ROOM, "Invalid job array specification")  # it is longer than the cluster's MaxArraySize
_PASSING = (*_NO_ROOM, "contact slurm controller", "timed out", "temporarily", "try again")


def _ask(*command: str) -> str:
    environment = {  # which sbatch hands to the job
        name: value
        for name, value in environment_of_workers().items()
        if name not in _NOT_OURS and not name.startswith(_FILTERS)
    }
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except FileNotFoundError:
        message = (
            f"{command[0]} was not found; executor=slurm needs an agent on a machine with Slurm's commands"
        )
        raise SlurmError(message, passing=False) from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer within {COMMAND_SECONDS:g} s") from None
    except OSError as error:
        raise SlurmError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout
    lines = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
    message = lines[0] if lines[0].startswith(command[0]) else f"{command[0]}: {lines[0]}"
    passing, too_many = (any(mark in done.stderr for mark in marks) for marks in (_PASSING, _TOO_MANY))
    raise SlurmError(message, passing, too_many)
