"""The fully connected CRF: against a library, against an exact computation, and as a GPU computes it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.config.crf import CrfConfig, CrfParameters
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.config.task_sections import CrfSearchConfig
from engine.inference.crf import lattice
from engine.inference.crf.found import Found, found_path, save_found
from engine.inference.crf.lattice import CrfError, find_vertices, unique_by_table
from engine.inference.crf.mean_field import DenseCrf
from engine.inference.crf.refinement import Refinement, use_of
from engine.inference.crf.search import Case, earlier_trials, proposed, scored
from engine.learning.class_maps import class_map, logits_at
from engine.run.crf_events import CrfSearching, CrfTrial
from engine.run.environment import text_digest
from engine.run.journal import JournalWriter
from tests.engine.made_up_runs import make_run_dir

Floats = NDArray[np.float64]


def parameters(
    gaussian_sigma: float, gaussian: float, xy: float, rgb: float, bilateral: float, iterations: int
) -> CrfParameters:
    return CrfParameters(
        iterations=iterations,
        gaussian_weight=gaussian,
        gaussian_sigma=gaussian_sigma,
        bilateral_weight=bilateral,
        bilateral_sigma_xy=xy,
        bilateral_sigma_rgb=rgb,
    )


SETS = {
    "gauss_only_it1": parameters(3, 3, 1, 1, 0, 1),
    "bilateral_only_it1": parameters(1, 0, 8, 20, 4, 1),
    "small": parameters(3, 3, 8, 20, 4, 10),
}


def refined(about: CrfParameters, image: NDArray[np.uint8], probs: Floats) -> NDArray[np.float32]:
    """Probabilities [C, H, W] after the CRF."""
    log_probs = torch.from_numpy(np.log(probs)).float().permute(1, 2, 0).contiguous()
    return DenseCrf(about).refined(torch.from_numpy(image), log_probs).permute(2, 0, 1).numpy()


@pytest.mark.parametrize("name", SETS)
def test_the_crf_is_that_of_the_reference_library(shared_data: Path, name: str) -> None:
    folder = shared_data / "reference_systems"
    case, expected = np.load(folder / "crf_case.npz"), np.load(folder / "crf_expected.npz")
    found = refined(SETS[name], case["img"], case["probs"])
    assert np.abs(found - expected[f"{name}_library"]).max() < 5e-7
    differences = np.abs(found - expected[f"{name}_exact"])
    assert differences.max() < 0.04
    assert differences.mean() < 0.0025


def exact(about: CrfParameters, image: NDArray[np.uint8], probs: Floats) -> Floats:
    """Mean field over all pairs of pixels, in float64."""
    classes, height, width = probs.shape
    places = np.indices((height, width)).reshape(2, -1).T
    colors = image.reshape(-1, 3) / about.bilateral_sigma_rgb
    kernels = [
        (about.gaussian_weight, places / about.gaussian_sigma),
        (about.bilateral_weight, np.hstack([places / about.bilateral_sigma_xy, colors])),
    ]
    total = np.zeros((len(places), len(places)))
    for weight, features in kernels:
        squares = (features**2).sum(1)
        kernel = np.exp(-(squares[:, None] + squares - 2 * features @ features.T) / 2)
        root = kernel.sum(1) ** -0.5
        total += weight * root[:, None] * kernel * root
    unary = np.log(probs.reshape(classes, -1)).T
    beliefs = probs.reshape(classes, -1).T
    for _ in range(about.iterations):
        energy = unary + total @ beliefs
        beliefs = np.exp(energy - energy.max(1, keepdims=True))
        beliefs /= beliefs.sum(1, keepdims=True)
    return beliefs.T.reshape(probs.shape)


def drawn(height: int, width: int, classes: int) -> tuple[NDArray[np.uint8], Floats]:
    """Discs before a sky, and uncertain probabilities of which is where."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width]
    truth = np.zeros((height, width), dtype=np.int64)
    for label in range(1, classes):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        truth[(y - cy) ** 2 + (x - cx) ** 2 < (height / 4) ** 2] = label
    palette = rng.integers(0, 256, (classes, 3))
    image = np.clip(palette[truth] + rng.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)
    logits = rng.normal(0, 1, (classes, height, width)) + 2.0 * (np.arange(classes)[:, None, None] == truth)
    probs = np.exp(logits)
    return image, probs / probs.sum(0)


def test_mean_field_is_near_the_sum_over_all_pairs() -> None:
    image, probs = drawn(30, 41, 4)
    about = parameters(3, 1, 8, 20, 1.5, 10)  # strong weights would amplify what the lattice approximates
    differences = np.abs(refined(about, image, probs) - exact(about, image, probs))
    assert differences.max() < 0.04
    assert differences.mean() < 0.0025


def test_what_a_gpu_does_is_what_the_cpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    image, probs = drawn(37, 53, 3)
    about = parameters(1, 1, 9, 12, 2, 5)
    monkeypatch.setattr(lattice, "BAND", 100)  # several bands, the last one shorter
    on_cpu = refined(about, image, probs)
    monkeypatch.setattr(lattice, "on_host", lambda device: False)
    assert np.abs(refined(about, image, probs) - on_cpu).max() < 1e-6


def test_one_crf_refines_images_of_several_sizes() -> None:
    crf, about = DenseCrf(SETS["small"]), SETS["small"]
    for height, width in ((20, 30), (30, 20), (20, 30)):
        image, probs = drawn(height, width, 3)
        log_probs = torch.from_numpy(np.log(probs)).float().permute(1, 2, 0).contiguous()
        found = crf.refined(torch.from_numpy(image), log_probs).permute(2, 0, 1).numpy()
        assert np.array_equal(found, refined(about, image, probs))


def test_without_weight_nothing_changes() -> None:
    image, probs = drawn(9, 17, 3)
    assert np.abs(refined(parameters(1, 0, 9, 12, 0, 3), image, probs) - probs).max() < 1e-6


def test_distinct_keys_are_found_as_numpy_finds_them() -> None:
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**61, 4000)[rng.integers(0, 4000, 50_000)]
    known, ids = unique_by_table(keys)
    expected, inverse = np.unique(keys, return_inverse=True)
    assert np.array_equal(known, expected)
    assert np.array_equal(ids, inverse)


def test_a_point_lies_between_the_vertices_around_it() -> None:
    features = torch.from_numpy(np.random.default_rng(2).uniform(0, 9, (5, 500))).float()
    vertices = find_vertices(features)
    assert torch.allclose(vertices.shares.sum(1), torch.ones(500), atol=1e-5)
    assert float(vertices.shares.min()) > -1e-5
    assert int(vertices.ids.max()) == vertices.count - 1
    for neighbours in vertices.neighbours:  # who has a neighbour is that one's other neighbour
        after = neighbours[:, 2].long()
        there = after < vertices.count
        assert torch.equal(neighbours[after[there], 1], neighbours[there, 0])


def test_deviations_that_are_too_small_are_refused() -> None:
    corners = torch.tensor([[0.0, 3e6]] * 5)
    with pytest.raises(CrfError, match="too small for an image of this size"):
        find_vertices(corners)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (33, 2)])
def test_an_image_may_be_tiny_and_of_one_colour(size: tuple[int, int]) -> None:
    about = parameters(0.5, 1, 0.5, 0.5, 2, 3)
    for image in (torch.zeros(*size, 3, dtype=torch.uint8), torch.randint(0, 256, (*size, 3)).byte()):
        found = DenseCrf(about).refined(image, torch.randn(*size, 4))
        assert torch.allclose(found.sum(2), torch.ones(size), atol=1e-5)


@pytest.mark.parametrize("way", ["bilinear-logits", "nearest"])
@pytest.mark.parametrize("size", [(24, 40), (64, 100), (30, 33), (24, 33)])
def test_the_crf_begins_with_the_logits_whose_argmax_is_the_class_map(
    size: tuple[int, int], way: str
) -> None:
    logits = torch.randn(1, 6, 24, 40)
    whole = logits_at(logits, size, way)
    assert whole.shape == (*size, 6)
    assert torch.equal(whole.argmax(2).to(torch.uint8), class_map(logits, size, way))


@pytest.mark.parametrize(
    ("at", "size", "told"),
    [
        ("input", (64, 128), ""),
        ("original", (32, 64), ""),
        ("input", (32, 64), "were searched at 64x128, and deviations in pixels do not suit 32x64"),
    ],
)
def test_parameters_found_at_one_size_are_not_used_at_another(
    tmp_path: Path, at: Literal["input", "original"], size: tuple[int, int], told: str
) -> None:
    make_run_dir(tmp_path, "ssss1111", config=with_values(RunConfig(), {"data.size": "64x128"}))
    run = make_run_dir(tmp_path, "eeee1111")
    checkpoint = tmp_path / "rrrr1111/checkpoints/best.pt"
    path = found_path(checkpoint, "0" * 64, at, run.outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {**CrfParameters().model_dump(), "iterations": 3}
    save_found(path, Found("0" * 64, at, about, 0.5, 0.4, 1, "ssss1111", []))
    warnings: list[str] = []
    config = SimpleNamespace(
        crf=CrfConfig(mode="searched"),
        of_network=SimpleNamespace(checkpoint="../rrrr1111/checkpoints/best.pt", source="rrrr1111"),
    )
    job: Any = SimpleNamespace(run=run, config=config, warn=warnings.append, say=lambda line: None)
    network: Any = SimpleNamespace(sha256="0" * 64, size=size)
    made = Refinement.of(job, network, at)
    assert made is not None
    assert made.searched == (not told)
    assert made.crf.parameters.iterations == (10 if told else 3)
    assert len(warnings) == bool(told)
    if told:
        assert told in warnings[0]
        assert "`seg-engine crf-search rrrr1111 data.size=32x64 --at input` searches some" in warnings[0]


def trial(number: int, about: CrfParameters | None, miou: float) -> CrfTrial:
    use = None if about is None else use_of(about)
    kind = ("none", "default")[number] if number < 2 else "random"
    values = {"trial": number, "kind": kind, "use": use, "miou": miou, "class_iou": {}, "seconds": 0}
    return CrfTrial.model_validate({**values, "dice": None, "pixel_accuracy": None})


def test_a_search_stays_within_what_a_config_allows() -> None:
    most = CrfParameters(
        gaussian_weight=1000,
        gaussian_sigma=10_000,
        bilateral_weight=1000,
        bilateral_sigma_xy=10_000,
        bilateral_sigma_rgb=1000,
    )
    trials = [trial(0, None, 0.1), trial(1, CrfParameters(), 0.2), trial(2, most, 0.3)]
    for seed in range(40):
        kind, parameters = proposed(seed, trials, [64])
        assert kind == "nearby"
        assert parameters is not None


@pytest.mark.parametrize(
    ("contents", "goes_on"), [("as they were", True), ("redrawn", False), ("of an earlier version", True)]
)
def test_a_search_goes_on_with_the_trials_of_the_same_images(
    tmp_path: Path, contents: str, goes_on: bool
) -> None:
    def chosen(labels: str) -> Any:
        pairs = SimpleNamespace(samples=[SimpleNamespace(name="a")], contents={"a": ("image", labels)})
        return SimpleNamespace(pairs=pairs)

    warnings: list[str] = []
    job: Any = SimpleNamespace(run=SimpleNamespace(journal=tmp_path / "journal.jsonl"), warn=warnings.append)
    network: Any = SimpleNamespace(sha256="sha")
    began = CrfSearching(
        source="aaaaaaaa",
        checkpoint="../aaaaaaaa/checkpoints/best.pt",
        sha256="sha",
        epoch=1,
        at="input",
        images=["a"],
        contents=""
        if contents == "of an earlier version"
        else text_digest(chosen("as they were").pairs.contents),
        learned=True,
        trials=30,
        done=0,
        root="/data",
        classes=["road"],
        colors=["#804080"],
    )
    first = CrfTrial(
        trial=0, kind="none", use=None, miou=0.5, dice=0.5, pixel_accuracy=0.5, class_iou={}, seconds=0.1
    )
    with JournalWriter(job.run.journal) as journal:
        for event in (began, first):
            journal.write(event)
    kept = earlier_trials(job, network, chosen("redrawn" if contents == "redrawn" else "as they were"))
    assert [trial.trial for trial in kept] == ([0] if goes_on else [])
    told = ["the checkpoint or the images have changed; all trials are made again"]
    assert warnings == ([] if goes_on else told)


def test_a_trial_that_no_lattice_suits_has_no_scores_and_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lattice, "LARGEST_KEY", 2**20)
    said: list[str] = []
    job = SimpleNamespace(say=said.append, check_stop=lambda: None)
    network = SimpleNamespace(classes=("a", "b"), hardware=SimpleNamespace(device=torch.device("cpu")))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    case = Case(torch.zeros(1, 2, 16, 16), pixels, np.zeros((16, 16), np.uint8))
    about = CrfSearchConfig(source="aaaa", checkpoint="best.pt")
    made = scored(job, about, network, [case], "random", CrfParameters(), 2)  # type: ignore[arg-type]
    assert (made.trial, made.kind, made.miou, made.class_iou) == (2, "random", None, {})
    assert made.use == use_of(CrfParameters())
    assert said == ["trial 2: the standard deviations are too small for an image of this size"]
