"""Components: what a config names and other people may add. A component's config section is its registration.

A registry holds the sections of one kind, told apart by their `name`. Built-in sections are registered when
their module is imported; installed packages name theirs as entry points; a single file is loaded by
`load_plugin`. Nothing here, and no module that registers a section, imports torch: a section imports what it
needs in its `build`.
"""

from __future__ import annotations

import abc
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from engine.config.fields import Section, option
from engine.errors import EngineError

__all__ = ["ComponentError", "PartRegistry", "Registry", "Section", "option"]


class ComponentError(EngineError, ValueError):
    """A component that cannot be used; the message is one line that names its file where there is one."""


@dataclass(frozen=True)
class Origin:
    """Where a component comes from: seg-engine itself, an installed package, or a single file.

    `source` is empty, "NAME VERSION" of the package, or the absolute path of the file, whose checksum is
    `sha256`.
    """

    kind: Literal["built-in", "package", "file"]
    source: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        return self.source or "seg-engine"


BUILT_IN = Origin("built-in")

_origin = BUILT_IN
"""The origin of whatever is being registered now. Registration happens while a module is imported, and Python
imports one module at a time."""


_reading_stored: ContextVar[bool] = ContextVar("reading_stored", default=False)


@contextmanager
def reading_stored() -> Iterator[None]:
    """Within it a config is that of a run that exists: components that are not here any more are kept as they
    are written, so that the run still lists, shows and compares."""
    token = _reading_stored.set(True)
    try:
        yield
    finally:
        _reading_stored.reset(token)


def is_reading_stored() -> bool:
    """Whether a config that is read now is that of a run that exists."""
    return _reading_stored.get()


def current_origin() -> Origin:
    """Where what is registered now comes from."""
    return _origin


@contextmanager
def registering(origin: Origin) -> Iterator[None]:
    global _origin
    before, _origin = _origin, origin
    try:
        yield
    finally:
        _origin = before


def _origin_of(registered: type | Callable[..., Any]) -> Origin:
    """The engine's own modules may be imported for the first time by code from outside."""
    return BUILT_IN if registered.__module__.partition(".")[0] == "engine" else _origin


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
            raise ComponentError(f"{self.kind} {name!r}: no name for one; it must be of {allowed}")
        origin = _origin_of(made_by)
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
            if name not in self.choices() and not _reading_stored.get():
                raise ValueError(f"there is no {self.kind} called {name!r}")
            return name

        return core_schema.no_info_after_validator_function(check, handler(source))


S = TypeVar("S", bound=Section)


class Registry(Components, Generic[S]):
    """The sections of one kind of component by their `name`.

    As the metadata of a config field, `Annotated[ModelSection, MODELS]`, it makes the field accept a table of
    any registered section; a table without a name is of the `default` one. `unknown` takes the table of a
    stored config whose section is not registered.
    """

    def __init__(self, kind: str, group: str, base: type[S], default: str, unknown: type[S]) -> None:
        super().__init__(kind, group)
        self.base, self.default, self.unknown = base, default, unknown
        self._sections: dict[str, type[S]] = {}
        self._origins: dict[str, Origin] = {}

    def register(self, section: type[S]) -> type[S]:
        """Make a section known; used as a decorator.

        Raises ComponentError when it breaks the contract of a section, or when its name is taken.
        """
        name, origin = self._checked_name(section), _origin_of(section)
        self._take(name, self._origins.get(name), origin)
        self._sections[name], self._origins[name] = section, origin
        self._changed()
        return section

    def sections(self) -> Mapping[str, type[S]]:
        """Every section by name: the default one, then the others in alphabetical order."""
        names = sorted(self._sections, key=lambda name: (name != self.default, name))
        return {name: self._sections[name] for name in names}

    def former_keys(self, table: Mapping[str, Any]) -> list[str]:
        """The keys of a section's table that earlier versions wrote and that have no effect."""
        name = table.get("name", self.default)
        section = self._sections.get(name) if isinstance(name, str) else None
        return [key for key in table if section is not None and key in section.former_keys]

    def is_built_in(self, name: str) -> bool:
        return self._origins.get(name) == BUILT_IN

    def origin(self, name: str) -> Origin:
        return self._origins[name]

    def known(self) -> list[Described]:
        return [
            Described(self.kind, name, str(self.origin(name)), first_line(section))
            for name, section in self.sections().items()
        ]

    def _checked_name(self, section: type[S]) -> str:
        where = f"{section.__module__}.{section.__qualname__}"
        if not issubclass(section, self.base):
            raise ComponentError(f"{where}: a {self.kind}'s section derives from {self.base.__name__}")
        field = section.model_fields.get("name")
        names = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
        if field is None or names != (field.default,):
            example = f'name: Literal["mine"] = option("mine", "{self.kind.title()}")'
            raise ComponentError(f"{where}: needs a field such as {example}")
        check_keys(where, section)
        return str(names[0])

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: _schema(section, handler) for name, section in self._sections.items()}
        choices[_UNKNOWN] = handler.generate_schema(self.unknown)
        return core_schema.tagged_union_schema(choices, discriminator=self._name_in)

    def _name_in(self, value: Any) -> Any:
        if isinstance(value, self.unknown):
            return _UNKNOWN
        name = value.get("name", self.default) if isinstance(value, dict) else getattr(value, "name", None)
        return _UNKNOWN if _reading_stored.get() and name not in self._sections else name


def _schema(section: type[Section], handler: GetCoreSchemaHandler) -> CoreSchema:
    """The schema of a section. Its former keys are left out of the config of a run that exists."""
    schema = handler.generate_schema(section)
    if not section.former_keys:
        return schema

    def without_former_keys(value: Any) -> Any:
        if not _reading_stored.get() or not isinstance(value, Mapping):
            return value
        return {key: given for key, given in value.items() if key not in section.former_keys}

    return core_schema.no_info_before_validator_function(without_former_keys, schema)


_KNOWN, _UNKNOWN = "(known)", "(unknown)"


B = TypeVar("B", bound=Callable[..., Any])


@dataclass(frozen=True)
class Part(Generic[B]):
    """One of several components that are used together: the section of its keys, and its builder."""

    name: str
    keys: type[Section]
    build: B
    order: int
    origin: Origin


class PartRegistry(Components, Generic[B]):
    """Components that are used together, such as losses that add up: their keys make up one flat section.

    As the metadata of a config field, `Annotated[LossSection, LOSSES]`, it makes the field accept the keys of
    all of them. `base` is what the section derives from; it may have keys and checks of its own.
    """

    def __init__(self, kind: str, group: str, base: type[Section]) -> None:
        super().__init__(kind, group)
        self.base = base
        self._parts: dict[str, Part[B]] = {}
        self._section: type[Section] | None = None

    def register(self, keys: type[Section], order: int = 0) -> Callable[[B], B]:
        """Make a component known by the name of the function that builds it; used as a decorator.

        Parts are used by rising `order`, equal ones in the order of registration. Raises ComponentError when
        the name or a key is taken, or when a key lacks its help or its default.
        """

        def decorate(build: B) -> B:
            name = build.__name__
            where = f"{build.__module__}.{name}"
            check_keys(where, keys)
            self._take_part(name, keys, _origin_of(build))
            self._parts[name] = Part(name, keys, build, order, _origin_of(build))
            self._section = None
            self._changed()
            return build

        return decorate

    def parts(self) -> Mapping[str, Part[B]]:
        """Every component by name, in the order in which they are used."""
        ranked = sorted(self._parts.values(), key=lambda part: part.order)
        return {part.name: part for part in ranked}

    def section(self) -> type[Section]:
        """The section with the keys of all components."""
        if self._section is None:
            bases = tuple(part.keys for part in reversed(list(self.parts().values())))
            if not any(issubclass(keys, self.base) for keys in bases):
                bases = (self.base, *bases)  # fields of the first base come last
            self._section = type(self.base.__name__, bases, {"__doc__": self.base.__doc__})
        return self._section

    def known(self) -> list[Described]:
        return [
            Described(self.kind, name, str(part.origin), first_line(part.build) or _first_help(part.keys))
            for name, part in self.parts().items()
        ]

    def is_built_in(self, key: str) -> bool:
        """Whether a key of the section is the engine's own."""
        own = (part.keys for part in self._parts.values() if part.origin == BUILT_IN)
        return any(key in keys.model_fields for keys in (self.base, *own))

    def new(self, **values: Any) -> Any:
        """An instance of the section."""
        return self.section()(**values)

    def _take_part(self, name: str, keys: type[Section], origin: Origin) -> None:
        """Make sure of a name and keys. Raises ComponentError when another part has them."""
        base = sorted(keys.model_fields.keys() & self.base.model_fields.keys())
        if base:
            raise ComponentError(
                f"{self.kind} {name}: {origin} offers a key {base[0]} that every {self.kind} shares"
            )
        for part in list(self._parts.values()):
            shared = sorted(keys.model_fields.keys() & part.keys.model_fields.keys())
            if part.name != name and not shared:
                continue
            what = f"key {shared[0]}" if shared else "name"
            if origin == BUILT_IN != part.origin:  # a package whose turn came first
                del self._parts[part.name]
                self._broken[part.name] = f"{part.origin}: offers a {what} that seg-engine has taken"
            else:
                taker = f"{part.name} of {part.origin}"
                raise ComponentError(f"{self.kind} {name}: {origin} offers a {what} that {taker} has taken")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        section = self.section()
        keeping = type(section.__name__, (section,), {"model_config": ConfigDict(extra="allow")})
        choices = {_KNOWN: handler.generate_schema(section), _UNKNOWN: handler.generate_schema(keeping)}

        def choose(value: Any) -> str:
            if isinstance(value, Mapping):
                strange = _reading_stored.get() and not value.keys() <= section.model_fields.keys()
            else:
                strange = isinstance(value, keeping)
            return _UNKNOWN if strange else _KNOWN

        return core_schema.tagged_union_schema(choices, discriminator=choose)


def check_keys(where: str, section: type[Section]) -> None:
    """Raise ComponentError unless each key of a section has a default and a line of help."""
    for key, about in section.model_fields.items():
        if not about.description:
            raise ComponentError(f"{where}.{key}: needs a line of help, as in option(DEFAULT, HELP)")
        if about.is_required():
            raise ComponentError(f"{where}.{key}: needs a default")


def first_line(described: object) -> str:
    """The first line of a docstring; empty without one of its own."""
    text = getattr(described, "__doc__", None) or ""
    return text.strip().split("\n")[0]


def _first_help(section: type[Section]) -> str:
    return next((about.description or "" for about in section.model_fields.values()), "")


def load_entry_points(group: str, broken: dict[str, str]) -> None:
    """Import what installed packages offer in a group; what fails goes into `broken` with its reason."""
    for entry in _offered().select(group=group):
        origin = Origin("package", _distribution(entry))
        _packages.add(entry.module.partition(".")[0])
        try:
            with registering(origin):
                entry.load()
        except (Exception, SystemExit) as error:
            place = place_in(error, outside_code())
            broken[entry.name] = ": ".join(filter(None, (str(origin), place, one_line(error))))


_packages: set[str] = set()
"""The packages of other people that offer components."""


def outside_code() -> list[Path]:
    """The folders of installed packages that offer components, and the files of single modules."""
    places: list[str] = []
    for name in sorted(_packages):
        with suppress(ImportError, ValueError):
            spec = find_spec(name)
            places += (spec.submodule_search_locations or [spec.origin or ""]) if spec is not None else ()
    return [Path(place) for place in places if place]


def place_in(error: BaseException | None, code: Collection[Path]) -> str:
    """FILE:LINE of the last line in these files and folders that took part in an error; "" when none did."""
    led_to_it: set[int] = set()
    while error is not None and id(error) not in led_to_it:
        led_to_it.add(id(error))
        if isinstance(error, SyntaxError) and error.filename and _is_in(error.filename, code):
            return f"{error.filename}:{error.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if _is_in(frame.filename, code):
                return f"{frame.filename}:{frame.lineno}"
        error = error.__cause__ or error.__context__
    return ""


def _is_in(file: str, code: Collection[Path]) -> bool:
    return any(place in code for place in (Path(file), *Path(file).parents))


@cache
def _offered() -> Any:
    """The entry points of all installed packages, which are read for several groups at each start; their type
    depends on Python's version."""
    return entry_points()


def one_line(error: BaseException) -> str:
    """An error's own words on one line; its type where the words alone would say little."""
    words = " ".join(str(error).split())
    if isinstance(error, ComponentError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
