"""Requests: frozen dataclasses whose fields are the words of a command.

A field says what it is on the command line by `Annotated[TYPE, typer.Option(...)]`. A field that is a request
itself contributes its own fields in its place, so that options which commands share are declared once. What
goes together is checked in `__post_init__`, by raising WrongUse.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

from typer.main import get_command_from_info
from typer.models import CommandInfo


def with_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command's function as Typer reads it: each parameter that is a request is replaced by its fields."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    requests = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    if not requests:
        return function

    def call(**words: Any) -> Any:
        given = {name: made(hint, words) if name in requests else words[name] for name, hint in hints.items()}
        return function(**given)

    plain = inspect.signature(function).parameters
    parameters: list[inspect.Parameter] = []
    for name, hint in hints.items():
        parameters += words_of(hint) if name in requests else [plain[name].replace(annotation=hint)]
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call


def words_of(request: type[Any]) -> Iterator[inspect.Parameter]:
    """The parameters that the fields of a request are; what has a factory is None when it is not given."""
    hints = get_type_hints(request, include_extras=True)
    for field in dataclasses.fields(request):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from words_of(hints[field.name])
            continue
        default = field.default if field.default is not dataclasses.MISSING else inspect.Parameter.empty
        if field.default_factory is not dataclasses.MISSING:
            default = None
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )


def made(request: type[Any], words: Mapping[str, Any]) -> Any:
    """A request of the words that were typed. Raises WrongUse."""
    hints = get_type_hints(request, include_extras=True)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(request):
        if dataclasses.is_dataclass(hints[field.name]):
            values[field.name] = made(hints[field.name], words)
        elif words[field.name] is not None or field.default_factory is dataclasses.MISSING:
            values[field.name] = words[field.name]
    return request(**values)


def whole_command(stub: Any, function: Callable[..., Any]) -> Any:
    """The command that a group knows by `stub`, its name and help, with all its words.

    Only the command that is called gets them: reading the words of thirty takes as long as importing Typer.
    """
    info = CommandInfo(
        name=stub.name,
        cls=type(stub),
        callback=with_words(function),
        help=stub.help,
        context_settings=stub.context_settings,
    )
    return get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
