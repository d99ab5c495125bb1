"""An Explanation as text for a terminal and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.text import Text

from engine.report.compare_formats import number
from engine.report.explain import METHOD, Explanation, Factor, Level
from engine.report.measures import Value
from engine.report.speed import SPEED_TITLE, SpeedPlot, speed_table
from engine.report.tables import Column, score, text_table, thin_bar
from engine.visible import one_line

MOST_FACTORS, MOST_SETTINGS = 3, 8
"""How many keys are told with each of their values, and how many configs."""
BAR = 16


def explain_text(explanation: Explanation, speed: SpeedPlot | None, width: int | None) -> Text:
    """The keys by importance, each value of the first ones, the best configs, and what to beware of; where
    frames a second were measured, what cannot be beaten in both."""
    parts = [Text(heading(explanation), "bold"), factors_table(explanation, width)]
    for factor in explanation.factors[:MOST_FACTORS]:
        parts += [Text(), Text(one_line(factor.title), "bold"), levels_table(explanation, factor, width)]
    parts += [Text(), Text("best configs", "bold"), settings_table(explanation, width)]
    if speed is not None and speed.points:
        parts += [Text(), Text(SPEED_TITLE, "bold"), speed_table(speed, width)]
    parts += [Text(), *notes(explanation)]
    return Text("\n", no_wrap=True, overflow="fold").join(parts)


def heading(explanation: Explanation) -> str:
    configs = len(explanation.settings)
    return f"{explanation.metric.title} of {explanation.runs} runs, {configs} configs"


def notes(explanation: Explanation) -> list[Text]:
    """What was left out and what cannot be told, then how importance is computed."""
    told = [Text(f"note: {one_line(note)}", "yellow", no_wrap=False) for note in explanation.notes]
    constant = "All other keys are the same in all runs. " if explanation.constant else ""
    shown = next(filter(None, map(trend, explanation.factors)), "")
    signed = (
        f" A signed number such as {shown}: Spearman's rank correlation of key and score." if shown else ""
    )
    return [*told, Text(constant + METHOD + signed, "dim", no_wrap=False)]


def factors_table(explanation: Explanation, width: int | None) -> Text:
    """A line for each key, the most important first, and one for the seeds."""
    factors = explanation.factors
    shares = [factor.importance for factor in factors]
    names = [one_line(factor.title) for factor in factors]
    best = [_best(explanation, factor) for factor in factors]
    told = [best_told(explanation, factor) for factor in factors]
    if explanation.noise is not None:
        shares.append(explanation.noise)
        names.append("(seed)")
        best.append("")
        told.append(f"sd {number(explanation.metric, Value(explanation.noise_sd or 0.0, None, 1))}")
    columns = [
        Column("key", names, least=12),
        Column("importance", [percent(share) for share in shares], right=True),
        Column("", [(thin_bar(share, BAR), "cyan") for share in shares], rank=2),
        Column("best at", best, least=8),
        Column(explanation.metric.title, told, right=True, rank=1),
        Column("trend", [trend(factor) for factor in factors] + [""] * (len(names) - len(factors)), rank=3),
    ]
    return text_table(columns, width)


def levels_table(explanation: Explanation, factor: Factor, width: int | None) -> Text:
    """A line for each value of a key."""
    means = [level.score.mean for level in factor.levels]
    low, high = min(means), max(means)
    columns = [
        Column("  value", [f"  {one_line(level.text)}" for level in factor.levels], least=10),
        Column("runs", [str(level.score.n) for level in factor.levels], right=True),
        Column(explanation.metric.title, [_told(explanation, level) for level in factor.levels], right=True),
        Column(
            f"from {number(explanation.metric, Value(low, None, 1))}",
            [(thin_bar((mean - low) / (high - low) if high > low else 1.0, BAR), "cyan") for mean in means],
            rank=1,
        ),
    ]
    return text_table(columns, width)


def settings_table(explanation: Explanation, width: int | None, most: int = MOST_SETTINGS) -> Text:
    """The best configs with their values of the keys that matter most."""
    shown = explanation.settings[:most]
    columns = [
        Column(
            explanation.metric.title,
            [(number(explanation.metric, setting.score), "bold") for setting in shown],
            right=True,
        ),
        Column("seeds", [str(len(setting.seeds)) for setting in shown], right=True, rank=2),
        Column("run", [setting.ids[0] for setting in shown]),
    ]
    for rank, factor in enumerate(explanation.factors, 3):
        values = [setting.values[factor.key] for setting in shown]
        cells = ["-" if value is None else one_line(value) or '""' for value in values]
        columns.append(Column(one_line(factor.key), cells, right=factor.is_number, rank=rank))
    table = text_table(columns, width)
    left = len(explanation.settings) - len(shown)
    return table if left <= 0 else Text("\n").join([table, Text(f"and {left} more", "dim")])


def best_level(explanation: Explanation, factor: Factor) -> Level:
    chosen = max if explanation.metric.better == "higher" else min
    return chosen(factor.levels, key=lambda level: level.score.mean)


def _best(explanation: Explanation, factor: Factor) -> str:
    return one_line(best_level(explanation, factor).text)


def best_told(explanation: Explanation, factor: Factor) -> str:
    return _told(explanation, best_level(explanation, factor))


def _told(explanation: Explanation, level: Level) -> str:
    return number(explanation.metric, level.score)


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def trend(factor: Factor) -> str:
    """Which way the score goes with a number: its rank correlation."""
    return "" if factor.trend is None else score(factor.trend, "+", digits=2)


def explanation_record(explanation: Explanation, speed: SpeedPlot | None) -> dict[str, Any]:
    """The explanation as JSON values."""
    return {
        "metric": asdict(explanation.metric),
        "runs": explanation.runs,
        "method": METHOD,
        "factors": [asdict(factor) for factor in explanation.factors],
        "seed_noise": explanation.noise,
        "seed_sd": explanation.noise_sd,
        "settings": [asdict(setting) for setting in explanation.settings],
        "constant_keys": explanation.constant,
        "notes": list(explanation.notes),
        "speed": None if speed is None else asdict(speed),
    }
