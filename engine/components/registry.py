"""What the registries of all kinds have, and the registry of components that have no keys of their own."""

from __future__ import annotations

import abc
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from engine.components.origin import BUILT_IN, ComponentError, Origin, origin_of
from engine.components.outside import load_entry_points
from engine.components.stored import is_reading_stored
from engine.config.fields import Section


@dataclass(frozen=True)
class Described:
    """A component as it is listed. `problem` says why one that a package offers cannot be used."""

    kind: str
    name: str
    origin: str
    help: str
    problem: str = ""


class Components(abc.ABC):
    """What the registries of all kinds have: `kind` as people call it, and the `group` of entry points with
    which installed packages offer theirs."""

    def __init__(self, kind: str, group: str) -> None:
        self.kind, self.group = kind, group
        self._broken: dict[str, str] = {}
        self._listeners: list[Callable[[], object]] = []

    @abc.abstractmethod
    def known(self) -> list[Described]:
        """Every component that can be used."""

    def described(self) -> list[Described]:
        """Every component, and those that packages offer and cannot be used."""
        broken = [Described(self.kind, name, "", "", problem) for name, problem in self._broken.items()]
        return self.known() + broken

    def broken(self) -> Mapping[str, str]:
        """Entry points that could not be loaded: name -> why, in one line."""
        return self._broken

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` after each registration from now on."""
        self._listeners.append(listener)

    def load_installed(self) -> None:
        """Register what installed packages offer. One that fails is set aside with its reason."""
        load_entry_points(self.group, self._broken)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _take(self, name: str, taken: Origin | None, origin: Origin) -> None:
        """Make sure of a name. Raises ComponentError when another origin has it; what is built in keeps its
        names, whoever registers first, and a file that is loaded again has its own."""
        if taken is not None and origin == BUILT_IN != taken:  # a package whose turn came first
            self._broken[name] = f"{taken}: offers a name that seg-engine has taken"
        elif taken is not None and (taken == BUILT_IN or taken != origin):
            raise ComponentError(f"{self.kind} {name}: {origin} offers a name that {taken} has taken")


T = TypeVar("T")


class NamedRegistry(Components, Generic[T]):
    """Components without keys of their own, by name.

    As the metadata of a config field, `Annotated[str, LAYOUTS]`, it makes the field a choice among their
    names and the words of `beside`.
    """

    def __init__(self, kind: str, group: str, beside: tuple[str, ...] = ()) -> None:
        super().__init__(kind, group)
        self.beside = beside
        self._named: dict[str, T] = {}
        self._origins: dict[str, Origin] = {}

    def add(self, name: str, component: T, made_by: type | Callable[..., Any]) -> None:
        """Make a component known, which a class or a function makes. Raises ComponentError when its name is
        no name, or taken."""
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or name in self.beside:
            allowed = "small letters, digits and _, at most 50, a letter first"
            raise ComponentError(f"{self.kind} {name!r}: is not a usable name; it must be made of {allowed}")
        origin = origin_of(made_by)
        self._take(name, self._origins.get(name), origin)
        self._named[name], self._origins[name] = component, origin
        self._changed()

    def __getitem__(self, name: str) -> T:
        return self._named[name]

    def all(self) -> Mapping[str, T]:
        """Every component by name: the built-in ones as they were registered, then the others by name."""
        own = [name for name in self._named if self._origins[name] == BUILT_IN]
        return {name: self._named[name] for name in (*own, *sorted(self._named.keys() - set(own)))}

    def origin(self, name: str) -> Origin:
        return self._origins[name]

    def choices(self) -> tuple[str, ...]:
        """The words that the field of a config takes."""
        return (*self.beside, *self.all())

    def known(self) -> list[Described]:
        return [
            Described(
                self.kind,
                name,
                str(self.origin(name)),
                getattr(component, "help", "") or first_line(component),
            )
            for name, component in self.all().items()
        ]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(name: str) -> str:
            if name not in self.choices() and not is_reading_stored():
                raise ValueError(f"there is no {self.kind} called {name!r}")
            return name

        return core_schema.no_info_after_validator_function(check, handler(source))


def check_keys(where: str, section: type[Section]) -> None:
    """Raise ComponentError unless each key of a section has a default, which is that of old and new runs, and
    a line of help."""
    for key, about in section.model_fields.items():
        if not about.description:
            raise ComponentError(f"{where}.{key}: needs a line of help, as in option(DEFAULT, HELP)")
        if about.is_required():
            raise ComponentError(f"{where}.{key}: needs a default")
        if isinstance(about.json_schema_extra, dict) and about.json_schema_extra.get("new") is not None:
            raise ComponentError(f"{where}.{key}: a component's key has one default; `new` must go")


def check_arguments(where: str, function: Callable[..., Any], arguments: Iterable[str]) -> None:
    """Raise ComponentError unless a function can be called with so many arguments, in that order."""
    arguments = list(arguments)
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        raise ComponentError(f"{where}: must take the arguments ({', '.join(arguments)})") from None
    except ValueError:  # Python does not know its arguments
        return


def check_methods(where: str, component: type, base: type) -> None:
    """Raise ComponentError where a class takes other arguments in a method of its base: those of the base
    that have no default must do."""
    for name, method in vars(base).items():
        own = inspect.getattr_static(component, name)
        if inspect.isfunction(method) and inspect.isfunction(own) and own is not method:
            needed = inspect.signature(method).parameters.values()
            arguments = [each.name for each in needed if each.default is inspect.Parameter.empty]
            check_arguments(f"{where}.{name}", own, arguments)


def first_line(described: object) -> str:
    """The first line of a docstring; empty without one of its own."""
    text = getattr(described, "__doc__", None) or ""
    return text.strip().split("\n")[0]
