"""The questions, the most valuable first."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.recipes import RECIPES, get_recipe

Answers = Sequence[Mapping[str, Any]]

EAGER = ("runtime.compile=off", "runtime.graph=off")
MODES: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("as it runs", (), 60.0),
    ("graph", ("runtime.compile=off", "runtime.graph=on"), 60.0),
    ("compiled", ("runtime.compile=on",), 170.0),
    ("fp16", (*EAGER, "precision=fp16"), 60.0),
)
"""Ways to run a step beside eager: name, changes and the most seconds that it may take."""


@dataclass(frozen=True)
class Setting:
    """Where the questions are asked: a folder to work in, CamVid if it is at hand, and whether it is a
    rehearsal on the null CUDA, in which each kind of question is asked once, as small as it can be."""

    scratch: Path
    camvid: Path | None
    rehearsed: bool


@dataclass(frozen=True)
class Question:
    """A module with arguments, which may depend on the answers so far; `needs` says what is missing here."""

    name: str
    about: str
    command: Callable[[Answers], list[str]]
    least_seconds: float = 10.0
    most_seconds: float = 60.0
    needs: str = ""


def questions(setting: Setting) -> Iterator[Question]:
    yield Question(
        "ceilings", "how fast the device multiplies matrices and copies", _module("ceilings"), 5.0, 30.0
    )
    recipes = ["quick"] if setting.rehearsed else different_steps()
    for recipe in recipes:
        yield _steps(setting, recipe, "eager", EAGER, 60.0)
    yield _flow(setting, "trains", "a run and its evaluation by the command line, fed from the cache", 90.0)
    yield _flow(setting, "resumes", "a run stopped and resumed ends with the bits of one that was not", 120.0)
    yield _flow(setting, "memory", "a batch that does not fit is told what fits, and that trains", 150.0)
    for mode, changes, limit in MODES[:1] if setting.rehearsed else MODES:
        for recipe in recipes:
            yield _steps(setting, recipe, mode, changes, limit)
    yield _flow(setting, "full-size", "evaluation and OOD detection at 1024x2048", 150.0)
    yield _peers(setting)
    yield Question(
        "profile", "the slowest recipe's step by kind of work", _profile_of_the_slowest, 20.0, 90.0
    )
    yield _flow(
        setting,
        "camvid",
        "CamVid by paper-modern-unet, over its full schedule",
        600.0,
        needs="" if setting.camvid else "CamVid is not here; --camvid names its folder",
    )


def different_steps() -> list[str]:
    """The recipes without those whose step is that of one before, such as that of a network which differs in
    its initial weights."""
    names: dict[str, str] = {}
    for name in RECIPES:
        config = get_recipe(name)
        parts = (
            config.model,
            config.optimizer,
            config.loss,
            config.augment,
            config.runtime,
            config.precision,
        )
        step = repr((config.task, config.data.size, config.batch_size, *parts))
        names.setdefault(step, name)
    return list(names.values())


def _module(name: str, *arguments: str) -> Callable[[Answers], list[str]]:
    return lambda answers: [f"benchmarks.gpu.{name}", *arguments]


def _steps(
    setting: Setting, recipe: str, mode: str, changes: tuple[str, ...], most_seconds: float
) -> Question:
    size = ("--steps", "2", "--epochs", "1") if setting.rehearsed else ()
    return Question(
        f"step of {recipe}, {mode}",
        f"time, memory and host waits of a step ({' '.join(changes) or 'no changes'})",
        _module("steps", recipe, *size, *changes),
        most_seconds=most_seconds,
    )


def _flow(setting: Setting, name: str, about: str, most_seconds: float, needs: str = "") -> Question:
    arguments = ["--scratch", str(setting.scratch), *(["--small"] if setting.rehearsed else [])]
    if setting.camvid:
        arguments += ["--camvid", str(setting.camvid.absolute())]
    return Question(name, about, _module("flows", name, *arguments), 20.0, most_seconds, needs)


def _peers(setting: Setting) -> Question:
    missing = [name for name in ("lightning", "torchmetrics") if importlib.util.find_spec(name) is None]
    needs = f'{" and ".join(missing)} not installed: pip install "seg-engine[peers]"' if missing else ""
    if setting.rehearsed and not needs:
        needs = "the peers' times on the null CUDA mean nothing"
    return Question(
        "peers",
        "the engine against a plain script and Lightning",
        _module("peers", str(setting.scratch)),
        60.0,
        240.0,
        needs,
    )


def _profile_of_the_slowest(answers: Answers) -> list[str]:
    rates = {a["recipe"]: a["share_of_ceiling"] for a in answers if "share_of_ceiling" in a}
    slowest = min(rates, key=lambda recipe: rates[recipe], default="paper-unet")
    return ["benchmarks.gpu.profile", slowest]
