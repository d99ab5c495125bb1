"""What a run asks a Slurm cluster for."""

from __future__ import annotations

import re
import shlex
from typing import Annotated

from pydantic import AfterValidator

from engine.components.stored import is_reading_stored
from engine.config.fields import Section, option


def _options(text: str) -> str:
    """The parts of `slurm.extra`, one after the other with one way to separate them."""
    parts = [part.strip() for part in re.split(r"[;\n]", text)]
    return "; ".join(part for part in parts if part)


Extra = Annotated[str, AfterValidator(_options)]
NOT_FOR_EXTRA = {"-J": "--job-name", "-a": "--array", "-M": "--clusters", "-W": "--wait"}
"""Options of sbatch with which a job would not be found again, or would not be let go of."""

SIGNAL_IS_EARLY = 60
"""Slurm may send a signal so many seconds sooner than asked (sbatch.html, --signal)."""

WORD = r"^[A-Za-z0-9_.,:@+-]*$"
SLURM_TIME = r"^$|^\d+$|^\d+:\d\d$|^\d+:\d\d:\d\d$|^\d+-\d+(:\d\d){0,2}$"


class SlurmConfig(Section):
    """What a job of executor=slurm asks the cluster for; what is left empty is the cluster's own default."""

    partition: str = option(
        "", "Partition, or several separated by commas", form="a name", commas=True, pattern=WORD
    )
    account: str = option("", "Account to charge", form="a name", pattern=WORD)
    time: str = option(
        "",
        "Time limit of a job",
        form="Slurm's MINUTES, HOURS:MM:SS, DAYS-HOURS or empty",
        pattern=SLURM_TIME,
    )
    nodes: int = option(
        1,
        "Nodes per job; `slurm.gpus`, `slurm.cpus` and `devices` are those of each",
        ge=1,
        le=1024,
    )
    gpus: int = option(0, "GPUs per node; 0: none", ge=0, le=1024)
    cpus: int = option(0, "CPU cores per node; 0: the cluster's default", ge=0, le=4096)
    signal_seconds: int = option(
        120,
        "How long before the end of slurm.time the run has to save; it is then queued again",
        unit="seconds",
        ge=10,
        le=65535,
    )
    extra: Extra = option(
        "",
        "More options of sbatch (--constraint=a100), and lines of shell to run first (module load cuda); "
        "each but the last ends with a semicolon",
        commas=True,
    )
    dry_run: bool = option(False, "Print the job script and create nothing")

    @property
    def lines(self) -> tuple[str, ...]:
        """What `extra` holds, one by one."""
        return tuple(self.extra.split("; ")) if self.extra else ()

    @property
    def seconds(self) -> int:
        """`time` in seconds; 0 is no limit, or the cluster's own."""
        days, dash, rest = self.time.rpartition("-")
        parts = [int(part) for part in rest.split(":") if part]
        units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
        return 86_400 * int(days or 0) + sum(unit * part for unit, part in zip(units, parts, strict=False))

    def problem(self, is_job: bool, device: str, devices: str) -> str:
        """Why a run with these keys of RunConfig gets no job that it could use, the key first; "" where it
        does, and where it is no job."""
        if not is_job:
            return "slurm.dry_run: needs executor=slurm" if self.dry_run else ""
        if not is_reading_stored() and (problem := self._problem_of_time() or self._problem_of_extra()):
            return problem
        if device.startswith("cuda:"):
            return f"device: {device} is chosen by Slurm; with executor=slurm it must be cuda"
        if device == "cuda" and self.gpus == 0:
            return "slurm.gpus: 0 does not work with device=cuda; it must be at least 1"
        if device != "cpu" and devices != "auto" and int(devices) > self.gpus > 0:
            told = f"devices: {devices} are more than slurm.gpus={self.gpus}"
            return f"{told}; devices=auto uses what the job gets"
        return ""

    def _problem_of_time(self) -> str:
        shortest = self.signal_seconds + SIGNAL_IS_EARLY
        if not 0 < self.seconds < shortest:
            return ""
        return (
            f"slurm.time: {self.time} is too short for slurm.signal_seconds={self.signal_seconds}: the run "
            f"would save and be queued again before it has begun; it must be {shortest} s or more"
        )

    def _problem_of_extra(self) -> str:
        for line in self.lines:
            try:
                words = shlex.split(line, comments=True) if line.startswith("-") else []
            except ValueError as error:
                return f"slurm.extra: {line}: {error}"
            for word in words:
                if word[:2] in NOT_FOR_EXTRA or word.partition("=")[0] in NOT_FOR_EXTRA.values():
                    told = f"slurm.extra: {word} is for the agent"
                    return f"{told}, which has to find its jobs again; leave it out"
        return ""
