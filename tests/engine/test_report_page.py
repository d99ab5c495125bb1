"""Pages, the study's tables beside ours, and the command lines of a report."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from engine.config.keys import parse_assignments, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.report.commands import command_line, command_lines
from engine.report.compare import ComparedRun
from engine.report.measures import Evaluation
from engine.report.page import (
    Block,
    Bullets,
    Code,
    Details,
    Heading,
    Marked,
    Picture,
    Table,
    table,
    text,
    to_markdown,
)
from engine.report.page_html import to_html
from engine.report.published import PUBLISHED_RESULTS, PublishedResult
from engine.report.reported_runs import config_toml
from engine.report.study import own_epoch, own_results, study_blocks
from engine.store import Store
from tests.engine.made_up_runs import (
    MadeUpJournal,
    add_run,
    evaluation_config,
    evaluation_journal,
    ingest,
    open_store,
)

EVIL = "<script>alert(1)</script> a|b *c* `d`"

BLOCKS: list[Block] = [
    Heading(EVIL, 1),
    text("About ", Marked(EVIL, "strong"), "."),
    Heading("Numbers & so on"),
    table(
        ["run", "Dice"],
        [[EVIL, ("0.6000", Marked(" (+0.1000)", "better"))], ["b", Marked("0.5", "published")]],
    ),
    Bullets((EVIL,)),
    Picture("figures/a.png", "what it shows", 0.5),
    Details("more", (Code("a < b\n", "toml"),)),
]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@pytest.fixture
def make(store: Store) -> Callable[..., ComparedRun]:
    """A run of a recipe with the given validation Dice, epoch by epoch; training is 0.01 below."""

    def made(
        run_id: str, recipe: str, *dice: float, keys: Mapping[str, Any] | None = None, **card: object
    ) -> ComparedRun:
        journal = MadeUpJournal()
        journal.begin()
        for epoch, value in enumerate(dice, start=1):
            journal.epoch(epoch, value - 0.01, value)
        config = with_values(
            get_recipe(recipe), {"epochs": len(dice), "data.root": "/data/city", **(keys or {})}
        )
        ingest(store, add_run(store, run_id, config, **card), journal.events)
        return ComparedRun(store.run(run_id), store.results.epochs(run_id))

    return made


def published(table: str, recipe: str, epochs: int | None) -> PublishedResult:
    return next(r for r in PUBLISHED_RESULTS if (r.table, r.recipe, r.epochs) == (table, recipe, epochs))


# --- Pages -------------------------------------------------------------------------------------


def test_html_needs_nothing_else_and_shows_names_as_they_are() -> None:
    html = to_html(EVIL, BLOCKS, lambda path: path.encode())
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags.seen}
    sources = [attributes["src"] for tag, attributes in tags.seen if tag == "img"]
    assert sources == ["data:image/png;base64,ZmlndXJlcy9hLnBuZw=="]
    assert "://" not in html
    assert "&lt;script&gt;" in html
    assert "prefers-color-scheme: dark" in html
    assert '<a href="#numbers-so-on">Numbers &amp; so on</a>' in html
    assert '<h2 id="numbers-so-on">' in html
    assert '0.6000<span class="better"> (+0.1000)</span>' in html
    assert "<code>a &lt; b</code>" in html


def test_the_page_allows_its_own_style_and_pictures_and_nothing_else() -> None:
    html = to_html(EVIL, BLOCKS, lambda path: path.encode())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "style=" not in html


def test_markdown_shows_names_as_they_are_and_keeps_its_tables_whole() -> None:
    markdown = to_markdown(BLOCKS)
    assert markdown.startswith("# \\<script>alert(1)\\</script> a\\|b \\*c\\* \\`d\\`\n")
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert rows[1] == "| --- | ---: |"
    assert rows[2].endswith("| 0.6000 (+0.1000) |")
    assert rows[3] == "| b | *0.5* |"
    assert {row.replace("\\|", "").count("|") for row in rows} == {3}
    assert "![what it shows](figures/a.png)" in markdown
    assert "```toml\na < b\n```" in markdown


# --- The study's tables ------------------------------------------------------------------------


def cells_of(blocks: list[Block], table_name: str) -> list[list[str]]:
    """The text of a table's rows."""
    at = next(
        i for i, b in enumerate(blocks) if isinstance(b, Heading) and b.text.startswith(table_name + ":")
    )
    block = blocks[at + 1]
    assert isinstance(block, Table)
    return [[c.text if isinstance(c, Marked) else str(c) for c in row] for row in block.rows]


def test_ours_stand_at_the_same_share_of_the_schedule() -> None:
    assert [own_epoch(epoch, "paper-unet", 60) for epoch in (25, 35, 60)] == [25, 35, 60]
    assert [own_epoch(epoch, "paper-unet", 6) for epoch in (25, 35, 60)] == [2, 4, 6]
    assert own_epoch(25, "paper-unet", 1) == 1
    assert own_epoch(None, "paper-unet", 6) == 6


def test_the_baselines_curve_stands_beside_table_one(make: Callable[..., ComparedRun]) -> None:
    run = make("aaaaaaaa", "paper-unet", 0.1, 0.2, 0.25, 0.3, 0.31, 0.36, name="ours")
    brief = make("bbbbbbbb", "paper-unet", 0.2, 0.4, name="brief", keys={"budget.hours": 1.5})
    assert study_blocks([brief]) == []
    blocks = study_blocks([run, brief])
    rows = cells_of(blocks, "Table I")
    assert [row[:4] for row in rows] == [
        ["U-Net (2015)", "25", "0.21858", "0.22154"],
        ["U-Net (2015)", "35", "0.25815", "0.26083"],
        ["U-Net (2015)", "60", "0.31615", "0.31719"],
    ]
    assert [row[4:] for row in rows] == [
        ["ours", "2", "0.1900", "0.2000", "-0.0215"],
        ["ours", "4", "0.2900", "0.3000", "+0.0392"],
        ["ours", "6", "0.3500", "0.3600", "+0.0428"],
    ]
    # What was not run here is a dash, not a gap in the study's table.
    assert cells_of(blocks, "Table II")[0] == ["Modern U-Net", "100", "0.57843", "0.55278"] + ["-"] * 5
    notes = blocks[-1]
    assert isinstance(notes, Bullets)
    assert notes.points == (
        "ours is not the study's setting: 3 classes of its own, 80 training images of city instead of 2380, "
        "epochs 6 instead of 60.",
        "brief is left out: it trains for 1.5 hours, not by the study's schedule.",
    )


@pytest.mark.parametrize(("recipe", "told"), [("paper-unet", True), ("paper-modern-unet", False)])
def test_a_batch_in_parts_is_another_experiment_where_there_is_batch_norm(
    make: Callable[..., ComparedRun], recipe: str, told: bool
) -> None:
    keys = {"runtime.micro_batch": 4, "devices": 2, "runtime.threads": 1, "device": "cpu"}
    keys |= {"executor": "slurm", "slurm.partition": "gpu", "report.tensorboard": True}
    cut = make("aaaaaaaa", recipe, *[0.1] * 6, name="cut", keys=keys)
    notes = study_blocks([cut])[-1]
    assert isinstance(notes, Bullets)
    assert ("devices 2 instead of 1, runtime.micro_batch 4 instead of 0" in notes.points[0]) == told
    for key in ("runtime.threads", "executor", "slurm", "report"):
        assert key not in notes.points[0]


def test_seeds_are_one_result_with_a_deviation(make: Callable[..., ComparedRun]) -> None:
    runs = [
        make("aaaaaaaa", "paper-unet", 0.1, 0.2, name="ours", keys={"seed": 1}),
        make("bbbbbbbb", "paper-unet", 0.1, 0.4, name="ours", keys={"seed": 2}),
    ]
    last = cells_of(study_blocks(runs), "Table I")[-1]
    assert last[4:] == ["ours, 2 seeds", "2", "0.2900 ± 0.1414", "0.3000 ± 0.1414", "-0.0172"]


def test_a_test_score_is_of_images_that_the_training_had_nothing_to_do_with(
    make: Callable[..., ComparedRun], store: Store
) -> None:
    run = make("aaaaaaaa", "paper-unet", 0.1, 0.2, name="ours")
    for run_id, dice in (("eeeeeee1", 0.9), ("eeeeeee2", 0.25)):
        add_run(store, run_id, evaluation_config("aaaaaaaa"))
        ingest(store, run_id, evaluation_journal("aaaaaaaa", {"a": dice, "b": dice}).events)
    held_out, outside = store.results.evaluations_of("aaaaaaaa")
    run = replace(run, evaluations=[Evaluation(outside, True), Evaluation(held_out, False)])
    (own,) = own_results(published("III", "paper-unet", None), [[run]])
    assert own.test_dice is not None
    assert (own.test_dice.mean, own.scored_on) == (0.25, "at original, 20 images")
    rows = cells_of(study_blocks([run]), "Table III")
    assert rows[0][3:] == ["ours", "2", "0.2500", "at original, 20 images", "+0.0026"]
    assert rows[1][3:] == ["-"] * 5


def test_a_mean_of_test_scores_is_of_the_same_images(make: Callable[..., ComparedRun], store: Store) -> None:
    runs = []
    for seed, source in enumerate(("aaaaaaaa", "bbbbbbbb")):
        run = make(source, "paper-unet", 0.1, 0.2, name="ours", keys={"seed": seed})
        for place, dice in enumerate((0.25, 0.75)):
            run_id = f"eeeeee{seed}{place}"
            add_run(store, run_id, evaluation_config(source))
            ingest(store, run_id, evaluation_journal(source, {"a": dice}, begins=3000.0 + place).events)
        own, night = store.results.evaluations_of(source)
        found = [Evaluation(own, True), Evaluation(night, True, data="night val")]
        runs.append(replace(run, evaluations=found[: 2 - seed]))
    (result,) = own_results(published("III", "paper-unet", None), [runs])
    assert result.test_dice is not None
    assert (result.test_dice.mean, result.test_dice.n) == (0.25, 2)
    assert result.scored_on == "at original, 20 images"


def test_epochs_of_pretraining_are_told_apart(make: Callable[..., ComparedRun]) -> None:
    keys = {
        "pretrain.epochs": 3,
        "init.weights": "../bbbbbbbb/checkpoints/best.pt",
        "schedule.warmup_epochs": 0,
    }
    run = make("aaaaaaaa", "paper-modern-unet-pt", 0.1, 0.2, keys=keys)
    rows = cells_of(study_blocks([run]), "Table II")
    assert [row[5] for row in rows] == ["-", *(["1 + 3 pre-training"] * 2), *(["2 + 3 pre-training"] * 2)]


def test_an_experiment_of_other_recipes_has_no_tables_of_the_study(
    make: Callable[..., ComparedRun],
) -> None:
    assert study_blocks([make("aaaaaaaa", "quick", 0.5)]) == []


def test_a_run_that_is_not_so_far_has_no_number_yet(make: Callable[..., ComparedRun]) -> None:
    run = make("aaaaaaaa", "paper-unet", 0.1, 0.2, keys={"epochs": 60})
    assert own_results(published("I", "paper-unet", 25), [[run]]) == []


# --- How to reproduce it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        get_recipe("quick"),
        with_values(get_recipe("paper-unet"), {"seed": 3, "data.size": "64x96", "optimizer.lr": 0.0625}),
        with_values(get_recipe("quick"), {"model.name": "modern_unet", "data.classes": "my classes.toml"}),
    ],
)
def test_a_command_line_makes_the_config_again(store: Store, config: RunConfig) -> None:
    config = with_values(config, {"data.root": "/data/my city"})
    add_run(store, config=config, name="it's 1", experiment="two words")
    words = shlex.split(command_line(store.run("aaaaaaaa"), {}))
    assert words[:2] == ["seg-engine", "run"]
    options = dict(zip(words[-6::2], words[-5::2], strict=True))
    assert options == {"--data": "/data/my city", "--name": "it's 1", "--experiment": "two words"}
    again = with_values(get_recipe(words[2]), parse_assignments(words[3:-6]))
    assert with_values(again, {"data.root": options["--data"]}) == config


def test_a_recipe_that_is_no_more_is_repeated_from_its_file(store: Store, tmp_path: Path) -> None:
    config = with_values(get_recipe("quick"), {"recipe": "gone"})
    add_run(store, config=config)
    row = store.run("aaaaaaaa")
    assert "run configs/aaaaaaaa.toml" in command_line(row, {})
    from engine.config.files import load_config

    (tmp_path / "a.toml").write_text(config_toml(row))
    assert load_config(tmp_path / "a.toml") == config


def test_a_chain_is_one_line_and_what_builds_on_a_run_names_it(store: Store) -> None:
    def add(run_id: str, name: str, **keys: Any) -> None:
        values = {"data.root": "/d", **{key.replace("__", "."): value for key, value in keys.items()}}
        add_run(store, run_id, with_values(get_recipe("quick"), values), name=name)

    add("pppppppp", "pt pretrain", task="pretrain", epochs=3)
    add("tttttttt", "pt", pretrain__epochs=3, **{"init.weights": "../pppppppp/checkpoints/best.pt"})
    add("ffffffff", "more", **{"init.weights": "../tttttttt/checkpoints/best.pt"})
    add("gggggggg", "file", **{"init.weights": "/models/net.pt"})
    source = store.run("tttttttt")
    about = {"source": "tttttttt", "checkpoint": "../tttttttt/checkpoints/last.pt", "split": "val"}
    changes = {"task": "evaluate", "evaluate": about, "init": {}, "pretrain": {}}
    config = RunConfig.model_validate(source.config | changes)
    config = with_values(config, {"data.split": "official", "runtime.threads": 1})
    add_run(store, "eeeeeeee", config, name="outside")
    lines = command_lines([store.run(f"{c * 8}") for c in "ptfge"])
    end = "--data /d --name {} --experiment test"
    assert lines == [
        f"seg-engine run quick pretrain.epochs=3 {end.format('pt')}",
        f"seg-engine run quick init.weights=pt {end.format('more')}",
        f"seg-engine run quick init.weights=/models/net.pt {end.format('file')}",
        "seg-engine evaluate pt data.split=official runtime.threads=1 --split val --at original "
        "--label-resize bilinear-logits --tta none --critical none "
        "--checkpoint last --name outside --experiment test",
    ]


def test_a_command_names_no_key_that_is_settled_by_the_training(store: Store) -> None:
    keys = {"data.root": "/d", "data.split": "folders", "data.val_folders": "a", "device": "cuda"}
    trained = with_values(get_recipe("quick"), {**keys, "devices": 2, "distill.from": "/nets/big.pt"})
    add_run(store, "tttttttt", trained, name="net")
    looking = {"devices": 1, "device": "cpu", "data.split": "official", "data.val_folders": ""}
    about = {"source": "tttttttt", "checkpoint": "../tttttttt/checkpoints/best.pt"}
    table = with_values(trained, looking).model_dump() | {
        "task": "robustness",
        "robustness": about,
        "distill": {},
    }
    add_run(store, "rrrrrrrr", RunConfig.model_validate(table), name="rain")
    _, line = command_lines([store.run("tttttttt"), store.run("rrrrrrrr")])
    assert line.startswith("seg-engine robustness net device=cpu data.split=official --")


def test_a_checkpoint_that_is_not_the_best_is_named(store: Store) -> None:
    trained = with_values(get_recipe("quick"), {"data.root": "/d"})
    add_run(store, "tttttttt", trained, name="net")
    rows = [store.run("tttttttt")]
    for place, path in enumerate(("../tttttttt/checkpoints/epoch_0010.pt", "/models/net.pt")):
        about = {"source": "tttttttt", "checkpoint": path}
        table = trained.model_dump() | {"task": "robustness", "robustness": about, "init": {}}
        add_run(store, f"rrrrrrr{place}", RunConfig.model_validate(table), name=f"rain {place}")
        rows.append(store.run(f"rrrrrrr{place}"))
    last = "../tttttttt/checkpoints/last.pt"
    learning = with_values(trained, {"init.weights": last, "distill.from": last})
    add_run(store, "llllllll", learning, name="more")
    lines = command_lines([*rows, store.run("llllllll")])
    assert "--checkpoint epoch_0010.pt " in lines[1]
    assert "--checkpoint /models/net.pt " in lines[2]
    assert f" init.weights={last} " in lines[3]
    assert f" distill.from={last} " in lines[3]


def test_a_prediction_is_repeated_on_its_images(store: Store) -> None:
    trained = with_values(get_recipe("quick"), {"data.root": "/d"})
    add_run(store, "tttttttt", trained, name="net")
    about = {
        "source": "tttttttt",
        "checkpoint": "../tttttttt/checkpoints/best.pt",
        "images": ["/p/a.png", "/p/b b.png"],
        "out": "/maps",
        "values": [7, 8],
    }
    table = trained.model_dump() | {"task": "predict", "predict": about, "init": {}}
    add_run(store, "qqqqqqqq", with_values(RunConfig.model_validate(table), {"device": "cpu"}), name="maps")
    assert command_lines([store.run("tttttttt"), store.run("qqqqqqqq")])[1] == (
        "seg-engine predict net /p/a.png '/p/b b.png' --set device=cpu --out /maps --ids raw --naming plain "
        "--label-resize bilinear-logits --tta none --name maps --experiment test"
    )


def test_an_average_is_repeated_with_the_keys_that_were_changed(store: Store) -> None:
    trained = with_values(get_recipe("quick"), {"data.root": "/d", "batch_size": 4, "executor": "slurm"})
    for run_id, name in (("tttttttt", "one"), ("uuuuuuuu", "two")):
        add_run(store, run_id, trained, name=name)
    about = {"checkpoints": [f"../{run}/checkpoints/best.pt" for run in ("tttttttt", "uuuuuuuu")]}
    averaged = trained.model_dump() | {"task": "average", "average": about | {"out": "/soup.pt"}}
    changes = {"executor": "local", "device": "cpu", "batch_size": 2, "runtime.threads": 3, "epochs": 1}
    add_run(store, "vvvvvvvv", with_values(RunConfig.model_validate(averaged), changes), name="soup")
    assert command_lines([store.run(f"{c * 8}") for c in "tuv"])[2] == (
        "seg-engine average one two --checkpoints best --set batch_size=2 --set device=cpu "
        "--set runtime.threads=3 --out /soup.pt --name soup --experiment test"
    )


def test_a_config_that_this_version_cannot_read_is_kept_as_comment(store: Store) -> None:
    add_run(store)
    row = store.run("aaaaaaaa")
    row.stored_config["optimizer"] = {"name": "lion"}
    kept = config_toml(row)
    assert '"lion"' in kept
    assert all(line.startswith("#") for line in kept.splitlines())
