"""What installed packages add to the scores that every epoch has."""

from engine.metrics import METRICS as METRICS

METRICS.load_installed()
