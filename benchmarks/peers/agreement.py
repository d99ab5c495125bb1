"""Whether all peers mean the same by Dice: `python -m benchmarks.peers.agreement SETTINGS RUN_DIR CACHE`.

One checkpoint, the best of an engine's run, predicts the validation images. First, each peer's Dice code
scores the same predictions against the same labels: it must give the engine's number. Second, each peer's own
loader feeds the network: what differs then is how files are opened, resized and normalised. Prints JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from benchmarks.peers import lightning_way, plain, torchvision_reference
from benchmarks.peers.protocol import Settings
from engine.config.run_config import RunConfig
from engine.data.batches import make_batches, normalise
from engine.data.dataset import open_dataset
from engine.learning.checkpoint import load_checkpoint
from engine.metrics.confusion import ConfusionSum
from engine.models.registry import build_model

PEERS: dict[str, ModuleType] = {
    "plain": plain,
    "lightning": lightning_way,
    "torchvision": torchvision_reference,
}


@torch.inference_mode()
def main() -> None:
    settings, run, cache = Settings.read(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
    config = RunConfig.model_validate(settings.run_config)
    model = build_model(config.model, settings.classes)
    model.load_state_dict(load_checkpoint(run / "checkpoints" / "best.pt")["model"])
    model.eval()

    predicted = predictions_on_the_cache(model, config, cache)
    total = ConfusionSum(settings.classes)
    for prediction, target in predicted:
        total.update(prediction, target)
    engine = total.compute()
    print(
        json.dumps(
            {
                "engine": engine.dice,
                "same_predictions": {name: p.dice(predicted, settings.classes) for name, p in PEERS.items()},
                "own_loader": {
                    name: p.dice(predictions_on_the_loader(model, p, settings), settings.classes)
                    for name, p in PEERS.items()
                },
                "torchmetrics_dice_score": lightning_way.dice_score_metric(predicted, settings.classes),
                "engine_dice_image": engine.dice_image,
            }
        )
    )


def predictions_on_the_cache(model: nn.Module, config: RunConfig, cache: Path) -> list[tuple[Tensor, Tensor]]:
    """(prediction, target), int64 [B, H, W], of the validation split as the engine reads it."""
    data = open_dataset(config.data, cache)
    (batches,) = make_batches([data.val], torch.device("cpu"))
    return [
        (model(normalise(batch.images)).argmax(1), batch.labels.long())
        for batch in batches(torch.arange(len(data.val)), config.batch_size)
    ]


def predictions_on_the_loader(
    model: nn.Module, peer: ModuleType, settings: Settings
) -> list[tuple[Tensor, Tensor]]:
    _, val_loader = peer.loaders(settings)
    return [(model(images).argmax(1), labels) for images, labels in val_loader]


if __name__ == "__main__":
    main()
