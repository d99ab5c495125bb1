"""`engine.Workspace`: whose scores its tables have, and what it takes from a program."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from engine import Workspace
from engine.config.keys import ConfigError
from engine.data.synthetic import synthesize
from engine.errors import EngineError, Notice
from engine.host.processes import identify
from engine.requests.refusals import Refused
from engine.run.events import Stopped
from engine.workspace import Workspace as Folders
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import (
    MadeUpJournal,
    detection_config,
    detection_journal,
    evaluation_config,
    evaluation_journal,
    finished_journal,
    generalise_config,
    generalise_journal,
)

TRAINED, EVALUATED, ELSEWHERE = "train000", "eval0000", "elsewher"


@pytest.fixture
def scored(workspace: Folders) -> Workspace:
    """A training, an evaluation of its network, and its scores in other environments."""
    import_made_up_run(workspace, TRAINED, finished_journal())
    journal, config = evaluation_journal(TRAINED, {"a": 0.25}), evaluation_config(TRAINED)
    import_made_up_run(workspace, EVALUATED, journal, config=config, created=901.0)
    journal, config = generalise_journal(), generalise_config(TRAINED)
    import_made_up_run(workspace, ELSEWHERE, journal, config=config, created=902.0)
    return Workspace(workspace.root, frames="rows")


def whose(table: list[object]) -> list[tuple[str, str]]:
    """Of each row the run whose network was scored, and the run that scored it."""
    return [(row.run.id, row.scores.run_id) for row in table]  # type: ignore[attr-defined]


def test_a_run_that_scored_a_network_has_its_scores(scored: Workspace) -> None:
    assert whose(scored.evaluations(EVALUATED)) == [(TRAINED, EVALUATED)]
    assert whose(scored.run(EVALUATED).evaluations()) == [(TRAINED, EVALUATED)]
    assert whose(scored.environments(ELSEWHERE)) == [(TRAINED, ELSEWHERE)] * 3


def test_scores_that_two_named_runs_have_are_there_once(scored: Workspace) -> None:
    both = [(TRAINED, TRAINED), (TRAINED, EVALUATED)]
    assert whose(scored.evaluations(TRAINED, EVALUATED)) == both
    assert whose(scored.evaluations()) == both
    assert whose(scored.environments(ELSEWHERE, TRAINED)) == [(TRAINED, ELSEWHERE)] * 3
    assert whose(scored.environments()) == [(TRAINED, ELSEWHERE)] * 3


def test_scores_stay_when_the_run_that_was_scored_is_deleted(scored: Workspace, seg: Command) -> None:
    assert seg(f"delete {TRAINED} --yes").status == 0
    assert whose(scored.evaluations()) == [(EVALUATED, EVALUATED)]
    assert whose(scored.environments()) == [(ELSEWHERE, ELSEWHERE)] * 3


def test_numbers_of_numpy_are_numbers(workspace: Folders, tmp_path: Path) -> None:
    ws = Workspace(workspace.root)
    rates = np.geomspace(1e-4, 1e-2, 3)
    values = {"optimizer.lr": rates[1], "epochs": np.int64(0)}
    with pytest.raises(ConfigError) as refused:
        ws.start("quick", data=tmp_path, **values)
    assert [problem.partition(" is not")[0] for problem in refused.value.problems] == ["epochs: '0'"]


def test_a_text_is_no_list_of_tags(workspace: Folders, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"tags: 'night' is a text; it must be a list, such as \['night'\]"):
        Workspace(workspace.root).start("quick", data=tmp_path, tags="night")


def test_what_is_refused_makes_no_database(workspace: Folders, tmp_path: Path) -> None:
    synthesize(tmp_path / "scenes", 4, (64, 64), 0, 0.25)
    ws = Workspace(workspace.root)
    with pytest.raises(EngineError, match="quickk: no such recipe"):
        ws.start("quickk", data=tmp_path / "scenes")
    with pytest.raises(EngineError, match="no runs here yet"):
        ws.queue("quick", data=tmp_path / "scenes", after="nobody")
    with pytest.raises(EngineError, match="no runs here yet"):
        ws.start("quick", data=tmp_path / "scenes", **{"init.weights": "nobody"})
    assert not workspace.database.exists()


def test_a_run_that_was_queued_is_there_though_this_user_can_start_no_agent(
    workspace: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(workspace: Folders) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(workspace.root / "agents"))

    monkeypatch.setattr("engine.api.starting.ensure_agent", refuse)
    synthesize(tmp_path / "scenes", 4, (64, 64), 0, 0.25)
    ws = Workspace(workspace.root)
    sayings = "is queued and waits for an agent; none can be started here: .*agents: Permission denied"
    with pytest.warns(Notice, match=sayings):
        run = ws.queue("quick", data=tmp_path / "scenes", **{"data.size": "32x32"})
    assert run.status == "queued"
    run.stop()
    with pytest.warns(Notice, match=sayings):
        assert run.resume().status == "queued"


def test_nobody_waits_for_a_preempted_run_that_nobody_queues_again(workspace: Folders) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.1, 0.2)
    journal.add(Stopped(epoch=1, cause="preempted"))
    import_made_up_run(workspace, TRAINED, journal)
    run = Workspace(workspace.root).run(TRAINED)
    assert run.wait(timeout=1).cause == "preempted"
    # Whoever looks after it is about to queue it.
    with workspace.open_store() as store:
        store.queue.take(TRAINED, identify(), ("stopped",))
        store.lifecycle.set_status(TRAINED, "stopped", "preempted")
    with pytest.raises(TimeoutError, match="train000 is stopped after 0 s; it goes on"):
        run.wait(timeout=0)


def test_a_notebook_is_told_what_a_run_is_for(scored: Workspace, workspace: Folders) -> None:
    import_made_up_run(workspace, "detected", detection_journal(), config=detection_config(TRAINED))
    import_made_up_run(workspace, "waiting0")
    shown = {name: scored.run(name)._repr_html_() for name in (TRAINED, EVALUATED, "detected", "waiting0")}
    told = {name: html.partition("&middot; ")[2].partition("</p>")[0] for name, html in shown.items()}
    assert told == {
        TRAINED: "best Dice 0.6000 @ 2, mIoU 0.4286, epoch 3/60",
        EVALUATED: "mean Dice 0.2500, mIoU 0.1429",
        "detected": "AUROC 0.8000 energy",
        "waiting0": "no result yet, epoch 0/60",
    }
