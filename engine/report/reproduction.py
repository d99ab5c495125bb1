"""A run that was made again: how its environment and its scores differ from those of the first time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from engine.report.lines import as_lines
from engine.report.tables import Column, text_table
from engine.run.environment import Environment, Environments
from engine.store import EpochRow
from engine.visible import one_line

MEASURES = ("loss", "dice", "dice_image", "miou", "pixel_accuracy")
CLASS_MEASURES = ("class_dice", "class_iou")

COMPUTING = ("torch", "torchvision", "triton", "numpy", "pillow", "timm", "segmentation-models-pytorch")
"""Packages whose arithmetic is in a run's scores, beside NVIDIA's."""

MOST_SHOWN = 12
"""Packages, and epochs, that text shows."""


@dataclass(frozen=True)
class Origin:
    """What is known of the run that was made first. `scores` are by epoch and split, by measure, and by
    measure and class."""

    run: str
    name: str
    environments: Environments
    scores: Mapping[tuple[int, str], Mapping[str, float | None]]


@dataclass(frozen=True)
class Difference:
    """Something that was otherwise, "" for what was not there. `computes`: it may change the scores."""

    what: str
    before: str
    now: str
    computes: bool


@dataclass(frozen=True)
class EpochDifference:
    """By how much the scores of an epoch differ at most, by measure; None where only one run has a score."""

    epoch: int
    split: str
    by: Mapping[str, float | None]

    @property
    def equal(self) -> bool:
        return all(value == 0 for value in self.by.values())


@dataclass(frozen=True)
class Reproduction:
    """`no_promise` says why the scores were not promised to be equal to the bit; "" where they were.
    `expected` is how many epochs the first run had."""

    origin: Origin
    differences: Sequence[Difference]
    epochs: Sequence[EpochDifference]
    expected: int
    no_promise: str

    @property
    def equal(self) -> bool:
        """Whether all scores that both have are equal to the bit."""
        return all(each.equal for each in self.epochs)

    @property
    def broken(self) -> bool:
        """Whether a promise was broken."""
        return not self.no_promise and not self.equal

    @property
    def largest(self) -> tuple[float, str, EpochDifference] | None:
        """The largest difference, its measure and where it is; None where no score differs by a number."""
        found = [
            (value, name, each)
            for each in self.epochs
            for name, value in each.by.items()
            if value is not None
        ]
        found = [one for one in found if one[0] > 0]
        return max(found, key=lambda one: one[0], default=None)


def scores_of(rows: Sequence[EpochRow]) -> dict[tuple[int, str], dict[str, float | None]]:
    """The scores of epochs by measure; those of a class as class_dice.NAME."""
    return {(row.epoch, row.split): dict(_scores(row)) for row in rows}


def _scores(row: EpochRow) -> Iterator[tuple[str, float | None]]:
    for name in MEASURES:
        yield name, getattr(row, name)
    for name in CLASS_MEASURES:
        for class_name, value in getattr(row, name).items():
            yield f"{name}.{class_name}", value


def compared(
    origin: Origin, config: Mapping[str, Any], environments: Environments, rows: Sequence[EpochRow]
) -> Reproduction:
    """What a run of this config, with these environments and scores, has reproduced."""
    now = scores_of(rows)
    epochs = [
        EpochDifference(*place, _apart(origin.scores[place], now[place]))
        for place in sorted(origin.scores.keys() & now.keys())
    ]
    return Reproduction(
        origin,
        differences(last(origin.environments), last(environments)),
        epochs,
        len({epoch for epoch, _ in origin.scores}),
        _why_no_promise(config, origin.environments, environments),
    )


def last(environments: Environments) -> Environment | None:
    """That of the last attempt."""
    return environments[max(environments)] if environments else None


def _apart(before: Mapping[str, float | None], now: Mapping[str, float | None]) -> dict[str, float | None]:
    """The largest difference of each measure, classes together."""
    found: dict[str, float | None] = {}
    for key in dict.fromkeys([*before, *now]):
        name = key.partition(".")[0]
        one, other = before.get(key), now.get(key)
        apart = (0.0 if one is other else None) if one is None or other is None else abs(one - other)
        known = found.get(name, 0.0)
        found[name] = None if apart is None or known is None else max(apart, known)
    return found


def differences(before: Environment | None, now: Environment | None) -> list[Difference]:
    """What is otherwise now; what one of the two does not know is left out."""
    if before is None or now is None:
        return []
    found = []
    for what, key, computes in (
        ("Python", "python", True),
        ("platform", "platform", True),
        ("driver", "driver", True),
        ("device", "device_name", True),
        ("precision", "precision", True),
        ("threads", "threads", True),
        ("ranks", "ranks", True),
    ):
        one, other = getattr(before, key), getattr(now, key)
        if one and other and one != other:
            found.append(Difference(what, str(one), str(other), computes))
    if before.engine_sha256 != now.engine_sha256:
        one, other = (f"{each.engine} ({each.engine_sha256[:12]})" for each in (before, now))
        found.insert(0, Difference("code of seg-engine", one, other, computes=True))
    for what, key in (("images or labels", "data_sha256"), ("split", "split_sha256")):
        one, other = getattr(before, key), getattr(now, key)
        if one and other and one != other:
            found.append(Difference(what, one[:12], other[:12], computes=True))
    if now.device:  # else nothing of torch and of plugins is known yet
        found += _of_each("library", before.libraries, now.libraries)
        found += _of_each("plugin", _short(before.components), _short(now.components))
    packages = _of_each("package", before.packages, now.packages)
    return found + sorted(packages, key=lambda each: not each.computes)


def _short(digests: Mapping[str, str]) -> dict[str, str]:
    return {name: digest[:12] for name, digest in digests.items()}


def _of_each(kind: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    return [
        Difference(
            f"{kind} {name}",
            before.get(name, ""),
            now.get(name, ""),
            kind != "package" or name in COMPUTING or name.startswith("nvidia-"),
        )
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _why_no_promise(config: Mapping[str, Any], before: Environments, now: Environments) -> str:
    """Why scores are not promised to be equal to the bit; "" where they are."""
    if not before or not now:
        return "an earlier version made the first run and did not keep what it was computed with"
    if config["budget"]["hours"]:
        return "with budget.hours the learning rate follows a clock"
    every = [*before.values(), *now.values()]
    if any(each.components for each in every):
        return "code of a plugin took part"
    if every[0].device != "cpu" and not config["runtime"]["deterministic"]:
        return "on CUDA only runs with runtime.deterministic=true repeat to the bit"
    for each in every[1:]:
        if found := [one.what for one in differences(every[0], each) if one.computes]:
            return f"{found[0]} differs" if len(found) == 1 else f"{', '.join(found)} differ"
    return ""


# ---------------------------------------------------------------------- in words


def difference_lines(found: Sequence[Difference]) -> list[str]:
    """The differences of environments, a line each; at most so many packages that compute nothing."""
    computing = [each for each in found if each.computes]
    others = [each for each in found if not each.computes]
    lines = [
        f"{each.what}: {each.before or 'not there'}, now {each.now or 'not there'}" for each in computing
    ]
    lines += [
        f"{each.what}: {each.before or 'not there'}, now {each.now or 'not there'}"
        for each in others[:MOST_SHOWN]
    ]
    more = len(others) - MOST_SHOWN
    return [*lines, f"and {more} other packages"] if more > 0 else lines


def verdict(found: Reproduction) -> str:
    """In a line."""
    count = len({each.epoch for each in found.epochs})
    if not count:
        return "no epoch to compare"
    of = f"{count} of {found.expected} epochs compared"
    if found.equal:
        promised = f"not promised: {found.no_promise}" if found.no_promise else "as promised"
        return f"equal to the bit ({promised}); {of}"
    told = "one run alone has a score"
    if found.largest is not None:
        value, name, each = found.largest
        told = f"largest difference {value:.3g} ({name}, {each.split}, epoch {each.epoch})"
    if found.broken:
        return f"PROMISE BROKEN: nothing that computes differs, but the scores do: {told}; {of}"
    return f"{told}; not promised to the bit: {found.no_promise}; {of}"


def reproduction_line(found: Reproduction) -> Text:
    """Which run was made again, and the verdict."""
    whose = f"{found.origin.run} {one_line(found.origin.name)}"
    return Text.assemble((f"reproduces {whose}: ", "dim"), (verdict(found), _style(found)))


def reproduction_text(found: Reproduction, width: int | None) -> Text:
    """The whole comparison: verdict, environment, and the scores of each epoch on the validation images."""
    head = Text.assemble(
        ("reproduces", "bold"),
        f"  {found.origin.run}  {one_line(found.origin.name)}\n",
        (verdict(found), _style(found)),
    )
    parts = [head]
    if not found.origin.environments:
        parts.append(Text("what it was computed with was not kept, so environments cannot be compared"))
    elif found.differences:
        parts.append(as_lines([Text(line) for line in map(one_line, difference_lines(found.differences))]))
    if not found.equal:
        parts.append(_table(found, width))
    return Text("\n", no_wrap=True, overflow="ignore").join(parts)


def _style(found: Reproduction) -> str:
    return "bold red" if found.broken else "green" if found.equal and found.epochs else "yellow"


def _table(found: Reproduction, width: int | None) -> Text:
    rows = [each for each in found.epochs if each.split == "val"] or list(found.epochs)
    half = MOST_SHOWN // 2
    cut = len(rows) > MOST_SHOWN
    shown = [*rows[:half], None, *rows[-half:]] if cut else list(rows)
    names = [name for name in (*MEASURES, *CLASS_MEASURES) if any(name in each.by for each in rows)]

    def cell(each: EpochDifference | None, name: str) -> str:
        if each is None:
            return "…"
        value = each.by.get(name)
        return "one only" if value is None else "equal" if value == 0 else f"{value:.3g}"

    return text_table(
        [
            Column("epoch", ["…" if each is None else str(each.epoch) for each in shown], right=True),
            Column("split", ["…" if each is None else each.split for each in shown]),
            *(Column(f"Δ {name}", [cell(each, name) for each in shown], right=True) for name in names),
        ],
        width,
    )


def reproduction_record(found: Reproduction) -> dict[str, Any]:
    """The comparison as JSON values."""
    largest = found.largest
    return {
        "of": found.origin.run,
        "verdict": verdict(found),
        "equal": found.equal and bool(found.epochs),
        "promised": not found.no_promise,
        "why_not_promised": found.no_promise,
        "broken": found.broken,
        "largest": largest[0] if largest else 0.0,
        "environment": [
            {"what": one.what, "before": one.before, "now": one.now, "computes": one.computes}
            for one in found.differences
        ],
        "epochs": [
            {"epoch": each.epoch, "split": each.split, "difference": dict(each.by)} for each in found.epochs
        ],
    }
