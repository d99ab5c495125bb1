"""Components: what a config names and other people may add. A component's config section is its registration.

A registry holds the sections of one kind, told apart by their `name`. Built-in sections are registered when
their module is imported; installed packages name theirs as entry points; a single file is loaded by
`load_plugin`. Nothing here, and no module that registers a section, imports torch: a section imports what it
needs in its `build`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from engine.config_fields import Section


class ComponentError(ValueError):
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


@contextmanager
def _registering(origin: Origin) -> Iterator[None]:
    global _origin
    before, _origin = _origin, origin
    try:
        yield
    finally:
        _origin = before


S = TypeVar("S", bound=Section)


class Registry(Generic[S]):
    """The sections of one kind of component by their `name`.

    As the metadata of a config field, `Annotated[ModelSection, MODELS]`, it makes the field accept a table of
    any registered section; a table without a name is of the `default` one.
    """

    def __init__(self, kind: str, group: str, base: type[S], default: str) -> None:
        self.kind, self.group, self.base, self.default = kind, group, base, default
        self._sections: dict[str, type[S]] = {}
        self._origins: dict[str, Origin] = {}
        self._broken: dict[str, str] = {}
        self._listeners: list[Callable[[], object]] = []

    def register(self, section: type[S]) -> type[S]:
        """Make a section known; used as a decorator.

        Raises ComponentError when it breaks the contract of a section, or when its name is taken.
        """
        name = self._checked_name(section)
        taken = self._origins.get(name)
        if taken is not None and (taken == BUILT_IN or taken != _origin):
            raise ComponentError(f"{self.kind} {name}: {_origin} offers a name that {taken} has taken")
        self._sections[name], self._origins[name] = section, _origin
        self._changed()
        return section

    def sections(self) -> Mapping[str, type[S]]:
        """Every section by name: the default one, then the others in alphabetical order."""
        names = sorted(self._sections, key=lambda name: (name != self.default, name))
        return {name: self._sections[name] for name in names}

    def origin(self, name: str) -> Origin:
        return self._origins[name]

    def broken(self) -> Mapping[str, str]:
        """Entry points that could not be loaded: name -> why, in one line."""
        return self._broken

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` after each registration from now on."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def load_installed(self) -> None:
        """Register what installed packages offer. One that fails is set aside with its reason."""
        load_entry_points(self.group, self._broken)

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
        choices = {name: handler.generate_schema(section) for name, section in self._sections.items()}
        return core_schema.tagged_union_schema(choices, discriminator=self._name_in)

    def _name_in(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value.get("name", self.default)
        return getattr(value, "name", None)


B = TypeVar("B", bound=Callable[..., Any])


@dataclass(frozen=True)
class Part(Generic[B]):
    """One of several components that are used together: the section of its keys, and its builder."""

    name: str
    keys: type[Section]
    build: B
    order: int
    origin: Origin


class PartRegistry(Generic[B]):
    """Components that are used together, such as losses that add up: their keys make up one flat section.

    As the metadata of a config field, `Annotated[LossSection, LOSSES]`, it makes the field accept the keys of
    all of them. `base` is what the section derives from; it may have keys and checks of its own.
    """

    def __init__(self, kind: str, group: str, base: type[Section]) -> None:
        self.kind, self.group, self.base = kind, group, base
        self._parts: dict[str, Part[B]] = {}
        self._broken: dict[str, str] = {}
        self._listeners: list[Callable[[], object]] = []
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
            self._refuse_taken(name, keys)
            self._parts[name] = Part(name, keys, build, order, _origin)
            self._section = None
            for listener in self._listeners:
                listener()
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
            self._section = type(self.base.__name__, (*bases, self.base), {"__doc__": self.base.__doc__})
        return self._section

    def new(self, **values: Any) -> Any:
        """An instance of the section."""
        return self.section()(**values)

    def broken(self) -> Mapping[str, str]:
        """Entry points that could not be loaded: name -> why, in one line."""
        return self._broken

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` after each registration from now on."""
        self._listeners.append(listener)

    def load_installed(self) -> None:
        """Register what installed packages offer. One that fails is set aside with its reason."""
        load_entry_points(self.group, self._broken)

    def _refuse_taken(self, name: str, keys: type[Section]) -> None:
        for part in self._parts.values():
            shared = sorted(keys.model_fields.keys() & part.keys.model_fields.keys())
            if part.name == name or shared:
                what = f"key {shared[0]}" if shared else "name"
                taker = f"{part.name} of {part.origin}"
                raise ComponentError(f"{self.kind} {name}: {_origin} offers a {what} that {taker} has taken")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self.section())


def check_keys(where: str, section: type[Section]) -> None:
    """Raise ComponentError unless each key of a section has a default and a line of help."""
    for key, about in section.model_fields.items():
        if not about.description:
            raise ComponentError(f"{where}.{key}: needs a line of help, as in option(DEFAULT, HELP)")
        if about.is_required():
            raise ComponentError(f"{where}.{key}: needs a default")


def load_entry_points(group: str, broken: dict[str, str]) -> None:
    """Import what installed packages offer in a group; what fails goes into `broken` with its reason."""
    for entry in entry_points(group=group):
        origin = Origin("package", _distribution(entry))
        try:
            with _registering(origin):
                entry.load()
        except Exception as error:
            broken[entry.name] = f"{origin}: {one_line(error)}"


@dataclass(frozen=True)
class Plugin:
    """A file of components that was loaded: its absolute path and the SHA-256 of its bytes."""

    path: Path
    sha256: str


_plugins: dict[Path, Plugin] = {}


def load_plugin(path: Path) -> Plugin:
    """Import a file that registers components; a file that is loaded already is not run again.

    Raises ComponentError, one line with the place in the file, when it cannot be read or fails.
    """
    path = path.expanduser().absolute()
    if path in _plugins:
        return _plugins[path]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ComponentError(f"{path}: cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    name = f"seg_engine_plugin_{digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ComponentError(f"{path}: is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks the annotations of a section up here
    try:
        with _registering(Origin("file", str(path), digest)):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ComponentError(f"{_place(error, path)}: {one_line(error)}") from error
    _plugins[path] = Plugin(path, digest)
    return _plugins[path]


def loaded_plugins() -> tuple[Plugin, ...]:
    return tuple(_plugins.values())


def one_line(error: BaseException) -> str:
    """An error's own words on one line; its type where the words alone would say little."""
    words = " ".join(str(error).split())
    if isinstance(error, ComponentError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def place_in_plugin(error: BaseException) -> str:
    """FILE:LINE of the last line of a loaded plugin that took part in an error; empty when none did."""
    files = {str(path) for path in _plugins}
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in files]
    return places[-1] if places else ""


def _place(error: Exception, path: Path) -> str:
    """FILE:LINE of the last line of the plugin that took part in the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
