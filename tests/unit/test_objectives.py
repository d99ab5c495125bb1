"""What a network is shown and asked, apart from any network."""

from __future__ import annotations

import pytest
import torch

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.data.batches import normalise
from engine.losses.builtin import LOSSES
from engine.training.objectives import Denoising, Segmentation, build_objective, loss_of, output_channels
from engine.training.rng import ScoringNoise, StepNoise
from engine.training.step import micro_batches


def images(count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 32, 32, 3), generator=generator, dtype=torch.uint8)


def test_the_noise_is_added_so_that_the_variance_stays() -> None:
    objective = Denoising(0.22)
    pixels = images()
    noise = objective.targets(pixels, torch.zeros(4, 32, 32), StepNoise(1, 0, 0, len(pixels)))
    assert noise.shape == (4, 3, 32, 32)
    assert abs(float(noise.mean())) < 0.03
    assert float(noise.var()) == pytest.approx(1, abs=0.03)
    shown = objective.inputs(pixels, noise)
    torch.testing.assert_close(shown, (normalise(pixels) + 0.22 * noise) / (1 + 0.22**2) ** 0.5)
    torch.testing.assert_close(Denoising(1.0).inputs(pixels, noise), (normalise(pixels) + noise) / 2**0.5)


def test_the_right_answer_is_the_noise() -> None:
    objective = Denoising(0.22)
    noise = torch.randn(2, 3, 8, 8)
    assert float(loss_of(objective, noise, noise)) == 0
    assert float(loss_of(objective, noise + 2, noise)) == pytest.approx(4, rel=1e-5)
    torch.testing.assert_close(
        loss_of(objective, noise.bfloat16(), noise), loss_of(objective, noise.bfloat16().float(), noise)
    )


def test_the_noise_of_a_step_is_that_steps_own_and_the_same_each_time() -> None:
    objective = Denoising(0.22)

    def noise(*step: int) -> torch.Tensor:
        return objective.targets(images(), torch.zeros(4, 32, 32), StepNoise(*step, global_size=4))

    assert torch.equal(noise(0, 1, 2), noise(0, 1, 2))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(noise(0, 1, 2), noise(*other))


def test_ranks_have_their_part_of_the_noise_of_the_batch() -> None:
    objective, labels = Denoising(0.22), torch.zeros(4, 32, 32)
    whole = objective.targets(images(), labels, StepNoise(0, 1, 2, global_size=4))
    for first, end in ((0, 2), (2, 4), (1, 4)):
        part = objective.targets(images()[first:end], labels, StepNoise(0, 1, 2, global_size=4, first=first))
        assert torch.equal(part, whole[first:end])


def test_an_image_that_validates_has_its_noise_in_any_batch() -> None:
    objective, labels = Denoising(0.22), torch.zeros(4, 32, 32)
    whole = objective.targets(images(), labels, ScoringNoise(0, 0))
    for first, end in ((0, 1), (1, 4), (3, 4)):
        assert torch.equal(
            objective.targets(images()[first:end], labels, ScoringNoise(0, first)), whole[first:end]
        )
    assert not torch.equal(whole[0], whole[1])
    assert abs(float(whole.mean())) < 0.03
    assert float(whole.var()) == pytest.approx(1, abs=0.03)


def test_losses_of_parts_of_a_noisy_batch_add_up_to_that_of_the_whole() -> None:
    objective = Denoising(0.22)
    pixels = images(5)
    noise = objective.targets(pixels, torch.zeros(5, 32, 32), StepNoise(1, 0, 0, len(pixels)))
    answers = torch.randn(5, 3, 32, 32)
    whole = loss_of(objective, answers, noise)
    parts = micro_batches(pixels, noise, 2, objective)
    summed = sum(
        loss_of(objective, part_answers, targets) * share
        for part_answers, (_, targets, share, _) in zip(answers.split(2), parts, strict=True)
    )
    torch.testing.assert_close(summed, whole)


def test_each_task_has_its_objective_and_its_answer() -> None:
    config = RunConfig(loss=LOSSES.new(label_smoothing=0.1))
    assert isinstance(build_objective(config, 19), Segmentation)
    assert output_channels(config, 19) == 19
    pretraining = with_values(config, {"task": "pretrain", "pretrain.noise": 0.5})
    objective = build_objective(pretraining, 0)
    assert isinstance(objective, Denoising)
    assert objective.noise == 0.5
    assert output_channels(pretraining, 0) == 3
