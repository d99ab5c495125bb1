"""Making a run again: bundles, and what is said of runs that were made again. Nothing here trains."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from engine.exits import BAD_USE
from engine.requests.reproducing import files_again, first_in, first_of
from engine.run.directory import RunDir
from engine.run.environment import Environment, installed_packages, read_environments, record_environment
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import finished_journal

HERE = Environment(
    engine="0.1.0",
    engine_sha256="a" * 64,
    python="CPython 3.12.1",
    packages={"torch": "2.11.0", "rich": "14.0"},
    device="cpu",
    device_name="Some CPU",
    precision="fp32",
    threads=2,
    ranks=1,
    data_sha256="d" * 64,
)


@pytest.fixture
def first(workspace: Workspace) -> RunDir:
    """A run that ended, with what it was computed with."""
    run = import_made_up_run(workspace, "aaaa1111", finished_journal(), name="first", experiment="paper")
    record_environment(run, 1, HERE)
    run.split_file.write_text('{"format": 1, "train": {}, "val": {}, "unused": []}\n')
    return run


def again(workspace: Workspace, environment: Environment | None, **score: float) -> None:
    """The run bbbb2222 makes `first` again with the same scores; in what it knows of the first one, the last
    validation has other scores where they are given."""
    with workspace.open_store() as store:
        known = files_again(first_of(workspace, store, store.run("aaaa1111")))
    run = import_made_up_run(workspace, "bbbb2222", finished_journal(), name="first again")
    origin = json.loads(known["reproduces.json"])
    [row for row in origin["scores"] if row["split"] == "val"][-1]["scores"].update(score)
    run.origin_file.write_text(json.dumps(origin))
    if environment is not None:
        record_environment(run, 1, environment)


def found(seg: Command) -> dict[str, object]:
    record: dict[str, object] = seg("show bbbb2222 --json").json["reproduction"]
    return record


# --- Bundles -------------------------------------------------------------------------------------


def test_a_bundle_depends_on_the_run_alone_and_says_all_that_is_known(
    seg: Command, first: RunDir, tmp_path: Path
) -> None:
    for name in ("one.zip", "two.zip"):
        done = seg(f"reproduce first --bundle {tmp_path}/{name}")
        assert (done.status, done.out) == (0, f"{tmp_path}/{name}\n")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as bundle:
        assert bundle.read("requirements.txt") == b"torch==2.11.0\nrich==14.0\n"
        assert bundle.read("config.json") == first.config_file.read_bytes()
    known = first_in(tmp_path / "one.zip")
    assert (known.origin.run, known.origin.name, known.experiment) == ("aaaa1111", "first", "paper")
    assert known.origin.environments == {1: HERE}
    assert known.split == first.split_file.read_bytes()
    refused = seg(f"reproduce first --bundle {tmp_path}/one.zip")
    assert (refused.status, refused.err) == (
        BAD_USE,
        f"error: {tmp_path}/one.zip: already exists; name another file\n",
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no such file"),
        ({}, "is no bundle of seg-engine: it has no about.json"),
        ({"about.json": '{"format": 2, "run": "x", "name": "x"}'}, "is of format 2; this version reads 1"),
        ({"about.json": "{}"}, "about.json: Field required"),
        (
            {
                "about.json": '{"format": 1, "run": "x", "name": "x"}',
                "environment.json": "[]",
                "scores.json": "1",
            },
            "is no record of environments",
        ),
        ("junk", "is no ZIP file"),
    ],
)
def test_what_is_no_bundle_is_refused_in_a_line_and_nothing_is_made(
    seg: Command, workspace: Workspace, tmp_path: Path, content: object, says: str
) -> None:
    path = tmp_path / "bundle.zip"
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, dict):
        with zipfile.ZipFile(path, "w") as bundle:
            for name, text in content.items():
                bundle.writestr(name, text)
    refused = seg(f"reproduce {path}")
    assert refused.status == BAD_USE
    assert refused.err.startswith(f"error: {path}: {says}")
    assert refused.err.count("\n") == 1
    assert not list(workspace.root.iterdir())


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bundle_that_somebody_packed_again_and_was_damaged_since_is_one_line(
    seg: Command, workspace: Workspace, tmp_path: Path, packed: int
) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", packed) as bundle:
        bundle.writestr("about.json", json.dumps(list(range(9999))))
        begins = len("about.json") + 30  # behind the header of the file
    content = bytearray(path.read_bytes())
    content[begins + 9 : begins + 200] = b"\xff" * 191
    path.write_bytes(content)
    refused = seg(f"reproduce {path}")
    assert (refused.status, refused.err.count("\n")) == (BAD_USE, 1), refused.err
    assert refused.err.startswith(f"error: {path}: is damaged: ")


def test_data_that_is_not_here_and_runs_without_scores_are_refused(
    seg: Command, first: RunDir, workspace: Workspace, tmp_path: Path
) -> None:
    assert "--data DIR names the folder of the data set" in seg("reproduce first").err
    import_made_up_run(workspace, "cccc3333", None, name="new")
    assert "cccc3333: is queued and has no scores to compare with" in seg("reproduce new").err
    done = seg(f"reproduce first --bundle {tmp_path}/x.zip --name again --on-end true")
    assert done.status == BAD_USE
    assert "--bundle: runs nothing; omit --name and --on-end" in done.err
    assert not (tmp_path / "x.zip").exists()


# --- What is said of a run that was made again ---------------------------------------------------


def test_equal_scores_are_told_as_promised(seg: Command, workspace: Workspace, first: RunDir) -> None:
    again(workspace, HERE.model_copy(update={"packages": {"torch": "2.11.0", "rich": "15.0"}}))
    record = found(seg)
    assert (record["equal"], record["promised"], record["broken"]) == (True, True, False)
    page = seg("show bbbb2222").out
    assert "reproduces  aaaa1111  first\nequal to the bit (as promised); 3 of 3 epochs compared" in page
    assert "package rich: 14.0, now 15.0" in page


def test_other_scores_in_the_same_environment_break_the_promise(
    seg: Command, workspace: Workspace, first: RunDir
) -> None:
    again(workspace, HERE, dice=0.0)
    record = found(seg)
    assert (record["equal"], record["broken"]) == (False, True)
    dice = next(iter(seg("show bbbb2222 --json").json["curve"]))["dice"]
    assert record["largest"] != dice or record["largest"] > 0
    assert (
        "PROMISE BROKEN: nothing that computes differs, but the scores do: largest difference"
        in seg("show bbbb2222").out
    )


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"engine_sha256": "b" * 64}, "code of seg-engine differs"),
        ({"packages": {"torch": "2.12.0"}}, "package torch differs"),
        ({"threads": 4, "device_name": "Other CPU"}, "device, threads differ"),
        ({"data_sha256": "e" * 64}, "images or labels differs"),
        ({"components": {"mine.py": "c" * 64}}, "code of a plugin took part"),
        ({"device": "cuda:0"}, ""),
    ],
)
def test_in_another_environment_nothing_is_promised(
    seg: Command, workspace: Workspace, first: RunDir, changed: dict[str, object], why: str
) -> None:
    again(workspace, HERE.model_copy(update=changed), dice=0.0)
    record = found(seg)
    assert record["why_not_promised"] == why
    assert record["broken"] == (not why)


def test_of_a_run_of_an_earlier_version_scores_alone_are_compared(
    seg: Command, workspace: Workspace, first: RunDir
) -> None:
    first.environment_file.unlink()
    again(workspace, HERE)
    record = found(seg)
    assert (record["equal"], record["promised"], record["environment"]) == (True, False, [])
    assert "what it was computed with was not kept" in seg("show bbbb2222").out


def test_a_damaged_record_costs_that_part_of_the_page_alone(
    seg: Command, workspace: Workspace, first: RunDir
) -> None:
    again(workspace, HERE)
    RunDir(workspace.runs / "bbbb2222").origin_file.write_text("{")
    shown = seg("show bbbb2222")
    assert shown.status == 0
    assert "reproduces.json: cannot be read" in shown.err
    assert "first again" in shown.out


def test_each_attempt_has_its_record_and_keeps_what_was_known(first: RunDir) -> None:
    record_environment(first, 1, Environment(split_sha256="s" * 64))
    record_environment(first, 2, Environment(python="CPython 3.13.0"))
    known = read_environments(first)
    assert known[1] == HERE.model_copy(update={"split_sha256": "s" * 64})
    assert known[2].python == "CPython 3.13.0"


def test_installed_packages_are_listed_beside_one_whose_metadata_are_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, author in (("old", b"Ren\xe9"), ("new", b"Ren\xc3\xa9")):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_bytes(b"Name: %s\nVersion: 1.0\nAuthor: %s\n" % (name.encode(), author))
    monkeypatch.syspath_prepend(tmp_path)
    found = installed_packages()
    assert found["new"] == "1.0"
    assert "torch" in found
