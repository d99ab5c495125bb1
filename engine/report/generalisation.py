"""What helps in unseen environments: runs with a remedy beside runs without, in each environment.

Which runs these are follows from their configs, whoever has made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config.remedies import OF_REMEDIES, REMEDIES, WEIGHTS, remedies_of
from engine.config.stored import flat_config, recorded
from engine.report.ablation import Group, system_name
from engine.report.beyond import INTERVAL, difference_cells, unfinished, verdict
from engine.report.compare import config_but_for_the_seed
from engine.report.compare_formats import number
from engine.report.environments import DICE
from engine.report.measures import ComparedRun, over_seeds
from engine.report.page import Block, Bullets, Cell, Heading, table, text
from engine.report.paired import PairedDifference, by_seed, paired_difference
from engine.store import EnvironmentRow, RunRow

_ABOUT = {remedy.name: remedy.about for remedy in REMEDIES}


@dataclass(frozen=True)
class Helped:
    """What a remedy bought in one environment: scores `with_it` minus those of the `baseline`."""

    remedy: str
    environment: str
    baseline: Group
    with_it: Group
    dice: PairedDifference | None
    miou: PairedDifference | None


@dataclass(frozen=True)
class Away:
    """A network's training, tested in environments: `baseline` without a remedy, and what remedies bought."""

    baseline: Group
    environments: tuple[str, ...]
    helped: tuple[Helped, ...]

    @property
    def name(self) -> str:
        return system_name(self.baseline).removesuffix(" baseline")

    @property
    def runs(self) -> list[ComparedRun]:
        """All that take part; some more than once."""
        return [*self.baseline, *(run for each in self.helped for run in (*each.baseline, *each.with_it))]


def what_helped(runs: Sequence[ComparedRun]) -> list[Away]:
    """Every training with and without a remedy among runs that were scored in environments."""
    scored = [run for run in runs if run.environments]
    known = recorded(run.row.stored_config for run in scored)
    arms: dict[tuple[Any, ...], dict[tuple[str, ...], list[ComparedRun]]] = {}
    for run in scored:
        system = tuple(pair for pair in config_but_for_the_seed(run.row, known) if pair[0] not in OF_REMEDIES)
        arms.setdefault(system, {}).setdefault(_remedies(run.row), []).append(run)
    return [found for by_remedy in arms.values() if (found := _away(by_remedy)) is not None]


def _remedies(row: RunRow) -> tuple[str, ...]:
    return remedies_of(flat_config(row.stored_config))


def _away(arms: Mapping[tuple[str, ...], list[ComparedRun]]) -> Away | None:
    """None where there is nothing to hold against each other."""
    baseline = arms.get(()) or arms.get((WEIGHTS.name,))
    if baseline is None or len(arms) < 2:
        return None
    names = tuple(dict.fromkeys(row.environment for run in baseline for row in run.environments))
    helped = []
    for remedies, group in arms.items():
        # What is done with an encoder is held against the same weights without it.
        against = arms.get((WEIGHTS.name,)) if WEIGHTS.name in remedies[:-1] else arms.get(())
        if not remedies or against is None:
            continue
        told = " + ".join(name for name in remedies if name != WEIGHTS.name or len(remedies) == 1)
        for name in names:
            dice, miou = (_bought(group, against, name, measure) for measure in ("dice", "miou"))
            helped.append(Helped(told, name, against, group, dice, miou))
    return Away(baseline, names, tuple(helped))


def _bought(of: Group, to: Group, environment: str, measure: str) -> PairedDifference | None:
    one, other = (
        by_seed((run.row.seed, _score(run, environment, measure)) for run in group) for group in (of, to)
    )
    return paired_difference(one, other)


def _score(run: ComparedRun, environment: str, measure: str) -> float | None:
    row = _row(run, environment)
    return None if row is None else getattr(row, measure)


def _row(run: ComparedRun, environment: str) -> EnvironmentRow | None:
    return next((row for row in run.environments if row.environment == environment), None)


def generalisation_blocks(found: Sequence[Away]) -> list[Block]:
    """A table for each network; nothing where nothing was held against each other."""
    if not found:
        return []
    tried = dict.fromkeys(
        name for away in found for helped in away.helped for name in helped.remedy.split(" + ")
    )
    blocks: list[Block] = [
        Heading("What helps in unseen environments"),
        text(
            "Each line is one training with and without one remedy, in one environment. Scores are of the "
            "checkpoint with the best Dice on held-out images of the world that it was trained in: nothing "
            f"of the other environments took part in choosing it. {INTERVAL} Where it includes 0, noise "
            "explains the difference."
        ),
        Bullets(tuple(f"{name}: {_ABOUT[name]}" for name in tried if name in _ABOUT)),
    ]
    for away in found:
        blocks.append(Heading(away.name, 3))
        blocks.append(table(_HEADER, map(_cells, away.helped), numbers_from=2))
        blocks += unfinished(group for each in away.helped for group in (each.baseline, each.with_it))
        blocks.append(text(_story(away)))
    merged = dict.fromkeys(row.merged for away in found for run in away.baseline for row in run.environments)
    blocks += [text(f"Merged before scoring: {told}.") for told in merged if told]
    return blocks


_HEADER = ["remedy", "environment", "seeds", "mIoU without", "with", "bought", "Dice bought", "verdict"]


def _cells(helped: Helped) -> list[Cell]:
    without, with_it = (
        over_seeds(group, lambda run: _score(run, helped.environment, "miou"))
        for group in (helped.baseline, helped.with_it)
    )
    return [
        helped.remedy,
        helped.environment,
        "-" if helped.miou is None else str(helped.miou.n),
        number(DICE, without),
        number(DICE, with_it),
        *difference_cells(helped.miou),
        *difference_cells(helped.dice),
        verdict(helped.miou),
    ]


def _story(away: Away) -> str:
    """The answer in one sentence."""
    others = [helped for helped in away.helped if helped.environment != away.environments[0]]
    sure = [helped for helped in others if helped.miou is not None and helped.miou.is_noise is False]
    helps = [helped for helped in sure if helped.miou is not None and helped.miou.mean > 0]
    harms = [helped for helped in sure if helped not in helps]
    told = [
        f"{word} {', '.join(f'{each.remedy} in {each.environment}' for each in some)}"
        for word, some in (("what helps is", helps), ("what harms is", harms))
        if some
    ]
    if not told:
        return "In no other environment is a difference larger than what noise explains."
    return f"Beyond noise, {' and '.join(told)}."
