"""What the comparison comes to: figures of each peer, the tables, results.json."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.protocol import Passed, Record, Settings

TRAINING_FLOPS = 3
"""A training step computes the forward pass, and twice as much for the gradients of inputs and weights."""


QUIET_CORES = 0.1
"""More CPU than this in other hands makes times unfit for comparison."""


@dataclass(frozen=True)
class Outcome:
    """One peer in one round. `start_seconds` is from the start of the process to the start of the clock;
    `peak_bytes` is the largest resident set of the process that trains; `other_cores` is how much CPU
    everybody else on the machine used meanwhile."""

    peer: str
    round: int
    record: Record
    start_seconds: float
    peak_bytes: int
    other_cores: float


@dataclass(frozen=True)
class Figures:
    """One peer over all rounds (medians). `to_common` are the seconds to the round's common Dice."""

    peer: str
    precision: str
    images_per_second: float
    first_epoch: float
    second_epoch: float
    to_common: float
    start_seconds: float
    peak_bytes: int
    other_cores: float


def figures(outcomes: list[Outcome], settings: Settings) -> list[Figures]:
    """The figures of every peer, in the order in which they first ran."""
    common = common_dice(outcomes)
    result = []
    for peer in dict.fromkeys(outcome.peer for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.peer == peer]
        rates = [
            len(settings.train) / passed.train_seconds for o in own for passed in o.record.epochs[1:]
        ]  # the first epoch warms up
        result.append(
            Figures(
                peer=peer,
                precision=own[0].record.precision,
                images_per_second=statistics.median(rates),
                first_epoch=statistics.median(o.record.epochs[0].seconds for o in own),
                second_epoch=statistics.median(
                    o.record.epochs[1].seconds - o.record.epochs[0].seconds for o in own
                ),
                to_common=statistics.median(seconds_to(common[o.round], o.record.epochs) for o in own),
                start_seconds=statistics.median(o.start_seconds for o in own),
                peak_bytes=max(o.peak_bytes for o in own),
                other_cores=max(o.other_cores for o in own),
            )
        )
    return result


def common_dice(outcomes: list[Outcome]) -> dict[int, float]:
    """For each round the highest validation Dice that every peer reached in it."""
    rounds = {outcome.round for outcome in outcomes}
    return {
        number: min(max(e.val_dice for e in o.record.epochs) for o in outcomes if o.round == number)
        for number in rounds
    }


def disturbance(outcomes: list[Outcome]) -> str:
    """What to say of a machine that was not ours alone; "" when it was."""
    most = max(outcome.other_cores for outcome in outcomes)
    return (
        f"NOT a clean measurement: other processes used up to {most:.1f} cores" if most > QUIET_CORES else ""
    )


def seconds_to(dice: float, epochs: list[Passed]) -> float:
    """When a curve first reaches `dice`, straight between two epochs and from 0 at the start."""
    before_seconds = before_dice = 0.0
    for passed in epochs:
        if passed.val_dice >= dice:
            share = (dice - before_dice) / (passed.val_dice - before_dice) if dice > before_dice else 0.0
            return before_seconds + share * (passed.seconds - before_seconds)
        before_seconds, before_dice = passed.seconds, passed.val_dice
    raise ValueError(f"the Dice {dice} is above all of the curve")


def achieved_flops(images_per_second: float, limits: dict[str, Any]) -> float:
    """FLOP/s that the network's own arithmetic takes at that speed."""
    return float(TRAINING_FLOPS * limits["forward_flops"] * images_per_second)


def tables(
    outcomes: list[Outcome], settings: Settings, limits: dict[str, Any], agreement: dict[str, Any]
) -> str:
    """The report as Markdown."""
    rows = figures(outcomes, settings)
    plain = next(row for row in rows if row.peer == "plain")
    rounds = 1 + max(outcome.round for outcome in outcomes)
    common = ", ".join(f"{value:.3f}" for value in common_dice(outcomes).values())
    speed = [
        [
            row.peer,
            row.precision,
            f"{row.images_per_second:.2f}",
            f"{row.images_per_second / plain.images_per_second:.2f}",
            f"{row.first_epoch:.1f}",
            f"{row.second_epoch:.1f}",
            f"{row.to_common:.1f}",
            f"{plain.to_common / row.to_common:.2f}",
            f"{row.start_seconds:.1f}",
            f"{row.peak_bytes / 2**30:.2f}",
            f"{row.other_cores:.2f}",
        ]
        for row in rows
    ]
    heads = [
        "peer",
        "precision",
        "images/s",
        "x plain",
        "epoch 1, s",
        "epoch 2, s",
        "to common Dice, s",
        "x plain",
        "start, s",
        "peak RSS, GiB",
        "others, cores",
    ]
    ceilings = limits["ceilings"]
    work = [
        [
            row.peer,
            f"{achieved_flops(row.images_per_second, limits) / 1e9:.0f}",
            f"{achieved_flops(row.images_per_second, limits) / ceilings[ceiling_of(row)]:.0%}",
        ]
        for row in rows
    ]
    same, own = agreement["same_predictions"], agreement["own_loader"]
    meant = [["engine", f"{agreement['engine']:.9f}", "", ""]] + [
        [name, f"{same[name]:.9f}", f"{abs(same[name] - agreement['engine']):.1e}", f"{own[name]:.6f}"]
        for name in same
    ]
    return "\n".join(
        [
            f"U-Net of width {settings.width} at {settings.size[0]}x{settings.size[1]}, batch "
            f"{settings.batch_size}, AdamW {settings.lr:g}, {settings.epochs} epochs, {rounds} round(s); "
            f"{len(settings.train)} training and {len(settings.val)} validation images.",
            f"{limits['device_name']} ({limits['device']}), {limits['threads']} threads, "
            f"torch {limits['torch']}.",
            disturbance(outcomes),
            "",
            markdown(heads, speed),
            "",
            f"images/s: training, median over the epochs after the first. Epoch: training and validation; "
            f"the first holds all that comes before it. Common Dice: {common}, the highest that all reach; "
            f"after so few steps Dice varies by as much as itself from run to run, so compare speeds, not "
            f"Dice. "
            f"Start: from the start of the process to that of the clock. Peak RSS: the process that trains; "
            f"loader processes come on top. Others: CPU that other processes of the machine used meanwhile.",
            "",
            f"Limit: a matrix product runs at {ceilings['fp32'] / 1e9:.0f} GFLOP/s in fp32 and "
            f"{ceilings['bf16'] / 1e9:.0f} in bf16; an image is {limits['forward_flops'] / 1e9:.2f} GFLOP "
            f"forward, {TRAINING_FLOPS} times that in training.",
            "",
            markdown(["peer", "GFLOP/s", "of the product's, own precision"], work),
            "",
            "Dice of one checkpoint (the engine's best) by each peer's code:",
            "",
            markdown(["peer", "same predictions", "difference", "own loader"], meant),
            "",
            f"torchmetrics' `DiceScore`, which cannot leave void out, gives "
            f"{agreement['torchmetrics_dice_score']:.6f} on the same predictions; the Lightning peer "
            f"therefore uses its macro F1.",
            "",
        ]
    )


def ceiling_of(row: Figures) -> str:
    return "bf16" if "16" in row.precision else "fp32"


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose columns line up; the first is text, the others are figures."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]

    def line(cells: list[str]) -> str:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(heads), line(rule), *map(line, rows)])


def write_results(
    out: Path,
    outcomes: list[Outcome],
    settings: Settings,
    limits: dict[str, Any],
    agreement: dict[str, Any],
) -> None:
    """All figures, and every epoch that they come from, as results.json."""
    content = {
        "settings": {
            "train_images": len(settings.train),
            "val_images": len(settings.val),
            **{
                key: value
                for key, value in asdict(settings).items()
                if key not in ("train", "val", "train_ids", "run_config")
            },
        },
        "limits": limits,
        "agreement": agreement,
        "figures": [asdict(row) for row in figures(outcomes, settings)],
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
