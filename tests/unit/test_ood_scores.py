"""The scores themselves: against reference numbers, against NumPy, in bands, and what they learn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.classes import CITYSCAPES, ClassSet
from engine.data.catalog import Sample
from engine.inference.ood import scores as scores_module
from engine.inference.ood.features import (
    NEIGHBOURS,
    Mahalanobis,
    NearestNeighbours,
    PooledFeatures,
    shrunk_covariance,
)
from engine.inference.ood.fits import SHARES, Fit, fit_identity, load_fit, save_fit
from engine.inference.ood.score_set import ScoreSet
from engine.inference.ood.scores import LOGIT_SCORES, LogitBand, StandardisedMaxLogit, pixel_scores
from engine.learning.class_maps import logit_bands
from engine.models.builtin import ModernUNetConfig, UNetConfig
from engine.models.registry import build_model


def random_logits(*shape: int, seed: int = 0) -> Tensor:
    return 4 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_scores_are_those_of_the_reference(shared_data: Path) -> None:
    arrays = np.load(shared_data / "reference_metrics" / "ood" / "scores_from_logits.npz")
    logits = torch.from_numpy(arrays["logits"])
    pixels = logits.movedim(1, 0).flatten(1)
    for precision, names, within in (
        (
            torch.float64,
            {"msp": "f64_one_minus_msp", "entropy": "f64_entropy_nats", "energy": "f64_energy"},
            1e-9,
        ),
        (torch.float32, {"max_logit": "maxlogit_neg", "energy": "energy"}, 1e-6),
    ):
        band = LogitBand(pixels.to(precision))
        for name, key in names.items():
            found = LOGIT_SCORES[name](band).view(arrays[key].shape).double().numpy()
            np.testing.assert_allclose(found, arrays[key], rtol=within, atol=within, err_msg=name)
    # The largest logit needs no arithmetic, so single precision is exact.
    largest = LOGIT_SCORES["max_logit"](LogitBand(pixels)).view(arrays["maxlogit_neg"].shape)
    assert (largest.numpy() == arrays["maxlogit_neg"]).all()


def test_a_confident_pixel_is_not_lost_in_rounding() -> None:
    band = LogitBand(torch.tensor([[10.0, 900.0, 0.0], [0.0, -900.0, 0.0]]))
    score = LOGIT_SCORES["msp"](band)
    assert score[0].item() == pytest.approx(4.5398e-05, rel=3e-3)
    assert score[1:].tolist() == [0.0, 0.5]
    for function in LOGIT_SCORES.values():
        assert torch.isfinite(function(band)).all()


def test_the_predicted_class_is_the_first_of_the_largest() -> None:
    near = torch.nextafter(torch.tensor(7.0), torch.tensor(8.0)).item()
    columns = [[0, 0, 0], [1, 3, 3], [7, near, 7], [-3e38, -2e38, 3e38], [-5, -6, -7], [1e-30, 2e-30, 0]]
    logits = torch.cat([torch.tensor(columns).T, random_logits(3, 500)], dim=1)
    for precise in (logits, logits.double()):
        band = LogitBand(precise)
        assert band.predicted.tolist() == precise.argmax(dim=0).tolist()
        assert band.largest.tolist() == precise.amax(dim=0).tolist()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(12, 20), (12, 31), (30, 20), (5, 7)])
def test_bands_are_the_logits_resized(size: tuple[int, int], channels_last: bool) -> None:
    logits = random_logits(1, 5, 12, 20)
    resized = torch.nn.functional.interpolate(logits, size, mode="bilinear")[0]
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    bands = list(logit_bands(logits, size, 100))
    assert len(bands) > 1
    torch.testing.assert_close(torch.cat(bands, dim=1), resized, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [1, 500, 2**18])
def test_bands_change_nothing(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, size = random_logits(1, 5, 12, 20), (37, 50)
    monkeypatch.setattr(scores_module, "CORE_BAND_VALUES", values)
    scores = ScoreSet(5)
    scores.fit(logits, torch.zeros(3))
    maps = scores.maps(logits, size)
    resized = torch.nn.functional.interpolate(logits, size, mode="bilinear")
    whole = LogitBand(resized[0].flatten(1))
    for name, score in scores.pixel.items():
        assert maps[name].shape == size
        torch.testing.assert_close(
            torch.from_numpy(maps[name]).flatten(), score.score(whole), rtol=1e-4, atol=1e-5
        )


def test_the_largest_logit_is_standardised_by_its_predicted_class() -> None:
    score = StandardisedMaxLogit(4)
    training = torch.tensor([[6.0, 8.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 4.0, 0.0], [0.0, 0.0, 0.0, 0.0, 5.0]])
    logits = torch.cat([training, torch.full((1, 5), -9.0)])
    score.fit(LogitBand(logits[:, :2]))
    score.fit(LogitBand(logits[:, 2:]))
    of_all = np.array([6.0, 8.0, 1.0, 4.0, 5.0])
    mean, deviation = score.moments()
    # Class 2 was predicted once and class 3 never: both take the moments of all pixels.
    assert mean.numpy() == pytest.approx([7, 2.5, of_all.mean(), of_all.mean()])
    assert deviation.numpy() == pytest.approx([1, 1.5, of_all.std(), of_all.std()])
    assert score.score(LogitBand(logits[:, :1])).item() == pytest.approx((7 - 6) / 1)
    again = StandardisedMaxLogit(4)
    again.restore(score.state())
    assert again.score(LogitBand(logits)).tolist() == score.score(LogitBand(logits)).tolist()


def test_larger_means_farther_for_every_score() -> None:
    sure, unsure = torch.tensor([[9.0], [0.0], [0.0]]), torch.tensor([[1.0], [0.9], [0.8]])
    scores = pixel_scores(3)
    for score in scores.values():
        score.fit(LogitBand(torch.tensor([[8.0, 9.0, 10.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])))
        assert score.score(LogitBand(unsure)) > score.score(LogitBand(sure))


def test_mahalanobis_is_the_distance_in_units_of_the_shrunk_covariance() -> None:
    features = np.random.default_rng(0).normal(size=(40, 6)) * np.arange(1, 7) + 3
    score = Mahalanobis()
    for row in features:
        score.fit(torch.tensor(row, dtype=torch.float32))
    mean = features.mean(axis=0)
    covariance = shrunk_covariance(features - mean)
    away = np.full(6, 2.0)
    expected = np.sqrt(away @ np.linalg.inv(covariance) @ away)
    assert float(score.score(torch.tensor(mean + away))) == pytest.approx(expected, rel=1e-4)
    assert float(score.score(torch.tensor(mean))) == pytest.approx(0, abs=1e-3)


def test_the_shrinkage_is_that_of_ledoit_and_wolf() -> None:
    sklearn = pytest.importorskip("sklearn.covariance")
    for images, width in ((50, 4), (10, 30)):
        features = np.random.default_rng(1).normal(size=(images, width)) @ np.diag(np.linspace(1, 3, width))
        centred = features - features.mean(axis=0)
        expected, _ = sklearn.ledoit_wolf(centred, assume_centered=True)
        assert shrunk_covariance(centred) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_fewer_images_than_features_still_give_a_distance() -> None:
    score = Mahalanobis()
    score.fit(torch.ones(8))
    assert float(score.score(torch.ones(8))) == 0
    assert float(score.score(torch.zeros(8))) > 0


def test_the_nearest_neighbours_are_found_on_the_sphere() -> None:
    score = NearestNeighbours()
    angles = np.linspace(0, 1, NEIGHBOURS + 5)
    for angle in angles:
        score.fit(torch.tensor([np.cos(angle), np.sin(angle)]) * 7)
    asked = torch.tensor([3.0, 0.0])
    chord = 2 * np.sin(angles[NEIGHBOURS - 1] / 2)
    assert float(score.score(asked)) == pytest.approx(chord, rel=1e-5)
    few = NearestNeighbours()
    few.fit(torch.tensor([1.0, 0.0]))
    assert float(few.score(torch.tensor([0.0, 1.0]))) == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize(("config", "width"), [(UNetConfig(width=4), 64), (ModernUNetConfig(hidden=2), 32)])
def test_every_architecture_has_a_bottleneck(config: UNetConfig | ModernUNetConfig, width: int) -> None:
    model = build_model(config, 3).eval()
    with torch.inference_mode(), PooledFeatures(model) as features:
        model(torch.zeros(1, 3, 32, 32))
        assert features.last.shape == (width,)
        first = features.last
        model(torch.ones(1, 3, 32, 32))
        assert not torch.equal(first, features.last)
    assert not model._forward_hooks


def test_a_fit_is_found_again_for_the_same_checkpoint_and_images_alone(tmp_path: Path) -> None:
    scores = ScoreSet(5)
    for seed in range(3):
        scores.fit(random_logits(1, 5, 4, 4, seed=seed), random_logits(6, seed=seed))
    made = Fit(scores.state(), {"msp": 0.25}, {"knn": 1.5}, {"msp": SHARES.astype(np.float64)})
    sample = Sample("a", tmp_path / "a.png", tmp_path / "a_label.png")
    Image.new("RGB", (4, 4)).save(sample.image)
    Image.new("L", (4, 4)).save(tmp_path / "a_label.png")

    def identity_of(*other: Any, class_set: ClassSet = CITYSCAPES) -> str:
        return fit_identity(*other, (), (sample,), class_set, tmp_path)

    asked_for = ("sha", (4, 4), "fp32", 0.95)
    path, identity = tmp_path / "fit.npz", identity_of(*asked_for)
    assert load_fit(path, identity) is None
    save_fit(path, identity, made)
    found = load_fit(path, identity)
    assert found is not None
    assert (found.pixel, found.image) == (made.pixel, made.image)
    again, asked = ScoreSet(5), random_logits(1, 5, 4, 4, seed=9)
    again.restore(found.scores)
    features = random_logits(6, seed=9)
    maps = scores.maps(asked, (8, 8))
    assert again.of_image(again.maps(asked, (8, 8)), features) == scores.of_image(maps, features)
    for other in (
        ("other", (4, 4), "fp32", 0.95),
        ("sha", (8, 8), "fp32", 0.95),
        ("sha", (4, 4), "bf16", 0.95),
        ("sha", (4, 4), "fp32", 0.9),
    ):
        assert load_fit(path, identity_of(*other)) is None
    assert load_fit(path, identity_of(*asked_for, class_set=CITYSCAPES.without(("road",)))) is None
    os.utime(tmp_path / "a_label.png", (1, 1))
    assert load_fit(path, identity_of(*asked_for)) is None, "the label was drawn anew"
    path.write_bytes(path.read_bytes()[:100])
    assert load_fit(path, identity) is None
