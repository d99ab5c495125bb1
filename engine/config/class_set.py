"""The class set of a run's data as its config keeps it, so that a run depends on no file outside its folder.

In JSON and TOML it looks as a classes.toml does.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Self

from pydantic import Field, model_validator

from engine.classes import MAX_CLASSES, ClassInfo, ClassSet
from engine.config.fields import Section

LabelValue = Annotated[int, Field(ge=0, le=255)]


class ClassConfig(Section):
    """One class: its name, its colour and the label values that mean it."""

    name: str = Field(min_length=1)
    color: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    ids: tuple[LabelValue, ...] = Field(min_length=1)


class ClassSetConfig(Section):
    """A class set, written out."""

    name: str
    void: tuple[LabelValue, ...] = ()
    classes: tuple[ClassConfig, ...] = Field(alias="class", min_length=1, max_length=MAX_CLASSES)

    @classmethod
    def of(cls, class_set: ClassSet) -> ClassSetConfig:
        """A class set as it was read, none of its classes held out."""
        classes = tuple(ClassConfig(name=c.name, color=c.hex_color, ids=c.ids) for c in class_set.classes)
        void = tuple(sorted(class_set.void_ids))
        return cls.model_validate({"name": class_set.name, "void": void, "class": classes})

    def class_set(self) -> ClassSet:
        classes = tuple(
            ClassInfo(c.name, (red, green, blue), c.ids)
            for c in self.classes
            for red, green, blue in [bytes.fromhex(c.color[1:])]
        )
        return ClassSet(self.name, classes, frozenset(self.void))

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of what the label values mean; names and colours of classes count, too."""
        told = [sorted(self.void), [(c.name, c.color.lower(), sorted(c.ids)) for c in self.classes]]
        return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogatepass")).hexdigest()[:8]

    @property
    def told(self) -> str:
        """A line that tells it from others."""
        count = f"{len(self.classes)} {'class' if len(self.classes) == 1 else 'classes'}"
        return f"{self.name}: {count}, {self.digest}"

    @model_validator(mode="after")
    def _each_value_means_one_thing(self) -> Self:
        owners: dict[int, str] = dict.fromkeys(self.void, "void")
        for place, entry in enumerate(self.classes):
            if any(entry.name == other.name for other in self.classes[:place]):
                raise ValueError(f"data.class_set: two classes are called {entry.name!r}; names must differ")
            for value in entry.ids:
                if owners.setdefault(value, entry.name) != entry.name:
                    raise ValueError(
                        f"data.class_set: label value {value} means both {owners[value]} and {entry.name}"
                    )
        return self
