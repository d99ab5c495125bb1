"""The recipes: named, documented configs. A recipe is a function without arguments and its docstring.

Each family of networks has a module. `seg-engine recipes` shows the first line of each docstring,
`seg-engine recipes show NAME` the rest.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from engine.config.recipes.deeplab import deeplab
from engine.config.recipes.modern_unet import paper_modern_unet, paper_modern_unet_pt, quick_modern
from engine.config.recipes.resnet38 import resnet38
from engine.config.recipes.street import street, street_fast, street_max
from engine.config.recipes.unet import paper_unet, quick
from engine.config.recipes.vltseg import vltseg, vltseg_tiny
from engine.config.run_config import RunConfig
from engine.errors import EngineError


class UnknownRecipe(EngineError, ValueError):
    """No recipe has that name; the message names the nearest."""


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "paper-unet": paper_unet,
    "paper-modern-unet": paper_modern_unet,
    "paper-modern-unet-pt": paper_modern_unet_pt,
    "deeplab": deeplab,
    "resnet38": resnet38,
    "street": street,
    "street-fast": street_fast,
    "street-max": street_max,
    "vltseg": vltseg,
    "vltseg-tiny": vltseg_tiny,
    "quick": quick,
    "quick-modern": quick_modern,
}


def get_recipe(name: str) -> RunConfig:
    """The config of a recipe. Raises UnknownRecipe."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(RECIPES)}"
        raise UnknownRecipe(f"{name}: no such recipe; {hint}")
    return RECIPES[name]()
