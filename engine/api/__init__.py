"""Workspaces and runs for notebooks and scripts: `from engine import Workspace`. No torch."""
