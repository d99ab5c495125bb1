"""Figures for papers."""

import logging

# Where somebody has no home, or none to write to, it keeps its cache elsewhere and says so in three lines.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
