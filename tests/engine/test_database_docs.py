"""docs/database.md: every column is described, and every query answers its question."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.run.event import Event
from engine.run.events import Failed
from engine.store import CAUSES, STATUSES, Store
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import (
    MadeUpJournal,
    crf_event,
    detection_config,
    detection_journal,
    epoch_event,
    evaluation_config,
    evaluation_journal,
    generalise_config,
    generalise_journal,
    iou,
    latency_config,
    latency_journal,
    make_run_dir,
    result_event,
    robustness_config,
    robustness_journal,
    search_config,
    search_journal,
)

DOCS = Path(__file__).parents[2] / "docs" / "database.md"


def queries(fence: str) -> dict[str, str]:
    """The queries of the page by their headings, of those with that word behind the fence."""
    section = rf"^### ([^\n]+)\n(?:(?!^#).)*?^```{fence}\n(.*?)^```"
    return dict(re.findall(section, DOCS.read_text(), re.M | re.S))


SQLITE = queries("sql")
QUERIES = {"sqlite": SQLITE, "postgresql": SQLITE | queries("postgresql")}

FIRST, SECOND, THIRD, WIDE, BROKEN = "a1b2c3d4", "e5f6a7b8", "11111111", "22222222", "33333333"
EVALUATED = ("44444444", {"a": 0.42, "b": 0.6, "c": None}), ("55555555", {"a": 0.5, "b": 0.55, "c": None})

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Rows]:
    """Asks a query of the page of a database that was made by importing journals."""
    folder = tmp_path_factory.mktemp("workspace")
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'experiments.db'}"
    else:
        url = request.getfixturevalue("postgres").new_url()
    with Store(url) as store:
        fill(store, folder / "runs")

    def ask(title: str) -> Rows:
        with Store(url) as store, store.database.read() as connection:
            found = connection.exec_driver_sql(QUERIES[request.param][title])
            return [dict(row) for row in found.mappings()]

    return ask


def fill(store: Store, runs: Path) -> None:
    """Three seeds of one setup, a wider network in another experiment, and a run that failed."""

    def add(run_id: str, config: RunConfig, journal: MadeUpJournal, **card: object) -> None:
        store.journals.import_run(make_run_dir(runs, run_id, journal, config, **card))

    for run_id, seed, best in ((FIRST, 0, 0.5), (SECOND, 1, 0.6), (THIRD, 2, 0.55)):
        config = with_values(RunConfig(), {"seed": seed})
        tags = ("night", "lab") if seed == 0 else ("lab",)
        add(run_id, config, seed_journal(best), name=f"unet-{seed}", experiment="paper", tags=tags)

    wide = MadeUpJournal()
    wide.begin()
    for epoch, dice in enumerate((0.6, 0.8, 0.7), start=1):
        wide.epoch(epoch, dice + 0.1, dice, seconds=100.0)
    wide.finish(3)
    config = with_values(RunConfig(), {"model.width": 128, "optimizer.lr": 0.01})
    add(WIDE, config, wide, name="wide", experiment="width")

    for run_id, dices in EVALUATED:
        journal = evaluation_journal(FIRST, dices, begins=5000.0 if run_id == "44444444" else 6000.0)
        add(run_id, evaluation_config(FIRST), journal, name="full size", experiment="width")

    add("66666666", detection_config(FIRST), detection_journal(), name="unknown", experiment="width")
    refined = MadeUpJournal()
    refined.begin()
    refined.add(crf_event({"road": 0.8, "pole": 0.4}, {"road": 0.9, "pole": 0.2}))
    refined.finish(0)
    add("88888888", evaluation_config(SECOND), refined, name="refined", experiment="crf")
    add("99999999", search_config(SECOND), search_journal(SECOND), name="search", experiment="crf")
    add("abababab", latency_config(THIRD), latency_journal(THIRD), name="latency", experiment="crf")
    add("77777777", robustness_config(FIRST), robustness_journal(), name="rain", experiment="width")

    add("cdcdcdcd", generalise_config(FIRST), generalise_journal(), name="away", experiment="width")

    broken = MadeUpJournal()
    broken.begin()
    broken.add(Failed(cause="out_of_memory", message="2 GiB are not to be had"))
    add(BROKEN, RunConfig(), broken, name="too wide", experiment="width")


def seed_journal(best: float) -> MadeUpJournal:
    """Two epochs; in the second, "person" is worse and "car" better the better the run is."""
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.3, 0.2)
    journal.add(epoch_event(2, "train", 0.7))
    classes = {"road": best, "person": best - (best - 0.5) * 2, "car": best + (best - 0.5) * 2}
    journal.add(epoch_event(2, "val", best, dict(classes), seconds=1.0))
    journal.add(result_event(2, best))
    journal.add(result_event(2, best - 0.1, at="original"))
    journal.finish(2)
    return journal


def check_best_of_each(rows: Rows) -> None:
    assert [(r["experiment"], r["run"], r["best_dice"], r["best_epoch"]) for r in rows] == [
        ("width", WIDE, 0.8, 2),
        ("paper", SECOND, 0.6, 2),
    ]


def check_one_class(rows: Rows) -> None:
    assert rows == [{"epoch": 1, "dice": 0.2, "iou": iou(0.2)}, {"epoch": 2, "dice": 0.5, "iou": iou(0.5)}]


def check_seeds(rows: Rows) -> None:
    (row,) = rows
    assert (row["experiment"], row["example"], row["runs"]) == ("paper", "unet-0", 3)
    assert row["dice"] == pytest.approx(0.55)
    assert row["deviation"] == pytest.approx(statistics.stdev([0.5, 0.6, 0.55]))


def check_failed(rows: Rows) -> None:
    (row,) = rows
    assert (row["run"], row["status"], row["cause"]) == (BROKEN, "failed", "out_of_memory")
    assert row["message"] == "2 GiB are not to be had"
    assert row["ended"] == "1970-01-01 00:16:44"


def check_speed(rows: Rows) -> None:
    assert rows[0]["images_per_second"] == pytest.approx(8.0)
    assert (rows[-1]["name"], rows[-1]["images_per_second"]) == ("wide", pytest.approx(0.8))
    assert len(rows) == 4
    assert rows[0]["data_wait"] == pytest.approx(0.1)


def check_gap(rows: Rows) -> None:
    assert [r["name"] for r in rows] == ["unet-0", "unet-2", "unet-1", "wide"]
    assert rows[0]["gap"] == pytest.approx(0.2)
    assert rows[-1]["last_gap"] == pytest.approx(0.1)


def check_differing_keys(rows: Rows) -> None:
    assert rows == [{"key": "seed", "first": 0, "second": 1}]


def check_classes(rows: Rows) -> None:
    assert [r["class"] for r in rows] == ["car", "road", "person"]
    assert [r["gain"] for r in rows] == pytest.approx([0.3, 0.1, -0.1])
    assert rows[0]["first"] == pytest.approx(0.5)


def check_time_to_reach(rows: Rows) -> None:
    assert [(r["run"], r["epoch"]) for r in rows] == [
        (FIRST, 2),
        (SECOND, 2),
        (THIRD, 2),
        (WIDE, 1),
    ]
    assert rows[0]["seconds"] == pytest.approx(22.0)
    assert rows[-1]["seconds"] == pytest.approx(101.0)


def check_tags(rows: Rows) -> None:
    assert [(r["tag"], r["run"], r["place"]) for r in rows] == [
        ("lab", SECOND, 1),
        ("lab", THIRD, 2),
        ("lab", FIRST, 3),
        ("night", FIRST, 1),
    ]


def check_paper(rows: Rows) -> None:
    assert [(r["source"], r["name"]) for r in rows[:2]] == [(FIRST, "full size"), (FIRST, "full size")]
    assert [(r["source"], r["name"]) for r in rows[2:]] == [
        (SECOND, "unet-1"),
        (THIRD, "unet-2"),
        (FIRST, "unet-0"),
    ]
    assert rows[2]["dice"] == pytest.approx(0.5)
    assert rows[2]["miou"] == pytest.approx(iou(0.5))
    assert [r["flattered"] for r in rows] == pytest.approx([-0.025, -0.01, *[0.1] * 3])


def check_worst_images(rows: Rows) -> None:
    assert [(r["image"], r["dice"]) for r in rows] == [("c", None), ("a", 0.5), ("b", 0.55)]


def check_better_images(rows: Rows) -> None:
    assert [(r["image"], r["first"]) for r in rows] == [("a", 0.42), ("b", 0.6), ("c", None)]
    assert rows[0]["gain"] == pytest.approx(0.08)


def check_fast(rows: Rows) -> None:
    assert [(r["source"], r["milliseconds"], r["parameters"]) for r in rows] == [
        (FIRST, 20.0, 31_000_000)
    ] * 2
    assert rows[0]["dice"] == pytest.approx(0.525)


def check_scores(rows: Rows) -> None:
    assert [(r["level"], r["score"], r["auroc"]) for r in rows] == [
        ("pixel", "energy", 0.8),
        ("pixel", "msp", 0.7),
        ("image", "knn", None),
    ]


def check_rejected(rows: Rows) -> None:
    assert rows == [
        {"image": "c", "origin": "out", "value": 3.0},
        {"image": "b", "origin": "out", "value": 2.0},
    ]


def check_corruptions(rows: Rows) -> None:
    assert [(r["corruption"], r["kept"]) for r in rows] == [
        ("fog", pytest.approx(0.5)),
        ("noise", pytest.approx(0.75)),
    ]


def check_environments(rows: Rows) -> None:
    (row,) = rows
    assert (row["environment"], row["source"]) == ("town", FIRST)
    costs = (row["lost"], row["at_least"], row["at_most"])
    assert costs == (pytest.approx(0.3), pytest.approx(0.2), pytest.approx(0.4))


def check_crf_classes(rows: Rows) -> None:
    assert [r["class"] for r in rows] == ["pole", "road"]
    assert rows[0]["iou_before"] == pytest.approx(iou(0.4))
    assert rows[0]["change"] < 0 < rows[1]["change"]


def check_search(rows: Rows) -> None:
    assert [(r["trial"], r["kind"], r["bilateral_weight"]) for r in rows] == [
        (2, "random", 2.0),
        (0, "none", None),
        (1, "default", 1.0),
    ]


def check_latency(rows: Rows) -> None:
    assert [(r["protocol"], float(r["ms"]), r["frames_per_second"]) for r in rows] == [
        ("literature", 10.0, 100.0),
        ("engine", 20.0, 50.0),
    ]


def check_cost(rows: Rows) -> None:
    assert [(r["experiment"], r["runs"]) for r in rows] == [("width", 1), ("paper", 3)]
    assert rows[0]["hours"] == pytest.approx(303 / 3600)


CHECKS: dict[str, Callable[[Rows], None]] = {
    "The best run of each experiment": check_best_of_each,
    "How one class developed": check_one_class,
    "Mean and standard deviation over seeds": check_seeds,
    "Which runs failed, and why": check_failed,
    "The fastest and slowest runs": check_speed,
    "Which runs overfit": check_gap,
    "Which config keys differ between two runs": check_differing_keys,
    "Which classes one run predicts better than another": check_classes,
    "How long it took to reach a given Dice": check_time_to_reach,
    "A leaderboard for each tag": check_tags,
    "What to print in the paper": check_paper,
    "The worst images of a run": check_worst_images,
    "Which images one network predicts better than another": check_better_images,
    "Accuracy and speed": check_fast,
    "Which score detects out-of-distribution best": check_scores,
    "Which images a run would reject": check_rejected,
    "What a corruption costs": check_corruptions,
    "What another environment costs": check_environments,
    "What a CRF does to each class": check_crf_classes,
    "The best parameters of a search": check_search,
    "The fastest way to run a network": check_latency,
    "What an experiment cost": check_cost,
}


def test_every_query_of_the_page_has_a_check() -> None:
    assert set(SQLITE) == set(CHECKS) >= set(queries("postgresql"))
    assert DOCS.read_text().count("```sql") == len(SQLITE)


@pytest.mark.parametrize("title", CHECKS)
def test_the_query_answers_its_question(answers: Callable[[str], Rows], title: str) -> None:
    CHECKS[title](answers(title))


def test_every_column_of_every_view_and_table_is_described(tmp_path: Path, new_database: NewDatabase) -> None:
    with Store(new_database(tmp_path)) as store, store.database.read() as connection:
        inspector = sa.inspect(connection)
        kinds = {"Table": inspector.get_table_names(), "View": inspector.get_view_names()}
        real = {
            f"{kind} `{name}`": [column["name"] for column in inspector.get_columns(name)]
            for kind, names in kinds.items()
            for name in names
        }
    sections = re.findall(r"^### ((?:Table|View) `\w+`)\n(.*?)(?=^##|\Z)", DOCS.read_text(), re.M | re.S)
    described = {title: re.findall(r"^\| `(\w+)` \| \S", text, re.M) for title, text in sections}
    assert described == real


def kinds_of(event: type[Event]) -> Iterator[type[Event]]:
    """The events below a class; what several have in common is none itself."""
    for below in event.__subclasses__():
        if "event" in below.model_fields:
            yield below
        yield from kinds_of(below)


def test_every_word_that_a_column_can_hold_is_described() -> None:
    (events,) = re.findall(r"^\| `event` \| (.*) \|$", DOCS.read_text(), re.M)
    kinds = {kind.model_fields["event"].default for kind in kinds_of(Event)}
    kinds -= {"progress", "image", "ood_image"}
    assert set(re.findall(r"`(\w+)`", events)) == kinds
    (statuses,) = re.findall(r"^\| `status` \| (`queued`.*) \|$", DOCS.read_text(), re.M)
    assert set(re.findall(r"`(\w+)`", statuses)) == set(STATUSES)
    (causes,) = re.findall(r"^\| `cause` \| (.*`completed`.*) \|$", DOCS.read_text(), re.M)
    assert set(re.findall(r"`(\w+)`", causes)) == set(CAUSES)


def test_the_page_names_and_counts_every_view() -> None:
    text = DOCS.read_text(encoding="utf-8")
    headings = re.findall(r"^### View `(\w+)`$", text, re.MULTILINE)
    words = [
        "no",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
    ]
    promise = re.search(r"The (\w+) \*\*views\*\* (.*?), are the public", text, re.DOTALL)
    assert promise is not None
    named = re.findall(r"`(\w+)`", promise[2].split("and the table")[0])
    assert sorted(named) == sorted(headings)
    assert promise[1] == words[len(headings)]
