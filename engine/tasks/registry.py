"""The tasks by name: those built in, and those of plugins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from engine.tasks.average import Average
from engine.tasks.crf_search import CrfSearch
from engine.tasks.evaluate import Evaluate
from engine.tasks.generalise import Generalise
from engine.tasks.imported import Imported
from engine.tasks.latency import Latency
from engine.tasks.ood import Ood
from engine.tasks.predict import Predict
from engine.tasks.pretrain import Pretrain
from engine.tasks.robustness import Robustness
from engine.tasks.task import LearningTask, Task, WholeRun
from engine.tasks.train import Train

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

    from engine.components.origin import Origin
    from engine.components.registry import Described

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
"""What a task can be called: a config, a command and a cell of a table hold it as it is."""

T = TypeVar("T", bound=type[LearningTask])


class UnknownTask(LearningTask):
    """The task of a run whose plugin is not loaded: it lists, shows and compares by what it has recorded."""

    does = "a task that is not here"
    tabs = ("curves", "classes", "results")

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    def without_pictures(self, run: WholeRun) -> str:
        return f"{run.id} ({run.name}) has no gallery; its task, {self.name}, is not here."


class TaskRegistry:
    """Descriptors by name. As the metadata of a config field it makes the field accept their names."""

    group = "seg_engine.tasks"

    def __init__(self, built_in: Iterable[Task]) -> None:
        self._tasks = {task.name: task for task in built_in}
        self._origins: dict[str, Origin] = {}
        self._broken: dict[str, str] = {}
        self._listeners: list[Callable[[], object]] = []

    def __getitem__(self, name: str) -> Task:
        return self._tasks.get(name) or UnknownTask(name)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def names(self) -> tuple[str, ...]:
        return tuple(self._tasks)

    def is_built_in(self, name: str) -> bool:
        return name in self and name not in self._origins

    def register(self, task: T) -> T:
        """Make the task of a plugin or a package known; used as a decorator.

        Raises ComponentError when its name is taken or it is no descriptor of a task that learns.
        """
        from engine.components.origin import ComponentError, current_origin
        from engine.components.registry import check_methods

        where = task.__qualname__
        if not issubclass(task, LearningTask):
            raise ComponentError(f"{where}: a task derives from LearningTask")
        name = getattr(task, "name", "")
        if not NAME.fullmatch(name):
            raise ComponentError(f'{where}: needs a name of small letters, such as name = "mine"')
        if not getattr(task, "does", ""):
            raise ComponentError(f'{where}: needs a line of help, such as does = "learn colours"')
        check_methods(where, task, LearningTask)
        check_methods(where, task, Task)
        origin = current_origin()
        if name in self and self._origins.get(name) != origin:
            taker = self._origins.get(name, "seg-engine")
            raise ComponentError(f"task {name}: {origin} offers a name that {taker} has taken")
        self._tasks[name], self._origins[name] = task(), origin
        for listener in self._listeners:
            listener()
        return task

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` after each registration from now on."""
        self._listeners.append(listener)

    def load_installed(self) -> None:
        """Register what installed packages offer. One that fails is set aside with its reason."""
        from engine.components.outside import load_entry_points

        load_entry_points(self.group, self._broken)

    def described(self) -> list[Described]:
        """Every task, and those that packages offer and cannot be used."""
        from engine.components.origin import BUILT_IN
        from engine.components.registry import Described

        known = [
            Described("task", task.name, str(self._origins.get(task.name, BUILT_IN)), task.does)
            for task in self
        ]
        return known + [Described("task", name, "", "", why) for name, why in self._broken.items()]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        from engine.components.stored import is_reading_stored

        def of_a_run(value: Any, known: core_schema.ValidatorFunctionWrapHandler) -> Any:
            is_name = isinstance(value, str) and NAME.fullmatch(value) is not None
            return value if is_reading_stored() and is_name else known(value)

        names = core_schema.literal_schema(list(self._tasks))
        return core_schema.no_info_wrap_validator_function(of_a_run, names)


TASKS = TaskRegistry(
    (
        *(Train(), Pretrain(), Average(), Evaluate(), Predict(), Ood(), Robustness(), Generalise()),
        *(CrfSearch(), Latency(), Imported()),
    )
)


def learns_classes(task: str, classes: Sequence[str]) -> bool:
    """Whether a run of these classes makes a network that tells them apart, which others can look at.

    A task that is not built in may not be here when this is asked: what its data says counts.
    """
    return TASKS[task].learns_classes if TASKS.is_built_in(task) else bool(classes)


USUAL = Train.name
"""The task that goes without saying: of most runs, and of a config that names none."""
