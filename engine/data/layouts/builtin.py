"""The layouts that seg-engine has, in the order in which they are asked, and what installed packages add."""

from engine.data.layouts import LAYOUTS as LAYOUTS
from engine.data.layouts import cityscapes as cityscapes
from engine.data.layouts import folder as folder
from engine.data.layouts import images as images

LAYOUTS.load_installed()
