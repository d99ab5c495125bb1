"""Systems at equal budgets and the ingredients of a recipe, as sections of a report and as JSON values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.report.ablation import Ablation, Bought, Group, ablations_of
from engine.report.budgets import EqualBudget, Standing, budget_of, equal_budgets, rate_of
from engine.report.compare_formats import number
from engine.report.measures import ComparedRun, Metric, Value, over_seeds
from engine.report.page import Block, Cell, Heading, Marked, Picture, table, text
from engine.report.paired import CONFIDENCE, PairedDifference
from engine.report.runs import done
from engine.report.tables import large, score
from engine.store import RunRow

_DICE = Metric("best_dice", "Dice", "higher", "score")
_MIOU = Metric("best_miou", "mIoU", "higher", "score")

INTERVAL = (
    f"In brackets: the {100 * CONFIDENCE:.0f} % interval of the mean difference over seeds, paired by seed, "
    "by Student's t."
)
_NOISE = "noise"


@dataclass(frozen=True)
class Findings:
    """What the runs of an experiment say of systems at equal budgets and of the ingredients of recipes."""

    budgets: Sequence[EqualBudget]
    ablations: Sequence[Ablation]

    def __bool__(self) -> bool:
        return bool(self.budgets or self.ablations)


def findings_of(runs: Sequence[ComparedRun]) -> Findings:
    ablations = ablations_of(runs)
    return Findings(equal_budgets(runs, ablations), ablations)


def beyond_blocks(findings: Findings, pictures: Mapping[str, Picture]) -> list[Block]:
    """What systems reached with the same budget, and what each ingredient of a recipe bought; nothing where
    there is nothing of the kind. `pictures` are the report's figures by their kind."""
    blocks: list[Block] = []
    for equal in findings.budgets:
        blocks += _budget_blocks(equal)
        blocks += [pictures[kind]] if (kind := figure_kind(equal)) in pictures else []
    for ablation in findings.ablations:
        blocks += _ablation_blocks(ablation)
    return blocks


def figure_kind(equal: EqualBudget) -> str:
    """What the figure of a budget is called: "hours-1", "images-36700"."""
    return f"{equal.budget.kind}-{equal.budget.amount:g}"


def is_figure_of_budget(name: str) -> bool:
    """Whether `figure_kind` gives such names."""
    return re.fullmatch(r"(hours|images)-[\d.e+-]+", name) is not None


# ---------------------------------------------------------------------- budgets


def _budget_blocks(equal: EqualBudget) -> Iterator[Block]:
    lead, rest = equal.leading, equal.next_best
    yield Heading(equal.budget.title)
    yield text(
        f"Each run may use {equal.budget.told}, which its schedule is fitted to. Scores are of the "
        "validation split at the input size, at each run's best epoch; hours are of training and validation. "
        f"The last column is the Dice of {lead.name} minus that of the line. {INTERVAL}"
    )
    if rest.dice.mean > 0:
        yield text(
            f"{lead.name} has {lead.dice.mean / rest.dice.mean:.2f} times the Dice of ",
            f"{'the best other' if lead.dice.mean >= rest.dice.mean else 'the best'}, {rest.name}.",
        )
    header = ["system", "seeds", "Dice", "mIoU", "parameters", "images seen", "hours", "difference"]
    yield table(header, map(_standing_cells, equal.standings))
    yield from unfinished(standing.runs for standing in equal.standings)
    for standing in equal.standings:
        if standing.rates:
            yield text(
                f"{standing.name} is the best of {len(standing.rates)} learning rates "
                f"({', '.join(standing.rates)}): {rate_of(standing.row)} was chosen by its Dice on these "
                "same validation images, which favours it a little."
            )


def _standing_cells(standing: Standing) -> list[Cell]:
    return [
        standing.name,
        _seeds(standing.runs),
        number(_DICE, standing.dice),
        number(_MIOU, standing.miou),
        large(standing.row.parameters),
        "-" if standing.images is None else f"{standing.images.mean:,.0f}",
        "-" if standing.hours is None else f"{standing.hours.mean:.3g}",
        *difference_cells(standing.behind),
    ]


# ---------------------------------------------------------------------- ingredients


def _ablation_blocks(ablation: Ablation) -> Iterator[Block]:
    budget = budget_of(ablation.subject[0].row)
    yield Heading(f"What each ingredient of {ablation.name} bought")
    given = f"with {budget.told}" if budget is not None else "with as many epochs"
    yield text(
        f"Each line is the validation Dice of {ablation.name} minus that of the same recipe {given} that "
        f"lacks one ingredient: above 0 the ingredient helped. {INTERVAL} Where it includes 0, noise "
        "explains the difference; of 20 ingredients without any effect, one will seem to have one."
    )
    header = ["ingredient", "what it is", "seeds", "without it", "Dice bought", "mIoU bought", "verdict"]
    lines = (_bought_cells(bought, ablation.subject) for bought in ablation.bought)
    yield table(header, lines, numbers_from=2)
    yield from unfinished([ablation.subject, *(bought.without for bought in ablation.bought)])


def _bought_cells(bought: Bought, subject: Group) -> list[Cell]:
    """A line of the table; the score without the ingredient is of the seeds that the recipe has, too."""
    seeds = {run.row.seed for run in subject}
    without = [run for run in bought.without if run.row.seed in seeds] or bought.without
    return [
        bought.ingredient.name,
        bought.ingredient.about,
        "-" if bought.dice is None else str(bought.dice.n),
        score(_mean_dice(without)),
        *difference_cells(bought.dice),
        *difference_cells(bought.miou),
        verdict(bought.dice),
    ]


def _mean_dice(group: Group) -> float | None:
    value = over_seeds(group, lambda run: run.row.best_dice)
    return None if value is None else value.mean


def unfinished(groups: Iterable[Group]) -> Iterator[Block]:
    """A line that names the runs whose numbers are not their last ones, where there are any."""
    if rows := _unfinished_rows(groups):
        named = ", ".join(f"{row.name} ({row.status}, epoch {done(row)})" for row in rows)
        yield text(f"Not finished, and here with the best so far: {named}.")


def _unfinished_rows(groups: Iterable[Group]) -> list[RunRow]:
    rows = {run.row.id: run.row for group in groups for run in group}
    return [row for row in rows.values() if row.status != "finished"]


def verdict(difference: PairedDifference | None) -> Cell:
    if difference is None:
        return "no seed in common"
    if difference.is_noise is None:
        return "one seed: not known"
    if difference.is_noise:
        return _NOISE
    return Marked("helps", "better") if difference.mean > 0 else Marked("harms", "worse")


def difference_cells(difference: PairedDifference | None) -> list[Cell]:
    """One cell: the mean and its interval, told apart by what they mean where noise does not explain them."""
    if difference is None:
        return ["-"]
    told = score(difference.mean, sign="+")
    if difference.interval is not None:
        low, high = difference.interval
        told += f" [{score(low, sign='+')}, {score(high, sign='+')}]"
    if difference.is_noise is not False:
        return [told]
    return [Marked(told, "better" if difference.mean > 0 else "worse")]


def _seeds(group: Group) -> str:
    return str(len({run.row.seed for run in group}))


# ---------------------------------------------------------------------- programs


def beyond_record(findings: Findings) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "confidence": CONFIDENCE,
        "budgets": [
            {
                "kind": equal.budget.kind,
                "amount": equal.budget.amount,
                "leading": equal.leading.name,
                "systems": [_standing_record(standing) for standing in equal.standings],
                "unfinished": [row.id for row in _unfinished_rows(each.runs for each in equal.standings)],
            }
            for equal in findings.budgets
        ],
        "ablations": [
            {
                "recipe": ablation.name,
                "runs": _ids(ablation.subject),
                "ingredients": [
                    {
                        "ingredient": bought.ingredient.name,
                        "about": bought.ingredient.about,
                        "runs": _ids(bought.without),
                        "dice": _difference_record(bought.dice),
                        "miou": _difference_record(bought.miou),
                    }
                    for bought in ablation.bought
                ],
            }
            for ablation in findings.ablations
        ],
    }


def _standing_record(standing: Standing) -> dict[str, Any]:
    return {
        "system": standing.name,
        "runs": _ids(standing.runs),
        "dice": _value(standing.dice),
        "miou": _value(standing.miou),
        "parameters": standing.row.parameters,
        "images": _value(standing.images),
        "hours": _value(standing.hours),
        "behind": _difference_record(standing.behind),
        "rates": [float(rate) for rate in standing.rates],
    }


def _value(value: Value | None) -> dict[str, Any] | None:
    return None if value is None else {"mean": value.mean, "sd": value.sd, "n": value.n}


def _difference_record(difference: PairedDifference | None) -> dict[str, Any] | None:
    return None if difference is None else asdict(difference) | {"noise": difference.is_noise}


def _ids(group: Group) -> list[str]:
    return [run.row.id for run in group]
