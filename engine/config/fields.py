"""What sections of a config are made of: fields with bounds, unit and help; values written as text."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue


def option(
    default: Any,
    help: str,
    unit: str = "",
    form: str = "",
    commas: bool = False,
    new: JsonValue = None,
    suggestions: str = "",
    told_by: str = "",
    of: str = "",
    **bounds: Any,
) -> Any:
    """A config field: its default, one line of help, its unit and its bounds (`ge`, `le`, `gt`, `lt`).

    `form` says in words what a text must look like; a value may hold `commas`; `suggestions` is the dotted
    name, MODULE:FUNCTION, of what gives words that a text may be, for completion; `told_by` that of what says
    in a line what is known of a value, "" for nothing. `of` is the key of the same section without which this
    one has no effect: while that is 0, empty or none. `new` is what the key is in configs that are written
    now, where that differs from the default: a frozen config of an earlier version lacks the key and means
    the default.
    """
    extra: dict[str, JsonValue] = {"unit": unit, "form": form, "commas": commas, "new": new}
    if suggestions:
        extra["suggestions"] = suggestions
    if told_by:
        extra["told_by"] = told_by
    if of:
        extra["of"] = of
    return Field(default, description=help, json_schema_extra=extra, **bounds)


class Section(BaseModel):
    """A frozen group of fields that refuses keys it does not know."""

    former_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that configs of earlier versions have in this section, where they never had an effect. A stored
    config is read without them, a new one that has them is refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        # A key may be a word that Python keeps for itself.
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


def as_word(value: Any) -> Any:
    """Accept 4 beside "4"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Count = Annotated[str, BeforeValidator(as_word)]

DEVICE_PATTERN = r"^(auto|cpu|cuda|cuda:\d+)$"
DEVICE_FORM = "auto, cpu, cuda or cuda:N"


def _parse_whole(value: Any) -> Any:
    """Accept "16" beside 16."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*", value) else value


WHOLE = BeforeValidator(_parse_whole)
"""For a choice of whole numbers, `Annotated[Literal[8, 16], WHOLE]`: pydantic itself refuses text."""


def parse_size(value: Any) -> Any:
    """Accept "256x512" (height x width) beside [256, 512]."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*[x×,]\s*(\d+)\s*", value)
        if match is None:
            raise ValueError('must be HEIGHTxWIDTH such as "256x512"')
        return int(match[1]), int(match[2])
    return tuple(value) if isinstance(value, list) else value  # JSON and TOML have lists only


LEAST_SIDE = 16
"""Pixels of a side of a size."""

Side = Annotated[int, Field(ge=LEAST_SIDE, le=8192)]
Size = Annotated[tuple[Side, Side], BeforeValidator(parse_size)]
"""(height, width) in pixels."""
