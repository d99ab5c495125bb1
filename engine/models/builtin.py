"""Imports every family's section, so that it is registered, and what installed packages add."""

from engine.models import MODELS
from engine.models.deeplab_largefov.config import DeepLabLargeFOVConfig
from engine.models.modern_unet.config import ModernUNetConfig
from engine.models.resnet38.config import ResNet38Config
from engine.models.smp.config import SmpConfig
from engine.models.street_net.config import StreetNetConfig
from engine.models.torchvision.config import TorchvisionConfig
from engine.models.unet.config import UNetConfig
from engine.models.vltseg.config import VLTSegConfig

__all__ = [
    "MODELS",
    "DeepLabLargeFOVConfig",
    "ModernUNetConfig",
    "ResNet38Config",
    "SmpConfig",
    "StreetNetConfig",
    "TorchvisionConfig",
    "UNetConfig",
    "VLTSegConfig",
]

MODELS.load_installed()
