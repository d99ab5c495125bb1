"""The picture of the comparison: validation Dice against wall time, and training speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.peers.protocol import Settings
from benchmarks.peers.report import Outcome, common_dice, disturbance, figures

INK, FAINT = "#1f2430", "#8a91a0"
COLORS = {
    "plain": "#8d99ae",
    "lightning": "#7a5cc9",
    "torchvision": "#d08c2f",
    "engine cold": "#5fb3b3",
    "engine warm": "#0b7a75",
}
STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c4c9d4",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#5a6170",
    "ytick.color": "#5a6170",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 7,
}


def draw(path: Path, outcomes: list[Outcome], settings: Settings, limits: dict[str, Any]) -> None:
    """Write the picture as a PNG of about 1900x800 pixels."""
    with plt.rc_context(STYLE):
        figure, (curves, bars) = plt.subplots(
            1, 2, figsize=(12, 5), gridspec_kw={"width_ratios": [1.75, 1], "wspace": 0.34}
        )
        draw_curves(curves, outcomes)
        draw_bars(bars, outcomes, settings)
        figure.text(
            0.06,
            0.955,
            f"U-Net, width {settings.width}, {settings.size[0]}×{settings.size[1]}, "
            f"batch {settings.batch_size}, {len(settings.train)} training images",
            fontsize=14,
            fontweight="bold",
            va="center",
        )
        rounds = 1 + max(outcome.round for outcome in outcomes)
        disturbed = disturbance(outcomes)
        figure.text(
            0.06,
            0.925,
            f"{limits['device_name']}, {limits['threads']} threads, torch {limits['torch']}; "
            f"same files, split, initial weights and optimizer; {rounds} round{'s' if rounds > 1 else ''}"
            + (f"\n{disturbed}" if disturbed else ""),
            color=FAINT,
            va="top",
            linespacing=1.5,
        )
        figure.subplots_adjust(left=0.06, right=0.965, top=0.76, bottom=0.115)
        figure.savefig(path, dpi=160, facecolor="white")
        plt.close(figure)


def draw_curves(axes: Axes, outcomes: list[Outcome]) -> None:
    """One line a peer and round; the first round's ends carry the names."""
    for outcome in outcomes:
        epochs = outcome.record.epochs
        engine = outcome.peer.startswith("engine")
        axes.plot(
            [epoch.seconds for epoch in epochs],
            [epoch.val_dice for epoch in epochs],
            color=COLORS[outcome.peer],
            linewidth=2.4 if engine else 1.8,
            marker="o" if len(epochs) <= 30 else None,
            markersize=6 if engine else 5,
            markeredgecolor="white",
            markeredgewidth=1.0,
            zorder=3 if engine else 2,
            label=outcome.peer if outcome.round == 0 else None,
        )
    common = min(common_dice(outcomes).values())
    axes.axhline(common, color=FAINT, linewidth=0.9, linestyle=(0, (4, 4)), zorder=1)
    axes.annotate(
        f"all reach {common:.3f}",
        (0.995, common),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        color=FAINT,
        fontsize=9.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
    )
    axes.set_title("Validation Dice against wall time", loc="left", fontsize=11.5, pad=10)
    axes.set_xlabel("seconds since the start of training (imports left out)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.1 * max(e.val_dice for o in outcomes for e in o.record.epochs))
    axes.grid(axis="y", color="#e8eaef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", frameon=False, handlelength=1.6, borderaxespad=0.2)


def draw_bars(axes: Axes, outcomes: list[Outcome], settings: Settings) -> None:
    """Training speed, with the ratio to the plain script behind each figure."""
    rows = figures(outcomes, settings)
    order = [row for name in reversed(COLORS) for row in rows if row.peer == name]
    plain = next(row for row in rows if row.peer == "plain").images_per_second
    positions = range(len(order))
    axes.barh(
        positions,
        [row.images_per_second for row in order],
        color=[COLORS[r.peer] for r in order],
        height=0.62,
    )
    largest = max(row.images_per_second for row in order)
    for position, row in zip(positions, order, strict=True):
        axes.text(
            row.images_per_second + 0.02 * largest,
            position,
            f"{row.images_per_second:.1f}   {row.images_per_second / plain:.1f}×",
            va="center",
            fontweight="bold" if row.peer.startswith("engine") else "normal",
        )
    axes.set_yticks(positions, [f"{row.peer}\n{row.precision}" for row in order], fontsize=9.5)
    axes.tick_params(axis="y", labelcolor=INK, pad=6)
    axes.set_xlim(0, 1.3 * largest)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Training, images/s, and times the plain script", loc="left", fontsize=11.5, pad=10)
