"""Names in little room can be told apart as long as there is room for anything that tells them apart."""

from __future__ import annotations

import itertools

import pytest
from rich.cells import cell_len

from engine.report.short_names import ShortNames

RATES = [f"quick lr={lr} seed={seed}" for lr in ("0.01", "0.1", "0.001") for seed in range(5)]
MANY_KEYS = [
    f"cityscapes-unet-wide lr={lr} batch_size={size} name={model} seed={seed}"
    for lr, size, model, seed in itertools.product(
        ("0.01", "0.1"), (8, 16), ("unet", "modern_unet"), range(3)
    )
]


@pytest.mark.parametrize("width", [8, 12, 17, 20, 30, 60])
@pytest.mark.parametrize(
    "names",
    [
        RATES,
        [*RATES, "too-big", "lr-0.1", "quick"],
        MANY_KEYS,
        [f"unet-seed{number}" for number in range(12)],
        [f"grid-optimizer.lr=0.{lr}-model.name={name}-seed{s}" for lr in "01" for name in "ab" for s in "12"],
        [f"{'x' * 40}{number}" for number in range(5)],
        [f"run{number}{'y' * 40}" for number in range(5)],
        [f"模型 lr=0.{lr} 种子={seed}" for lr in range(3) for seed in range(3)],
        ["wide lr=0.1 seed=1", "wide-2 lr=0.1 seed=1", "wide lr=0.1 seed=2"],
    ],
)
def test_names_made_alike_differ_at_every_width(names: list[str], width: int) -> None:
    short = ShortNames(names)
    shown = [short.fit(name, width) for name in names]
    assert all(cell_len(text) <= width for text in shown)
    assert len(set(shown)) == len(names)


def test_room_goes_to_what_differs_first_and_then_to_the_rest() -> None:
    short = ShortNames(RATES)
    name = "quick lr=0.01 seed=3"
    assert [short.fit(name, width) for width in (20, 18, 15, 9)] == [
        "quick lr=0.01 seed=3",
        "qui…lr=0.01 seed=3",
        "…lr=0.01 seed=3",
        "…0.01 3",
    ]


def test_the_sections_of_keys_go_before_anything_is_cut() -> None:
    short = ShortNames([*(f"unet optimizer.lr={lr} model.width=64" for lr in (0.1, 0.2)), "chain"])
    assert short.fit("unet optimizer.lr=0.1 model.width=64", 24) == "unet lr=0.1 width=64"
    alike = ["unet optimizer.lr=1 seed=1", "unet model.lr=1 seed=1", "unet lr=1 seed=1"]
    assert len({ShortNames(alike).fit(name, 20) for name in alike}) == 3, (
        "a section that tells names apart stays"
    )


def test_a_name_alone_is_cut_in_the_middle() -> None:
    assert ShortNames(["a very long name indeed"]).fit("a very long name indeed", 11) == "a v… indeed"
    assert ShortNames().fit("unknown to it", 6) == "u…o it"


def test_a_new_name_is_told_from_the_old_ones() -> None:
    short = ShortNames(["quick lr=0.01 seed=1", "quick lr=0.1 seed=1"])
    before = short.fit("quick lr=0.01 seed=1", 8)
    short.add("quick lr=0.01 seed=2")
    assert short.fit("quick lr=0.01 seed=1", 8) != short.fit("quick lr=0.01 seed=2", 8)
    assert before != short.fit("quick lr=0.01 seed=2", 8)
