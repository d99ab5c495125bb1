"""Tasks: each descriptor tells all that a front end and a worker ask, and names functions that are there."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

from engine.components.origin import ComponentError, Origin, registering
from engine.config.described import config_keys
from engine.config.files import config_from_json
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.config.task_sections import GeneraliseConfig, OfNetworkConfig
from engine.requests.generalise import split_keys
from engine.tasks import TASKS, LearningTask, NetworkTask, Task
from engine.tasks.registry import TaskRegistry
from engine.tasks.task import named
from seg_tui.screens.run import TABS

EACH = pytest.mark.parametrize("task", list(TASKS), ids=TASKS.names())


class Distil(LearningTask):
    name = "distil"
    does = "learn what another network answers"


@EACH
def test_what_a_task_names_is_there_and_takes_what_it_is_given(task: Task) -> None:
    wanted = {
        task.worker: ["job"],
        task.data_check: ["config", "known", "log"],
        task.data_finder: ["config", "run"],
        task.objective_maker: ["config", "classes"],
    }
    for name, parameters in wanted.items():
        if name:
            assert list(inspect.signature(named(name)).parameters) == parameters, name


@EACH
def test_a_task_has_a_section_of_the_config_and_tabs_of_the_dashboard(task: Task) -> None:
    assert {*task.tabs, task.first_tab} <= TABS.keys()
    section = RunConfig.model_fields.get(task.section)
    assert (section is not None) == bool(task.section)
    if isinstance(task, NetworkTask):
        assert section is not None
        assert any(
            isinstance(kind, type) and issubclass(kind, OfNetworkConfig)
            for kind in section.annotation.__args__  # type: ignore[union-attr]
        )


def test_the_command_of_a_generalisation_makes_the_same_one() -> None:
    folders = [{"name": name, "root": f"/data/{name}"} for name in ("town", "a, b")]
    wanted = {"source": "r", "checkpoint": "c", "tta": "flip,scales", "environments": folders}
    section = GeneraliseConfig.model_validate(wanted)
    told = TASKS["generalise"]
    assert isinstance(told, NetworkTask)
    options = list(told.arguments(section.model_dump(mode="json"), "").options)
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert given["--tta"] == "flip,scales"
    roots = [str(split_keys(text)[0]) for text in options[1::2] if text.startswith("/data/")]
    assert roots == [folder["root"] for folder in folders]


@EACH
def test_a_task_that_looks_at_a_network_is_asked_for_by_its_command(task: Task) -> None:
    if not task.learns:
        with pytest.raises(ConfigError, match=re.escape(f"use `seg-engine {task.usage_of('RUN')}`")):
            with_values(RunConfig(), {"task": task.name})


def test_descriptors_start_fast() -> None:
    """Lists of runs read them, and wait neither for the models of a config nor for data or torch."""
    told = "import sys, engine.tasks; print(sorted({'pydantic', 'numpy', 'torch'} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", told], text=True).strip() == "[]"


def test_a_function_that_is_not_there_is_named() -> None:
    class Mine(LearningTask):
        worker = "engine.no_such_module:work"

    with pytest.raises(ComponentError, match=r"^engine.no_such_module:work: cannot be imported: "):
        Mine().work(None)  # type: ignore[arg-type]


def test_a_wrong_task_gets_the_nearest_right_one() -> None:
    with pytest.raises(ConfigError, match=r"task: 'evalute' is not allowed.*did you mean evaluate\?"):
        with_values(RunConfig(), {"task": "evalute"})
    assert config_keys()["task"].choices == TASKS.names()


def test_a_run_outlives_its_task() -> None:
    stored = RunConfig().model_dump_json().replace('"task":"train"', '"task":"distil"').encode()
    config = config_from_json(stored)
    assert config.missing()[0].startswith("task=distil: no such task here")
    assert config.model_dump_json().encode() == stored
    with pytest.raises(ConfigError, match="task: 'distil' is not allowed"):
        with_values(RunConfig(), {"task": "distil"})
    for hostile in (b'"two words"', b'"a\\nb"', b'"' + b"a" * 41 + b'"', b"1", b"null"):
        with pytest.raises(ConfigError, match=r"^task: .* is not allowed"):
            config_from_json(stored.replace(b'"distil"', hostile))


def test_a_plugin_registers_a_task_that_learns_under_a_name_of_its_own() -> None:
    tasks = TaskRegistry(TASKS)
    mine, other = Origin("file", "/mine.py", "1"), Origin("file", "/other.py", "2")
    with registering(mine):
        tasks.register(Distil)
        tasks.register(Distil)  # the file was read again
    assert tasks["distil"].does == Distil.does
    assert ("distil", "/mine.py") in [(one.name, one.origin) for one in tasks.described()]
    with registering(other), pytest.raises(ComponentError, match=r"a name that .*mine\.py has taken"):
        tasks.register(Distil)
    for wrong, why in (
        ({"name": "train", "does": "x"}, "a name that seg-engine has taken"),
        ({"name": "two words", "does": "x"}, "needs a name of small letters"),
        ({"name": "mine"}, "needs a line of help"),
    ):
        with registering(other), pytest.raises(ComponentError, match=why):
            tasks.register(type("Wrong", (LearningTask,), wrong))
    with pytest.raises(ComponentError, match="derives from LearningTask"):
        tasks.register(NetworkTask)  # type: ignore[type-var]
