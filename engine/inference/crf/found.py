"""The parameters that a search found, which are kept with the checkpoint that they were searched for.

They lie in `outputs/crf-<first 16 digits of its SHA-256>-<size>.json` of the run whose checkpoint it is, so
the next evaluation finds them. Standard deviations are in pixels: what was found at one size says nothing at
another."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.config.crf import CrfParameters
from engine.run.files import replacing


@dataclass(frozen=True)
class Found:
    """The best trial of a search by the run `run`, on training `images`: its mean IoU, and that `without` a
    CRF."""

    checkpoint: str
    at: str
    parameters: dict[str, float]
    miou: float | None
    without: float | None
    trial: int
    run: str
    images: Sequence[str]

    @property
    def crf(self) -> CrfParameters:
        """Raises ValueError for parameters that are out of bounds."""
        return CrfParameters.model_validate(self.parameters)


def found_path(checkpoint_path: Path, sha256: str, at: str, own_outputs: Path) -> Path:
    """Where the parameters for a checkpoint lie: with the run that it is of, else, where this user cannot
    write there, with the run that searched them."""
    name = f"crf-{sha256[:16]}-{at}.json"
    outputs = checkpoint_path.parent.parent / "outputs"
    theirs = outputs / name
    return theirs if theirs.is_file() or os.access(outputs, os.W_OK) else own_outputs / name


def save_found(path: Path, found: Found) -> None:
    """Write it whole or not at all. Raises OSError."""
    with replacing(path) as stream:
        stream.write(json.dumps(asdict(found), indent=1).encode() + b"\n")


def load_found(path: Path, sha256: str, at: str) -> Found | None:
    """What a file holds for this checkpoint and size. None where there is none, or it is damaged or of
    another checkpoint."""
    try:
        found = Found(**json.loads(path.read_bytes()))
        matches = (found.checkpoint, found.at) == (sha256, at)
        return found if matches and found.crf is not None else None
    except (OSError, ValueError, TypeError):
        return None
