"""What runs of the tasks evaluate and robustness keep between two attempts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.config.task_sections import RobustnessConfig
from engine.inference.counting import Beside
from engine.inference.evaluate import Kept
from engine.inference.robustness import COUNTS, VARIANTS, Counts

CLASSES = ("road", "car")


def attempt(
    folder: Path,
    checkpoint: str = "sha",
    classes: tuple[str, ...] = CLASSES,
    split: Any = None,
) -> tuple[Counts, list[str]]:
    """The counts that an attempt begins with, and what it warns of."""
    warnings: list[str] = []
    job: Any = SimpleNamespace(run=SimpleNamespace(outputs=folder), warn=warnings.append)
    network: Any = SimpleNamespace(classes=classes, sha256=checkpoint)
    return Counts.of(job, split or split_of("ab"), network), warnings


def split_of(there: str, labels: str = "as they were") -> Any:
    contents = {name: (f"image {name}", labels) for name in there}
    return SimpleNamespace(samples=[SimpleNamespace(name=name) for name in there], contents=contents)


def matrices(correct: int) -> list[np.ndarray]:
    """Of the first class `correct` pixels of 10 are right, the others are taken for the second."""
    return [np.array([[correct, 10 - correct, 0], [0, 10, 0]], dtype=np.int64) for _ in VARIANTS]


def test_the_next_attempt_goes_on_with_what_was_counted(tmp_path: Path) -> None:
    first, _ = attempt(tmp_path)
    first.add("a", matrices(10))
    first.save()
    second, warnings = attempt(tmp_path)
    assert (second.names, warnings) == (["a"], [])
    second.add("b", matrices(0))
    clean, *_ = second.results(RobustnessConfig(source="a", checkpoint="best.pt"))
    assert (clean.corruption, clean.strength, clean.images) == ("clean", 0, 2)
    # Pooled: road has 10 of 20 pixels right, car 20 and 10 too many. Of the images: 1 and (0 + 2/3) / 2.
    assert clean.dice == pytest.approx((2 * 10 / 30 + 2 * 20 / 50) / 2)
    assert clean.dice_image == pytest.approx((1 + (0 + 20 / 30) / 2) / 2)
    assert len(second.results(RobustnessConfig(source="a", checkpoint="best.pt"))) == 31


def test_another_checkpoint_and_a_damaged_file_begin_anew(tmp_path: Path) -> None:
    first, _ = attempt(tmp_path)
    first.add("a", matrices(10))
    first.save()
    for other in ({"checkpoint": "other"}, {"classes": ("road", "car", "sky")}):
        counts, warnings = attempt(tmp_path, **other)  # type: ignore[arg-type]
        assert (counts.names, warnings) == (
            [],
            ["the checkpoint has changed; all images are scored again"],
        )
    path = tmp_path / COUNTS
    path.write_bytes(path.read_bytes()[:50])
    counts, (warning,) = attempt(tmp_path)
    assert counts.names == []
    assert "is damaged" in warning


def test_an_attempt_goes_on_with_the_images_that_have_both_scores(tmp_path: Path) -> None:
    """A kill between the writing of two files leaves more images before the CRF than after it."""
    warnings: list[str] = []
    job: Any = SimpleNamespace(run=SimpleNamespace(outputs=tmp_path), warn=warnings.append)
    network: Any = SimpleNamespace(classes=("road", "car"), sha256="sha")
    refinement: Any = SimpleNamespace(words="bilateral 2")
    nothing = Beside(None, None)
    matrix = np.array([[3, 1, 0], [0, 2, 0]])
    first = Kept.of(job, split_of("ab"), network, nothing, refinement)
    assert first.before is not None
    for name in ("a", "b"):
        first.before.add(name, matrix)
    first.confusions.add("a", matrix)
    first.save()
    second = Kept.of(job, split_of("ab"), network, nothing, refinement)
    assert second.before is not None
    assert (second.confusions.names, second.before.names, warnings) == (["a"], ["a"], [])
    assert np.array_equal(second.before.pooled(), matrix)
    other: Any = SimpleNamespace(words="bilateral 3")
    assert len(Kept.of(job, split_of("ab"), network, nothing, other).confusions) == 0
    assert warnings == ["the checkpoint or the CRF has changed; all images are scored again"]


@pytest.mark.parametrize(
    ("split", "told"),
    [
        (split_of("bc"), "1 sample (a) scored before and no longer there"),
        (split_of("ab", labels="redrawn"), "the files of 1 sample (a) scored before have changed"),
    ],
)
def test_an_image_that_has_left_the_split_or_changed_is_no_longer_counted(
    tmp_path: Path, split: Any, told: str
) -> None:
    counted, _ = attempt(tmp_path)
    counted.add("a", matrices(10))
    counted.save()
    again, warnings = attempt(tmp_path, split=split)
    outdated = [f"{told}; all images are scored again"]
    assert (again.names, again.confusions.sum(), warnings) == ([], 0, outdated)

    warnings = []
    job: Any = SimpleNamespace(run=SimpleNamespace(outputs=tmp_path), warn=warnings.append)
    network: Any = SimpleNamespace(classes=CLASSES, sha256="sha")
    first = Kept.of(job, split_of("ab"), network, Beside(None, None))
    first.confusions.add("a", matrices(10)[0])
    first.save()
    second = Kept.of(job, split, network, Beside(None, None))
    assert (second.confusions.names, second.confusions.pooled().sum(), warnings) == ([], 0, outdated)


def test_counts_of_an_earlier_version_are_gone_on_with(tmp_path: Path) -> None:
    counted, _ = attempt(tmp_path)
    counted.add("a", matrices(10))
    counted.save()
    with np.load(tmp_path / COUNTS) as file:
        arrays = {name: file[name] for name in file.files if name != "contents"}
    np.savez_compressed(tmp_path / COUNTS, **arrays)
    again, warnings = attempt(tmp_path)
    assert (again.names, warnings) == (["a"], [])
