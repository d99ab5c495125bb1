"""What helps in unseen environments: runs with a remedy beside runs without, in each environment.

Which runs these are follows from their configs, whoever has made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from engine.config.described import format_value
from engine.config.remedies import OF_REMEDIES, RATE, REMEDIES, WEIGHTS, remedies_of
from engine.config.stored import flat_config, recorded
from engine.report.ablation import Group, system_name
from engine.report.beyond import INTERVAL, difference_cells, unfinished, verdict
from engine.report.compare import config_but_for_the_seed
from engine.report.compare_formats import number
from engine.report.environments import DICE, measured_alike
from engine.report.measures import ComparedRun, over_seeds
from engine.report.page import Block, Bullets, Cell, Heading, table, text
from engine.report.paired import PairedDifference, by_seed, paired_difference
from engine.store import EnvironmentRow, RunRow

_ABOUT = {remedy.name: remedy.about for remedy in REMEDIES}


_PLAIN = {
    "model.weights": "none",
    "init.weights": "",
    **{key: format_value(plain) for remedy in REMEDIES for key, plain in remedy.plain.items()},
}
"""The keys of all remedies, as they are without any."""


@dataclass(frozen=True)
class Helped:
    """What a remedy bought in one environment: scores `with_it` minus those of the `baseline`. `of` are the
    names of what it is made of, `there` is a row of a run in the environment."""

    remedy: str
    of: tuple[str, ...]
    there: EnvironmentRow
    baseline: Group
    with_it: Group
    dice: PairedDifference | None
    miou: PairedDifference | None

    @property
    def environment(self) -> str:
        return self.there.environment


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


@dataclass(frozen=True)
class _Arm:
    """Runs of a network that are equal but for the seed: with the `values` of the keys of remedies, which
    amount to `remedies`."""

    remedies: tuple[str, ...]
    values: Mapping[str, str]
    runs: Group

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done with its encoder that would make it no arm to hold others against."""
        return self.values[RATE] == _PLAIN[RATE]

    @property
    def weights(self) -> tuple[str, str]:
        return self.values["model.weights"], self.values["init.weights"]


def what_helped(runs: Sequence[ComparedRun]) -> list[Away]:
    """Every training with and without a remedy among runs that were scored in environments."""
    scored = [run for run in runs if run.environments]
    known = recorded(run.row.stored_config for run in scored)
    systems: dict[tuple[Any, ...], dict[tuple[str, ...], list[ComparedRun]]] = {}
    for run in scored:
        system = tuple(pair for pair in config_but_for_the_seed(run.row, known) if pair[0] not in OF_REMEDIES)
        values = tuple(_values(run.row).values())
        systems.setdefault(system, {}).setdefault(values, []).append(run)
    arms = ([_arm(group) for group in by_values.values()] for by_values in systems.values())
    return [found for of_system in arms if (found := _away(of_system)) is not None]


def _values(row: RunRow) -> dict[str, str]:
    """The keys of remedies as a run has them. Where its own initial weights lie says nothing: they may be
    those of another run of its seed."""
    flat = flat_config(row.stored_config)
    values = {key: flat.get(key) or plain for key, plain in _PLAIN.items()}
    return values | {"init.weights": "given" if values["init.weights"] else ""}


def _arm(group: Group) -> _Arm:
    row = group[0].row
    return _Arm(remedies_of(flat_config(row.stored_config)), _values(row), group)


def _away(arms: Sequence[_Arm]) -> Away | None:
    """None where there is nothing to hold against each other."""
    without = next((arm for arm in arms if not arm.remedies and arm.is_plain), None)
    with_weights = [arm for arm in arms if arm.remedies == (WEIGHTS.name,) and arm.is_plain]
    baseline = without or next(iter(with_weights), None)
    if baseline is None or len(arms) < 2:
        return None
    environments = [row for run in baseline.runs for row in run.environments]
    found: list[tuple[_Arm, tuple[str, ...], _Arm]] = []
    for arm in arms:
        # What is done with an encoder is held against the same weights without it.
        of_encoder = WEIGHTS.name in arm.remedies[:-1]
        same_weights = next((each for each in with_weights if each.weights == arm.weights), None)
        against = same_weights if of_encoder else without
        if arm is not against and arm.remedies and against is not None:
            of = tuple(name for name in arm.remedies if name != WEIGHTS.name or not of_encoder)
            found.append((arm, of, against))
    helped = []
    for arm, of, against in found:
        namesakes = [other.values for other, of_other, _ in found if of_other == of]
        for row in {measured_alike(row): row for row in environments}.values():
            dice, miou = (_bought(arm.runs, against.runs, row, measure) for measure in ("dice", "miou"))
            told = _told(of, arm.values, namesakes)
            helped.append(Helped(told, of, row, against.runs, arm.runs, dice, miou))
    names = tuple(dict.fromkeys(row.environment for row in environments))
    return Away(baseline.runs, names, tuple(helped))


def _told(of: Sequence[str], values: Mapping[str, str], namesakes: Sequence[Mapping[str, str]]) -> str:
    """What remedies are called, with the keys that tell them from others of the same kind."""
    differing = [key for key in values if len({each[key] for each in namesakes}) > 1]
    keys = ", ".join(f"{key}={PurePath(values[key]).name}" for key in differing)
    return " + ".join(of) + (f" ({keys})" if keys else "")


def _bought(of: Group, to: Group, environment: EnvironmentRow, measure: str) -> PairedDifference | None:
    one, other = (
        by_seed((run.row.seed, _score(run, environment, measure)) for run in group) for group in (of, to)
    )
    return paired_difference(one, other)


def _score(run: ComparedRun, environment: EnvironmentRow, measure: str) -> float | None:
    alike = measured_alike(environment)
    row = next((row for row in run.environments if measured_alike(row) == alike), None)
    return None if row is None else getattr(row, measure)


def generalisation_blocks(found: Sequence[Away]) -> list[Block]:
    """A table for each network; nothing where nothing was held against each other."""
    if not found:
        return []
    tried = dict.fromkeys(name for away in found for helped in away.helped for name in helped.of)
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
        over_seeds(group, lambda run: _score(run, helped.there, "miou"))
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
