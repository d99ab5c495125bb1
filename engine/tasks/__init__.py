"""Tasks: what a run does. Each is told by a descriptor, here or in a plugin; `Task` says what is in one."""

from __future__ import annotations

from engine.tasks.registry import TASKS, USUAL, learns_classes
from engine.tasks.task import LearningTask, NetworkTask, Outcome, Task, epochs_done

__all__ = [
    "TASKS",
    "USUAL",
    "LearningTask",
    "NetworkTask",
    "Outcome",
    "Task",
    "epochs_done",
    "learns_classes",
    "register",
]

register = TASKS.register
