"""What others report: the study's tables I to III and the literature, as reference rows beside our own.

They were not measured here and are never rows among runs: every place that shows them calls them published.
The study's scores are mean Dice over the 19 classes of Cityscapes. It trains on 80 % and validates on 20 % of
the 2975 training images; its test images are others, which it does not describe any further.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from engine.classes import CITYSCAPES

Table = Literal["I", "II", "III"]

TABLES: dict[Table, str] = {
    "I": "the baseline: U-Net of 2015, by epochs",
    "II": "modern U-Net, as it is and pre-trained (PT), by epochs",
    "III": "all systems on the external test images",
}
"""The study's tables and what is in them."""

PUBLISHED = "published"
"""How a reference row is marked wherever it stands beside measured ones."""


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One row of the study's tables. `recipe` is ours for that system, `size` its (height, width) in pixels.

    `epochs` is as the study counts them, None where it does not say; a score is None where it gives none.
    """

    table: Table
    system: str
    recipe: str
    size: tuple[int, int]
    epochs: int | None
    train_dice: float | None = None
    val_dice: float | None = None
    test_dice: float | None = None

    @property
    def label(self) -> str:
        """The system and its epochs, marked as published."""
        after = "" if self.epochs is None else f", {self.epochs} epochs"
        return f"{self.system}{after} ({PUBLISHED})"


def _baseline(table: Table, epochs: int | None, *dice: float | None) -> PublishedResult:
    return PublishedResult(table, "U-Net (2015)", "paper-unet", (128, 128), epochs, *dice)


def _modern(table: Table, epochs: int, *dice: float | None) -> PublishedResult:
    return PublishedResult(table, "Modern U-Net", "paper-modern-unet", (256, 512), epochs, *dice)


def _pretrained(table: Table, epochs: int, *dice: float | None) -> PublishedResult:
    return PublishedResult(table, "Modern U-Net PT", "paper-modern-unet-pt", (256, 512), epochs, *dice)


PUBLISHED_RESULTS = (
    _baseline("I", 25, 0.21858, 0.22154),
    _baseline("I", 35, 0.25815, 0.26083),
    _baseline("I", 60, 0.31615, 0.31719),
    _modern("II", 100, 0.57843, 0.55278),
    _pretrained("II", 50, 0.62800, 0.60973),
    _pretrained("II", 100, 0.65855, 0.62446),
    _pretrained("II", 180, 0.68704, 0.63450),
    _pretrained("II", 200, 0.68698, 0.63213),
    _baseline("III", None, None, None, 0.24736),
    _modern("III", 100, None, None, 0.43405),
    _pretrained("III", 180, None, None, 0.48619),
)


def published_results(recipes: Collection[str] = ()) -> tuple[PublishedResult, ...]:
    """The rows of these recipes' systems; all rows when the study has none of them, or none are named."""
    of_these = tuple(result for result in PUBLISHED_RESULTS if result.recipe in recipes)
    return of_these or PUBLISHED_RESULTS


@dataclass(frozen=True, slots=True)
class LiteratureResult:
    """A network of the literature, trained from scratch, and its mIoU (0 to 1) on `images`.

    `size` is the (height, width) in pixels at which images are scored, `training` how it was trained, in
    which rows differ from each other and from ours, `source` where the number is published.
    """

    system: str
    images: str
    size: tuple[int, int]
    miou: float
    training: str
    source: str

    @property
    def label(self) -> str:
        """The network and the images, marked as published."""
        return f"{self.system} on {self.images} ({PUBLISHED})"


CAMVID = "CamVid test"


def _camvid(system: str, miou: float, training: str, source: str) -> LiteratureResult:
    return LiteratureResult(system, CAMVID, (360, 480), miou, training, source)


def _cityscapes(system: str, miou: float, training: str, source: str) -> LiteratureResult:
    return LiteratureResult(system, "Cityscapes val", (1024, 2048), miou, training, source)


_LETNET = "Xu et al. 2023, arXiv:2302.11265"
_ONE_RECIPE = "github.com/zh320/realtime-semantic-segmentation-pytorch"
_EPOCHS_800 = "800 epochs, crop 1024, OHEM"

LITERATURE = (
    _camvid("DABNet", 0.667, "1000 epochs, Adam", _LETNET),
    _camvid("FC-DenseNet103", 0.669, "750 epochs, RMSprop, crop 224", "Jegou et al. 2017, arXiv:1611.09326"),
    _camvid("LETNet", 0.705, "1000 epochs, Adam", _LETNET),
    _cityscapes("ENet", 0.7131, _EPOCHS_800, _ONE_RECIPE),
    _cityscapes("BiSeNetV2", 0.7373, f"{_EPOCHS_800}, auxiliary heads", _ONE_RECIPE),
    _cityscapes("ERFNet", 0.7600, _EPOCHS_800, _ONE_RECIPE),
    _cityscapes("RegSeg", 0.7823, "1000 epochs, crop 768, mean of 3 seeds", "Gao 2021, arXiv:2111.09957"),
)
"""Trained from scratch, without ImageNet or other data."""

_STREET = {"road", "building", "sky"}


def literature_results(classes: Collection[str]) -> tuple[LiteratureResult, ...]:
    """The rows that runs with classes of these names can be held against: CamVid's where they are 11 of a
    street, all where they are the 19 of Cityscapes, whose names CamVid has in the layout of Cityscapes."""
    if set(classes) == set(CITYSCAPES.names):
        return LITERATURE
    if len(classes) != 11 or not {name.lower() for name in classes} >= _STREET:
        return ()
    return tuple(result for result in LITERATURE if result.images == CAMVID)
