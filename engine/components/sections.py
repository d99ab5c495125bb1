"""Components of which a run has one, such as its network: sections told apart by their `name`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from engine.components.origin import BUILT_IN, ComponentError, Origin, origin_of
from engine.components.registry import Components, Described, check_keys, check_methods, first_line
from engine.components.stored import is_reading_stored
from engine.config.fields import Section

S = TypeVar("S", bound=Section)


class Registry(Components, Generic[S]):
    """The sections of one kind of component by their `name`.

    As the metadata of a config field, `Annotated[ModelSection, MODELS]`, it makes the field accept a table of
    any registered section; a table without a name is of the `default` one. `unknown` takes the table of a
    stored config whose section is not registered. A section has at least one of the methods `needs`.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        base: type[S],
        default: str,
        unknown: type[S],
        needs: tuple[str, ...] = (),
    ) -> None:
        super().__init__(kind, group)
        self.base, self.default, self.unknown, self.needs = base, default, unknown, needs
        self._sections: dict[str, type[S]] = {}
        self._origins: dict[str, Origin] = {}

    def register(self, section: type[S]) -> type[S]:
        """Make a section known; used as a decorator.

        Raises ComponentError when it breaks the contract of a section, or when its name is taken.
        """
        name, origin = self._checked_name(section), origin_of(section)
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
        where = section.__qualname__
        if not issubclass(section, self.base):
            raise ComponentError(f"{where}: a {self.kind}'s section derives from {self.base.__name__}")
        field = section.model_fields.get("name")
        names = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
        if field is None or names != (field.default,):
            example = f'name: Literal["mine"] = option("mine", "{self.kind.title()}")'
            raise ComponentError(f"{where}: needs a field such as {example}")
        check_keys(where, section)
        if self.needs and all(getattr(section, name) is getattr(self.base, name) for name in self.needs):
            raise ComponentError(f"{where}: needs {' or '.join(f'{name}()' for name in self.needs)}")
        if origin_of(section) != BUILT_IN:
            check_methods(where, section, self.base)
        return str(names[0])

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: _schema(section, handler) for name, section in self._sections.items()}
        choices[_UNKNOWN] = handler.generate_schema(self.unknown)
        return core_schema.tagged_union_schema(choices, discriminator=self._name_in)

    def _name_in(self, value: Any) -> Any:
        if isinstance(value, self.unknown):
            return _UNKNOWN
        name = value.get("name", self.default) if isinstance(value, dict) else getattr(value, "name", None)
        return _UNKNOWN if is_reading_stored() and name not in self._sections else name


def _schema(section: type[Section], handler: GetCoreSchemaHandler) -> CoreSchema:
    """The schema of a section. Its former keys are left out of the config of a run that exists."""
    schema = handler.generate_schema(section)
    if not section.former_keys:
        return schema

    def without_former_keys(value: Any) -> Any:
        if not is_reading_stored() or not isinstance(value, Mapping):
            return value
        return {key: given for key, given in value.items() if key not in section.former_keys}

    return core_schema.no_info_before_validator_function(without_former_keys, schema)


_UNKNOWN = "(unknown)"
