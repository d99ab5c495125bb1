"""What tells a run from its siblings, in as few words as do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config.keys import parse_assignments, with_values
from engine.config.recipes import get_recipe
from engine.report.siblings import Siblings
from engine.store import Sibling


def texts(*lines: str, drop: Mapping[str, str] | None = None) -> list[str]:
    """What is said of runs of `quick` with the assignments of each line; `drop` names a key to leave out of
    the stored config of a line, as in one of an earlier version."""
    runs = []
    for number, line in enumerate(lines):
        config = with_values(get_recipe("quick"), parse_assignments(line.split()))
        stored: dict[str, Any] = config.model_dump(mode="json", by_alias=True)
        for key in (drop or {}).get(line, "").split():
            section, _, leaf = key.partition(".")
            del stored[section][leaf]
        runs.append(Sibling(f"{number}", line, "main", "train", "quick", f"v{number}", config.seed, stored))
    siblings = Siblings()
    siblings.learn(runs)
    return [siblings.text(run) for run in runs]


def test_networks_are_told_by_their_names_and_what_is_not_their_default() -> None:
    assert texts(
        "model.name=unet model.width=16",
        "model.name=modern_unet model.hidden=8",
        "model.name=resnet38",
        "model.name=street_net model.deep_supervision=1 optimizer.lr=0.0003",
    ) == [
        "model=unet width=16",
        "model=modern_unet hidden=8",
        "model=resnet38",
        "model=street_net deep_supervision=1 lr=0.0003",
    ]


def test_networks_of_one_kind_are_told_by_every_key_in_which_they_differ() -> None:
    said = texts(
        "model.name=unet model.width=16",
        "model.name=unet model.width=64",
        "model.name=resnet38 model.width=0.25",
    )
    assert said == ["width=16", "width=64", "model=resnet38 width=0.25"]


def test_what_all_networks_have_alike_tells_none_of_them() -> None:
    said = texts(
        "model.name=unet model.width=16 model.deep_supervision=2",
        "model.name=street_net model.width=16 model.deep_supervision=2",
    )
    assert said == ["model=unet", "model=street_net"]


def test_a_config_of_before_a_key_existed_has_the_key_at_its_default() -> None:
    old, new = "model.name=unet", "model.name=unet model.width=16"
    other = "model.name=resnet38"
    kept = {old: "model.deep_supervision"}
    assert texts(old, new, other, drop=kept) == texts(old, new, other)
    assert texts(old, "seed=0", drop=kept) == ["", ""]


def test_what_most_have_is_left_out_and_seeds_are_told() -> None:
    assert texts("seed=1", "seed=2", "seed=1 batch_size=16") == ["seed=1", "seed=2", "batch_size=16 seed=1"]


def test_who_is_told_of_a_run_does_not_tell_it_from_others() -> None:
    """Runs of one variant share the text of one of them, and may differ in it."""
    said = texts("optimizer.lr=0.1 report.tensorboard=true", "optimizer.lr=0.2")
    assert said == ["lr=0.1", "lr=0.2"]
