"""Where pre-training pays: runs from pre-trained weights beside those from scratch that cost as much.

Which runs these are follows from their configs and from what they began with, whoever has made them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.config.described import format_value
from engine.config.stored import recorded
from engine.report.ablation import Group, paired
from engine.report.beyond import INTERVAL, difference_cells, unfinished, verdict
from engine.report.budgets import Budget, budget_of
from engine.report.commands import source_id
from engine.report.compare import config_but_for_the_seed
from engine.report.compare_formats import number
from engine.report.measures import ComparedRun, Metric, Value, over_seeds
from engine.report.page import Block, Cell, Heading, table, text
from engine.report.paired import PairedDifference
from engine.store import RunRow

_DICE = Metric("best_dice", "Dice", "higher", "score")

_OF_PRETRAINING = ("init.", "budget.", "pretrain.")
"""Keys in which a run from pre-trained weights differs from one from scratch that costs as much."""


@dataclass(frozen=True)
class Held:
    """Runs from pre-trained weights against runs from scratch: `cost` is what each of both may use in all,
    of which pre-training took `share`. `gain` is the Dice of the first minus that of the others."""

    pretrained: Group
    scratch: Group
    cost: Budget
    share: float
    noise: str
    gain: PairedDifference | None

    @property
    def row(self) -> RunRow:
        return self.pretrained[0].row

    @property
    def labels(self) -> float:
        return float(self.row.config["data"]["label_fraction"])

    @property
    def parts(self) -> str:
        parts = str(self.row.config["init"]["parts"])
        return {"all": "whole network", "encoder": "encoder only", "decoder": "decoder only"}[parts]

    @property
    def rate(self) -> str:
        return format_value(self.row.config["optimizer"]["lr"])


def held_against_scratch(runs: Sequence[ComparedRun], rows: Mapping[str, RunRow]) -> list[Held]:
    """Every pair of the kind among runs; `rows` are all of the experiment, pre-training included."""
    scored = [run for run in runs if run.row.best_dice is not None]
    known = recorded(run.row.stored_config for run in scored)
    scratch: dict[_System, list[ComparedRun]] = {}
    begun: dict[_Variant, list[ComparedRun]] = {}
    for run in scored:
        row, own = run.row, budget_of(run.row)
        if own is not None and not row.config["init"]["weights"]:
            scratch.setdefault(_System.of(row, own, known), []).append(run)
        before = rows.get(source_id(row))
        spent = None if before is None or before.task != "pretrain" else budget_of(before)
        if own is None or before is None or spent is None or spent.kind != own.kind:
            continue
        cost = Budget(own.kind, round(own.amount + spent.amount, 5))
        variant = _Variant(
            _System.of(row, cost, known),
            row.config["init"]["parts"],
            format_value(before.config["pretrain"]["noise"]),
            spent.amount / cost.amount,
        )
        begun.setdefault(variant, []).append(run)
    found = [
        Held(group, scratch[system], system.cost, share, noise, paired(group, scratch[system], "best_dice"))
        for (system, _, noise, share), group in begun.items()
        if system in scratch
    ]
    found.sort(key=lambda held: (held.cost.kind != "hours", held.cost.amount, held.labels, held.parts))
    return found


class _System(NamedTuple):
    """What runs have in common that are to be held against each other."""

    cost: Budget
    config: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, row: RunRow, cost: Budget, known: Mapping[str, Any]) -> _System:
        config = config_but_for_the_seed(row, known)
        same = tuple((key, value) for key, value in config if not key.startswith(_OF_PRETRAINING))
        return cls(Budget(cost.kind, round(cost.amount, 5)), same)


class _Variant(NamedTuple):
    """What runs from pre-trained weights have in common that differ in their seed alone."""

    system: _System
    parts: str
    noise: str
    share: float


def pretraining_blocks(found: Sequence[Held]) -> list[Block]:
    """What pre-training bought at each cost; nothing where nothing was held against runs from scratch."""
    blocks: list[Block] = []
    for cost in dict.fromkeys(held.cost for held in found):
        blocks += _blocks_at(cost, [held for held in found if held.cost == cost])
    return blocks


def _blocks_at(cost: Budget, found: Sequence[Held]) -> Iterator[Block]:
    equal = "time" if cost.kind == "hours" else "images"
    yield Heading(f"Where pre-training pays, at equal {equal}: {cost.told}")
    yield text(
        f"Pre-training and training have {cost.told} together, a run from scratch has as much for training "
        f"alone. Scores are validation Dice at each run's best epoch. {INTERVAL} Where it includes 0, noise "
        "explains the difference; of 20 lines without any effect, one will seem to have one."
    )
    header = ["labels", "pre-trained", "noise", "rate", "its share", "seeds", "scratch", "pre-trained"]
    yield table([*header, "bought", "verdict"], map(_cells, found))
    yield from unfinished(group for held in found for group in (held.scratch, held.pretrained))
    yield text(_story(found))


def _cells(held: Held) -> list[Cell]:
    return [
        f"{100 * held.labels:g} %",
        held.parts,
        held.noise,
        held.rate,
        f"{100 * held.share:.0f} %",
        "-" if held.gain is None else str(held.gain.n),
        number(_DICE, _dice(held.scratch)),
        number(_DICE, _dice(held.pretrained)),
        *difference_cells(held.gain),
        verdict(held.gain),
    ]


def _dice(group: Group) -> Value | None:
    return over_seeds(group, lambda run: run.row.best_dice)


def _story(found: Sequence[Held]) -> str:
    """The answer in one sentence."""
    sure = [held for held in found if held.gain is not None and held.gain.is_noise is False]
    pays = [held for held in sure if held.gain is not None and held.gain.mean > 0]
    harms = [held for held in sure if held not in pays]
    told = [
        f"it {word} in {len(some)} of {len(found)} cases ({'; '.join(map(_case, some))})"
        for word, some in (("pays", pays), ("harms", harms))
        if some
    ]
    if not told:
        return "In no case is a difference larger than what noise explains."
    return f"Beyond noise, {' and '.join(told)}."


def _case(held: Held) -> str:
    return f"{100 * held.labels:g} % of the labels, {held.parts}, noise {held.noise}, rate {held.rate}"
