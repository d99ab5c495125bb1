"""A recipe's step by kind of work, as text: `python -m benchmarks.gpu.profile RECIPE`."""

from __future__ import annotations

import contextlib
import io
import json
import sys

from benchmarks.step_profile import print_step
from engine.config.recipes import get_recipe
from engine.learning.ceiling import matrix_ceiling
from engine.learning.hardware import choose_hardware, settle_arithmetic

STEPS = 10


def main() -> None:
    recipe = sys.argv[1]
    config = get_recipe(recipe)
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        print_step(config, hardware, STEPS, [matrix_ceiling(hardware)])
    print(json.dumps({"profiled": recipe, "text": printed.getvalue()}))


if __name__ == "__main__":
    main()
