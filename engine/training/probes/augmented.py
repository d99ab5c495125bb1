"""The first training step before and after augmentation: `python -m engine.training.probes.augmented`.

Computed on the CPU, where the random numbers are those of any device. Writes an .npz with `images`, `labels`,
`augmented` and `augmented_labels`, the first few samples of the batch in the order of the step, their
`names`, and the `classes` and `colors` of the class set.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config.run_config import RunConfig
from engine.data.dataset import open_dataset
from engine.data.membership import Membership
from engine.exits import DONE, tell
from engine.host.leaving import die_with_the_parent, leave
from engine.plugins import config_of_file
from engine.run.files import replacing
from engine.worker.process import prepare_process

Arrays = dict[str, NDArray[Any]]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engine.training.probes.augmented", description=__doc__.splitlines()[0]
    )
    parser.add_argument("config", type=Path, help="a RunConfig as JSON")
    parser.add_argument("out", type=Path, help="the .npz to write")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the caches")
    parser.add_argument("--split", type=Path, help="the split.json of a run")
    parser.add_argument("--samples", type=int, default=6)
    options = parser.parse_args()
    die_with_the_parent()
    try:
        config = config_of_file(options.config)
        prepare_process(config.runtime)
        began_with = Membership.read(options.split) if options.split else None
        with replacing(options.out) as stream:
            arrays = first_step(config, options.cache, options.samples, began_with)
            np.savez(stream, allow_pickle=False, **arrays)
    except (Exception, KeyboardInterrupt) as error:
        return tell(error)
    return DONE


def first_step(config: RunConfig, cache: Path, samples: int, began_with: Membership | None = None) -> Arrays:
    """The first batch of the first epoch before and after augmentation, at most `samples` of it. Raises
    DataError."""
    import torch

    from engine.augment.functions import Draws, build_augmentations
    from engine.training.rng import step_generator
    from engine.training.sampling import sampling_of

    data = open_dataset(config.data, cache, labels=config.needs_labels, began_with=began_with)
    plan = sampling_of(config, data.train, cache).plan(0)
    order = plan.order[: config.batch_size]
    pairs = [data.train.sample(position) for position in order.tolist()]
    images, labels = (torch.from_numpy(np.stack(column)) for column in zip(*pairs, strict=True))
    focus = None if plan.focus is None else plan.focus[: len(order)]
    draws = Draws(step_generator(config.seed, 0, 0), len(order), focus=focus)
    augmented, augmented_labels = build_augmentations(config.augment)(images, labels, draws)
    classes = data.class_set.classes if config.needs_labels else ()
    return {
        "images": images[:samples].numpy(),
        "labels": labels[:samples].numpy(),
        "augmented": augmented[:samples].numpy(),
        "augmented_labels": augmented_labels[:samples].numpy(),
        "names": np.array([data.train.name(position) for position in order[:samples].tolist()]),
        "classes": np.array([each.name for each in classes], dtype=str),
        "colors": np.array([each.hex_color for each in classes], dtype=str),
    }


if __name__ == "__main__":
    leave(main())
