"""Components that are used together, such as losses that add up: their keys make up one section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from engine.components.origin import BUILT_IN, ComponentError, Origin, origin_of
from engine.components.registry import Components, Described, check_arguments, check_keys, first_line
from engine.components.stored import is_reading_stored
from engine.config.fields import Section

_KNOWN, _UNKNOWN = "(known)", "(unknown)"
READ_AS = (_KNOWN, _UNKNOWN)
"""What pydantic puts between a section and its key to say how the section was read."""


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
    all of them. `base` is what the section derives from; it may have keys and checks of its own. `takes` are
    the arguments of a function that builds a component, and `has_weight` says whether one of its keys is
    called like it.
    """

    def __init__(
        self, kind: str, group: str, base: type[Section], takes: tuple[str, ...], has_weight: bool = False
    ) -> None:
        super().__init__(kind, group)
        self.base, self.takes, self.has_weight = base, takes, has_weight
        self._parts: dict[str, Part[B]] = {}
        self._section: type[Section] | None = None

    def register(self, keys: type[Section], order: int = 0) -> Callable[[B], B]:
        """Make a component known by the name of the function that builds it; used as a decorator.

        Parts are used by rising `order`, equal ones in the order of registration. Raises ComponentError when
        the name or a key is taken, when a key lacks its help or its default, or when the function takes
        other arguments.
        """

        def decorate(build: B) -> B:
            name = build.__name__
            check_keys(name, keys)
            check_arguments(name, build, self.takes)
            if self.has_weight and name not in keys.model_fields:
                example = f'{name}: float = option(0.0, "Weight of {name}", ge=0)'
                raise ComponentError(f"{name}: needs a key of that name, its weight, such as {example}")
            self._take_part(name, keys, origin_of(build))
            self._parts[name] = Part(name, keys, build, order, origin_of(build))
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
                strange = is_reading_stored() and not value.keys() <= section.model_fields.keys()
            else:
                strange = isinstance(value, keeping)
            return _UNKNOWN if strange else _KNOWN

        return core_schema.tagged_union_schema(choices, discriminator=choose)


def _first_help(section: type[Section]) -> str:
    return next((about.description or "" for about in section.model_fields.values()), "")
