"""The task `imported`: what another program recorded of a run of its own. Nothing of it can run here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from engine.errors import EngineError
from engine.tasks.task import LearningTask, WholeRun
from engine.typed import typed

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from engine.data.checks import Known, Log
    from engine.run.directory import RunDir
    from engine.worker.job import Job

_WHY = "an imported run has records only, and nothing that could run"


class NothingToRun(EngineError):
    """Only the records of a run are here."""


def refuse_work(job: Job) -> NoReturn:
    raise NothingToRun(_WHY)


def refuse_check(config: RunConfig, known: Known, log: Log) -> NoReturn:
    raise NothingToRun(_WHY)


def refuse_again(config: RunConfig, run: RunDir) -> NoReturn:
    raise NothingToRun(_WHY)


class Imported(LearningTask):
    name = "imported"
    does = "records of another program's run"
    section = "imported"
    worker = "engine.tasks.imported:refuse_work"
    data_check = "engine.tasks.imported:refuse_check"
    data_finder = "engine.tasks.imported:refuse_again"
    tabs = ("curves", "classes", "results")

    def check_config(self, config: RunConfig) -> None:
        if config.imported is None:
            raise ValueError(
                f"task: imported is for records; use `{typed('db', 'import', 'DIR', '--from', 'WHAT')}`"
            )

    def next_commands(self, run: str, checkpoints: bool, pictures: bool) -> list[str]:
        return [typed("compare", run, "OTHER")]

    def without_pictures(self, run: WholeRun) -> str:
        return f"{run.id} ({run.name}) was imported: only its numbers are here."
