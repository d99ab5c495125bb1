"""What all events of a journal have, and the values that several of them hold."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.run.bounds import MOST_CLASSES, Attempt, Name, Number, Score, Time, Whole, Word

Split = Literal["train", "val", "test"]
ClassScores = Annotated[dict[Name, Score | None], Field(max_length=MOST_CLASSES)]
"""Class name -> score in [0, 1]; None where the class is in neither truth nor prediction."""


class MetricScore(BaseModel):
    """What a metric gave for a split, and what its numbers mean, as its code may be gone when they are read.
    `classes` are the numbers by class, where it gives one per class; `value` is then their mean, the sum of
    those that count something, and the lowest for `critical_recall`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    name: Name
    value: Number | None
    classes: Annotated[dict[Name, Number | None], Field(max_length=MOST_CLASSES)] = {}
    unit: Word = ""
    low: Number | None = None
    high: Number | None = None
    better: Literal["higher", "lower", "neither"] = "neither"


MetricScores = Annotated[list[MetricScore], Field(max_length=1000)]


class Event(BaseModel):
    """What every line has."""

    # Built when first used: listing runs reads no journal and should not wait for validators.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    added_later: ClassVar[frozenset[str]] = frozenset()
    """Fields that runs of earlier versions lack. At its default, such a field equals a missing one."""

    seq: Whole = -1
    t: Time = 0.0
    attempt: Attempt = 0

    def absent(self) -> set[str]:
        """The fields that a database leaves out, so that its rows are the same whatever version made them."""
        fields = type(self).model_fields
        return {name for name in self.added_later if getattr(self, name) == fields[name].default}


class Windowed(Event):
    """An event of a task whose network may see images in sliding windows: their size and how far apart they
    are, HEIGHTxWIDTH in pixels; "" for whole images."""

    added_later: ClassVar[frozenset[str]] = frozenset({"window_size", "window_stride"})

    window_size: Word = ""
    window_stride: Word = ""


class OfClasses(Event):
    """An event that names the classes of its run, with a colour each."""

    @model_validator(mode="after")
    def _each_class_has_a_color(self) -> Self:
        classes, colors = getattr(self, "classes", ()), getattr(self, "colors", ())
        if len(classes) != len(colors):
            raise ValueError(f"{len(classes)} classes have {len(colors)} colours")
        return self
