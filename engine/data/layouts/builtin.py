"""The layouts that seg-engine has, in the order in which they are asked, and what installed packages add."""

from engine.data.layouts import LAYOUTS as LAYOUTS
from engine.data.layouts import cityscapes as cityscapes
from engine.data.layouts import folder as folder
from engine.data.layouts import images as images

# isort: split
from engine.data.layouts import acdc as acdc
from engine.data.layouts import ade20k as ade20k
from engine.data.layouts import bdd100k as bdd100k
from engine.data.layouts import camvid as camvid
from engine.data.layouts import gta5 as gta5
from engine.data.layouts import idd as idd
from engine.data.layouts import kitti as kitti
from engine.data.layouts import mapillary as mapillary
from engine.data.layouts import synthia as synthia
from engine.data.layouts import voc as voc

LAYOUTS.load_installed()
