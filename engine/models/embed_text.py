"""`python -m engine.models.embed_text ORDER.json`: class embeddings by the text encoder of a CLIP model.

The order names a `model` of open_clip, a `checkpoint`, the `classes`, `templates` with {} where a class's
name goes, and the `file` to write. A class's embedding is the mean of those of its prompts, each of length 1,
as in CLIP (Radford et al. 2021). Prints what came of it as one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.exits import DONE, tell
from engine.host.leaving import leave
from engine.models.class_embeddings import ClassEmbeddings, write_embeddings
from engine.models.pretrained import WeightsError
from engine.models.weight_files import read_weights
from engine.run.checkpoint_file import first_line

_OF_IMAGES = ("visual.", "logit_scale", "logit_bias")
"""Beginnings of the names of weights that a text encoder has no use for."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engine.models.embed_text", description=__doc__.splitlines()[0]
    )
    parser.add_argument("order", type=Path, help="JSON: model, checkpoint, classes, templates, file")
    try:
        order = json.loads(parser.parse_args().order.read_text())
        print(json.dumps(made(order)), flush=True)
    except Exception as error:
        return tell(error)
    return DONE


def made(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write the file that an order asks for. Raises WeightsError and CheckpointError, one line."""
    name, path = order["model"], Path(order["checkpoint"])
    model = load(name, path)
    try:
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:
        raise WeightsError(f"{name}: its tokenizer cannot be had here: {first_line(error)}") from error
    vectors = embeddings(model, tokenizer, order["classes"], order["templates"])
    prompts = ", ".join(f'"{template}"' for template in order["templates"])
    source = f"{name}, {path.name}, {prompts}"
    write_embeddings(Path(order["file"]), ClassEmbeddings(tuple(order["classes"]), vectors, source))
    return {"file": order["file"], "classes": len(vectors), "size": vectors.shape[1], "source": source}


def load(name: str, path: Path) -> nn.Module:
    """A CLIP model whose text encoder has the weights of a file. Raises WeightsError where there is no such
    model or some of its weights are not in the file, CheckpointError for a file that cannot be read."""
    if name not in open_clip.list_models():
        raise WeightsError(f"--model {name}: open_clip has none of that name; it has ViT-L-14 and EVA02-L-14")
    weights = read_weights(path)
    model: nn.Module = open_clip.create_model(name, load_weights=False)
    own = model.state_dict()
    wanted = {key: tensor for key, tensor in own.items() if not key.startswith(_OF_IMAGES)}
    absent = [key for key in wanted if key not in weights]
    other = [key for key in wanted if key in weights and weights[key].shape != wanted[key].shape]
    if absent or other:
        first, *rest = absent or other
        what = "is not there" if absent else "has another shape there"
        more = f", and {len(rest)} more" if rest else ""
        raise WeightsError(f"{path}: holds no text encoder of {name}: {first} {what}{more}")
    model.load_state_dict({key: weights[key] for key in wanted}, strict=False)
    return model.eval()


@torch.inference_mode()
def embeddings(
    model: nn.Module, tokenizer: Any, classes: Sequence[str], templates: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 [classes, size], each row of length 1."""
    rows: list[Tensor] = []
    for name in classes:
        prompts = tokenizer([template.replace("{}", name) for template in templates])
        features = functional.normalize(model.encode_text(prompts).float(), dim=1)  # type: ignore[operator]
        rows.append(functional.normalize(features.mean(0), dim=0))
    vectors: np.ndarray[Any, np.dtype[np.float32]] = torch.stack(rows).numpy()
    return vectors


if __name__ == "__main__":
    leave(main())
