"""The pretrain task: learn to remove noise from images, for a training run to start from.

Brempong et al., "Denoising Pretraining for Semantic Segmentation", CVPR 2022 workshops. The network is that
which will segment, but for its head, whose outputs are the three colours of the noise. There is no Dice: the
best epoch is that of the lowest validation loss, whose noise is the same in each epoch.
"""

from __future__ import annotations

from engine.training.begin import begin
from engine.training.loop import run_epochs
from engine.worker.job import Job


def pretrain(job: Job) -> None:
    """Pre-train the job's config to its last epoch. Raises what `run_epochs` raises."""
    learning = begin(job)
    job.record(run_epochs(job, learning))
