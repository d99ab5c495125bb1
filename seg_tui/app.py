"""The dashboard; not built yet."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script. Its exit status is that of wrong use: what was asked for was not done."""
    print(
        "seg-tui is not built yet; `seg-engine runs` lists the runs, `seg-engine show RUN` shows one",
        file=sys.stderr,
    )
    sys.exit(2)
