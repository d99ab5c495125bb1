"""Imports every family's section, so that it is registered, and what installed packages add."""

from engine.models import MODELS
from engine.models.modern_unet.config import ModernUNetConfig
from engine.models.unet.config import UNetConfig

__all__ = ["MODELS", "ModernUNetConfig", "UNetConfig"]

MODELS.load_installed()
