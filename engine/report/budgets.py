"""Systems that were given the same: as many hours, or as many images. Each budget is a table of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.config.described import format_value
from engine.config.stored import recorded
from engine.report.ablation import Ablation, Group, paired, system_name
from engine.report.compare import config_but_for_the_seed, same_but_for_the_seed
from engine.report.measures import ComparedRun, Value, over_seeds, training_seconds
from engine.report.paired import PairedDifference
from engine.store import RunRow

_RATE = "optimizer.lr"


@dataclass(frozen=True, slots=True)
class Budget:
    """What each run may use: hours of wall time, or training images."""

    kind: Literal["hours", "images"]
    amount: float

    @property
    def told(self) -> str:
        if self.kind == "images":
            return f"{self.amount:,.0f} images"
        return f"{self.amount:g} hour" if self.amount == 1 else f"{self.amount:g} hours"

    @property
    def title(self) -> str:
        return f"At equal {'time' if self.kind == 'hours' else 'images'}: {self.told}"


@dataclass(frozen=True)
class Standing:
    """A system at a budget. `behind` is the leading system's validation Dice minus its own, None for the
    leading one; `rates` are all learning rates of which it is the best one, () where there was one."""

    runs: Group
    dice: Value
    miou: Value | None
    images: Value | None
    hours: Value | None
    behind: PairedDifference | None
    rates: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return system_name(self.runs)

    @property
    def row(self) -> RunRow:
        return self.runs[0].row


@dataclass(frozen=True)
class EqualBudget:
    """Systems at one budget, the best first. `leading` is the one whose ingredients were looked at, or else
    the best."""

    budget: Budget
    standings: tuple[Standing, ...]
    leading: Standing

    @property
    def next_best(self) -> Standing:
        return next(standing for standing in self.standings if standing is not self.leading)


def budget_of(row: RunRow) -> Budget | None:
    """The budget of a run; None for one that has epochs."""
    config: Mapping[str, Any] = row.config.get("budget") or {}
    if config.get("hours"):
        return Budget("hours", float(config["hours"]))
    return Budget("images", float(config["images"])) if config.get("images") else None


def images_seen(run: ComparedRun) -> float | None:
    """Training images that passed through the network, each as often as it was seen. Only the last epoch may
    have had fewer than all."""
    trained = [epoch for epoch in run.epochs if epoch.split == "train"]
    if not trained or run.row.train_images is None:
        return None
    last = round((trained[-1].images_per_second or 0.0) * (trained[-1].seconds or 0.0))
    return (len(trained) - 1) * run.row.train_images + min(last, run.row.train_images)


def equal_budgets(runs: Sequence[ComparedRun], ablations: Sequence[Ablation]) -> list[EqualBudget]:
    """The budgets that several systems have in common; those of time first. A recipe without an ingredient is
    no system of its own."""
    parts = {run.row.id for each in ablations for part in each.bought for run in part.without}
    scored = [run for run in runs if run.row.best_dice is not None and run.row.id not in parts]
    known = recorded(run.row.stored_config for run in scored)
    subjects = {_but_for(each.subject, known, "budget.") for each in ablations}
    by_budget: dict[Budget, list[Group]] = {}
    for group in same_but_for_the_seed(scored):
        budget = budget_of(group[0].row)
        if budget is not None:
            by_budget.setdefault(budget, []).append(group)
    found = []
    for budget in sorted(by_budget, key=lambda each: (each.kind != "hours", each.amount)):
        systems = _best_rates(by_budget[budget], known)
        if len(systems) > 1:
            systems.sort(key=lambda each: -_dice(each[0]))
            leads = [group for group, _ in systems if _but_for(group, known, "budget.") in subjects]
            found.append(_equal(budget, systems, leads[0] if leads else systems[0][0]))
    return found


def _but_for(group: Group, known: Mapping[str, Any], *prefixes: str) -> tuple[tuple[str, str], ...]:
    """What makes a system the same but for some keys."""
    config = config_but_for_the_seed(group[0].row, known)
    return tuple((key, value) for key, value in config if not key.startswith(prefixes))


def _best_rates(groups: Sequence[Group], known: Mapping[str, Any]) -> list[tuple[Group, tuple[str, ...]]]:
    """Of systems that differ in the learning rate alone the best one, with the rates of all."""
    alike: dict[tuple[tuple[str, str], ...], list[Group]] = {}
    for group in groups:
        alike.setdefault(_but_for(group, known, _RATE), []).append(group)
    return [
        (max(same, key=_dice), tuple(rate_of(group[0].row) for group in same) if len(same) > 1 else ())
        for same in alike.values()
    ]


def rate_of(row: RunRow) -> str:
    """The peak learning rate as it would be typed."""
    return format_value(row.config["optimizer"]["lr"])


def _best_dice(run: ComparedRun) -> float | None:
    return run.row.best_dice


def _hours(run: ComparedRun) -> float | None:
    seconds = training_seconds(run)
    return None if seconds is None else seconds / 3600


def _dice(group: Group) -> float:
    value = over_seeds(group, _best_dice)
    return value.mean if value is not None else 0.0


def _equal(budget: Budget, systems: Sequence[tuple[Group, tuple[str, ...]]], leading: Group) -> EqualBudget:
    standings = [_standing(group, rates, leading) for group, rates in systems]
    return EqualBudget(budget, tuple(standings), next(each for each in standings if each.runs is leading))


def _standing(group: Group, rates: tuple[str, ...], leading: Group) -> Standing:
    dice = over_seeds(group, _best_dice)
    assert dice is not None
    return Standing(
        group,
        dice,
        over_seeds(group, lambda run: run.row.best_miou),
        over_seeds(group, images_seen),
        over_seeds(group, _hours),
        None if group is leading else paired(leading, group, "best_dice"),
        rates,
    )
