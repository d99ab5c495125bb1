"""A layout: images and labels side by side, the classes in the layout."""

from engine.classes import ClassInfo, ClassSet
from engine.data import layouts


@layouts.register
class SideBySide(layouts.Layout):
    """Scans and their masks in one folder: scans/NAME.png with scans/NAME.mask.png."""

    name = "side_by_side"
    folders = ("scans",)

    def find(self, root):
        masks = layouts.side(root, "scans", ".mask.png")
        scans = layouts.side(root, "scans", ".png")
        scans.named = {name: path for name, path in scans.named.items() if not name.endswith(".mask")}
        return layouts.Found(scans, masks)

    def class_set(self, root):
        return ClassSet(
            "scans", (ClassInfo("bone", (255, 255, 255), (1,)), ClassInfo("air", (0, 0, 0), (0,)))
        )
