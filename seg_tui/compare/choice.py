"""What of a comparison is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from seg_tui.series import SCORES, Score, XKind


@dataclass(frozen=True)
class Choice:
    """`baseline` is a run's id, "" for the first."""

    baseline: str = ""
    fold_seeds: bool = False
    published: bool = False
    score: Score = SCORES[0]
    split: str = "val"
    x_kind: XKind = "epoch"

    @property
    def computed(self) -> tuple[str, bool, bool]:
        """What the comparison itself depends on: where it differs, the runs are compared anew."""
        return self.baseline, self.fold_seeds, self.published

    @property
    def shown_split(self) -> str:
        """The split whose curves are drawn: the chosen one, where the score has it."""
        return self.split if self.split in self.score.splits else self.score.splits[0]

    @property
    def title(self) -> str:
        """What the curves show."""
        return self.score.title if len(self.score.splits) == 1 else f"{self.score.title} {self.shown_split}"

    def toggle_fold(self) -> Choice:
        return replace(self, fold_seeds=not self.fold_seeds)

    def toggle_published(self) -> Choice:
        return replace(self, published=not self.published)

    def next_score(self) -> Choice:
        return replace(self, score=SCORES[(SCORES.index(self.score) + 1) % len(SCORES)])

    def other_split(self) -> Choice:
        return replace(self, split="train" if self.split == "val" else "val")

    def other_x(self) -> Choice:
        return replace(self, x_kind="time" if self.x_kind == "epoch" else "epoch")
