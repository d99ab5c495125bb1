"""The engine's training loop on a network of segmentation_models_pytorch against a bare loop on the same.

    python -m benchmarks.zoo [--decoder DeepLabV3Plus] [--encoder resnet18] [--batch-size 8] [--rounds 5]

As `benchmarks/training_loop.py`; the bare loop trains the network as smp itself builds it. Epochs of the two
take turns, and the ratio is of their medians.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import segmentation_models_pytorch as smp

from benchmarks.training_loop import CONFIG, compare
from engine.config.keys import with_values
from engine.data.dataset import open_dataset
from engine.data.synthetic import synthesize


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--decoder", default="DeepLabV3Plus")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--images", type=int, default=32, help="training images, synthetic")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthesize(root / "data", images=options.images * 5 // 4, size=(128, 256), seed=0)
        config = with_values(
            CONFIG,
            {
                "data.root": str(root / "data"),
                "data.split": "official",
                "model.name": "smp",
                "model.decoder": options.decoder,
                "model.encoder": options.encoder,
                "batch_size": options.batch_size,
                "epochs": 10_000,
            },
        )
        data = open_dataset(config.data, root / "cache")
        bare = smp.create_model(
            options.decoder, options.encoder, encoder_weights=None, classes=len(data.class_set)
        )
        print(
            f"{options.decoder} on {options.encoder}, 128x128, batch {config.batch_size}, "
            f"{len(data.train)} images an epoch"
        )
        compare(config, data, root, options.rounds, bare)


if __name__ == "__main__":
    main()
