"""Ends a run whose validation scores no longer improve (Prechelt, "Early Stopping - But When?", 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.config.sections import EarlyStopConfig
from engine.run.events import Epoch


@dataclass
class EarlyStop:
    """`best` is the score, higher being better, of `epoch`, the last one that improved on those before.
    `heard` is the last epoch that was validated: between two of them nothing is known, so no run ends."""

    config: EarlyStopConfig
    best: float | None = None
    epoch: int = 0
    heard: int = 0

    def validated(self, event: Epoch) -> None:
        """Hear of the scores of a validation."""
        score, self.heard = self._score(event), event.epoch
        if score is None:
            return
        if self.best is None or score > self.best + self.config.min_improvement:
            self.best, self.epoch = score, event.epoch

    def is_due(self, epoch: int) -> bool:
        """Whether the run ends after `epoch` complete epochs."""
        return epoch == self.heard and 0 < self.config.patience <= epoch - self.epoch

    def told(self) -> str:
        """Why the run has ended."""
        least = f" by more than {self.config.min_improvement:g}" if self.config.min_improvement else ""
        return (
            f"early_stop: no improvement of validation {self.config.metric}{least} in "
            f"{self.heard - self.epoch} epochs, since epoch {self.epoch}"
        )

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "epoch": self.epoch, "heard": self.heard}

    def load(self, saved: dict[str, Any], done: int) -> None:
        """Go on from a `state` after `done` epochs. Earlier versions took each of them for validated."""
        self.best, self.epoch, self.heard = saved["best"], saved["epoch"], saved.get("heard", done)

    def _score(self, event: Epoch) -> float | None:
        if self.config.metric == "loss" or not event.class_dice:
            return None if event.loss is None else -event.loss
        return event.miou if self.config.metric == "miou" else event.dice
