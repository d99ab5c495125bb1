"""The class set of a run's data as its config keeps it, so that a run depends on no file outside its folder.

In JSON and TOML it looks as a classes.toml does. Where label files hold colours or 16-bit numbers, `values`
are those, a colour as one number, and `ids` the source ids that they become.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from engine.classes import MAX_CLASSES, VOID, ClassInfo, ClassSet, LabelCode
from engine.config.fields import Section

LabelValue = Annotated[int, Field(ge=0, le=255)]
_ABSENT: tuple[object, ...] = ((), [], "ids", False)
FileValue = Annotated[int, Field(ge=0, lt=1 << 24)]


class _Coded(Section):
    """A section whose later keys are left out at their defaults: earlier versions had none, and what they
    wrote keeps its digest."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        late = {"values", "void_values", "labels", "critical"}
        return {key: value for key, value in written.items() if key not in late or value not in _ABSENT}


class ClassConfig(_Coded):
    """One class: its name, its colour and the label values that mean it, none where no label file has it."""

    name: str = Field(min_length=1)
    color: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    ids: tuple[LabelValue, ...]
    values: tuple[FileValue, ...] = ()
    critical: bool = False


class ClassSetConfig(_Coded):
    """A class set, written out."""

    name: str
    labels: Literal["ids", "colors", "wide"] = "ids"
    void: tuple[LabelValue, ...] = ()
    void_values: tuple[FileValue, ...] = ()
    classes: tuple[ClassConfig, ...] = Field(alias="class", min_length=1, max_length=MAX_CLASSES)

    @classmethod
    def of(cls, class_set: ClassSet) -> ClassSetConfig:
        """A class set as it was read, none of its classes held out."""
        code = class_set.code
        classes = tuple(
            ClassConfig(
                name=c.name,
                color=c.hex_color,
                ids=c.ids,
                values=tuple(value for i in c.ids for value in code.values_of(i)) if code else (),
                critical=c.critical,
            )
            for c in class_set.classes
        )
        written = {
            "name": class_set.name,
            "labels": code.kind if code else "ids",
            "void": tuple(sorted(class_set.void_ids)),
            "void_values": code.values_of(VOID) if code else (),
            "class": classes,
        }
        return cls.model_validate(written)

    def class_set(self) -> ClassSet:
        classes = tuple(
            ClassInfo(c.name, (red, green, blue), c.ids, c.critical)
            for c in self.classes
            for red, green, blue in [bytes.fromhex(c.color[1:])]
        )
        return ClassSet(self.name, classes, frozenset(self.void), code=self._code())

    def _code(self) -> LabelCode | None:
        if self.labels == "ids":
            return None
        ids = {value: c.ids[0] for c in self.classes for value in c.values}
        ids.update(dict.fromkeys(self.void_values, VOID))
        return LabelCode(self.labels, tuple(sorted(ids.items())))

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of what the label values mean; names and colours of classes count, too.
        Which classes are critical changes no label and does not."""
        classes = [(c.name, c.color.lower(), sorted(c.ids)) for c in self.classes]
        told: list[object] = [sorted(self.void), classes]
        if self.labels != "ids":
            told += [self.labels, sorted(self.void_values), [sorted(c.values) for c in self.classes]]
        return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogatepass")).hexdigest()[:8]

    @property
    def told(self) -> str:
        """A line that tells it from others."""
        count = f"{len(self.classes)} {'class' if len(self.classes) == 1 else 'classes'}"
        return f"{self.name}: {count}, {self.digest}"

    @model_validator(mode="after")
    def _each_value_means_one_thing(self) -> Self:
        owners: dict[int, str] = dict.fromkeys(self.void, "void")
        files: dict[int, str] = dict.fromkeys(self.void_values, "void")
        for place, entry in enumerate(self.classes):
            if any(entry.name == other.name for other in self.classes[:place]):
                raise ValueError(f"data.class_set: two classes are called {entry.name!r}; names must differ")
            for value, known in [(i, owners) for i in entry.ids] + [(i, files) for i in entry.values]:
                if known.setdefault(value, entry.name) != entry.name:
                    raise ValueError(
                        f"data.class_set: label value {value} means both {known[value]} and {entry.name}"
                    )
            if entry.values and len(entry.ids) != 1:
                raise ValueError(f"data.class_set: {entry.name} has values, so it needs exactly one id")
        return self
