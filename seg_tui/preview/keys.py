"""The keys of the preview. `look` calls a method of `Look`, by its name."""

from __future__ import annotations

from textual.binding import Binding, BindingType

_EDGE = 1_000_000
"""More epochs than any run keeps."""

KEYS: list[BindingType] = [
    Binding(
        "escape", "back", "back", key_display="esc", tooltip="Out of the full screen, the zoom, the screen"
    ),
    Binding("q", "back", "back", show=False, tooltip="Out of the full screen, the zoom, the screen"),
    Binding(
        "left_square_bracket",
        "look('go_to_epoch', -1)",
        "epoch",
        key_display="[ ]",
        tooltip="Previous kept epoch",
    ),
    Binding(
        "right_square_bracket", "look('go_to_epoch', 1)", "next epoch", show=False, tooltip="Next kept epoch"
    ),
    Binding("comma", "look('go_to_sample', -1)", "image", key_display=", .", tooltip="Previous image"),
    Binding("full_stop", "look('go_to_sample', 1)", "next image", show=False, tooltip="Next image"),
    Binding("enter", "full", "full", tooltip="The picture in the frame fills the screen"),
    Binding("k", "flicker", "flicker", tooltip="Two runs, or prediction and truth, in turns"),
    Binding("P", "play", "play", tooltip="Go through the epochs; again: stop"),
    Binding("b", "look('toggle_best')", "best", tooltip="Each run at the kept epoch nearest to its best"),
    Binding("w", "look('toggle_worst')", "worst first", tooltip="Images with the lowest Dice first"),
    Binding(
        "plus",
        "look('cover', 0.1)",
        "overlay",
        key_display="+ -",
        tooltip="Class maps cover more of the image",
    ),
    Binding(
        "minus",
        "look('cover', -0.1)",
        "fainter overlay",
        show=False,
        tooltip="Class maps cover less of the image",
    ),
    Binding("equals_sign", "look('cover', 0.1)", show=False),
    Binding("z", "look('zoom', 0.5)", "zoom", key_display="z Z", tooltip="Closer, around the cross"),
    Binding("Z", "look('zoom', 2)", "zoom out", show=False, tooltip="Further away"),
    Binding(
        "e", "look('toggle_errors')", "errors", tooltip="Errors of the runs instead of their predictions"
    ),
    Binding("s", "look('next_score', 1)", "score", tooltip="The next out-of-distribution score"),
    Binding(
        "left_parenthesis",
        "look('slide', -1)",
        "threshold",
        key_display="( )",
        tooltip="Accept less: grey is rejected",
    ),
    Binding("right_parenthesis", "look('slide', 1)", "accept more", show=False, tooltip="Accept more"),
    Binding("V", "legend", "legend", tooltip="Show or hide the classes with their Dice"),
    Binding(
        "m",
        "look('next_rule')",
        "cells",
        tooltip="What a cell shows of the classes in it: rare ones first, most, middle",
    ),
    Binding("R", "rerun", "rerun", show=False, tooltip="A form for a new run with this one's config"),
    Binding("home", f"look('go_to_epoch', -{_EDGE})", "first epoch", show=False, tooltip="First kept epoch"),
    Binding("end", f"look('go_to_epoch', {_EDGE})", "last epoch", show=False, tooltip="Last kept epoch"),
    Binding("up", "move(-1, 0)", "up", show=False, tooltip="Move the cross; with shift by 8"),
    Binding("down", "move(1, 0)", "down", show=False, tooltip="Move the cross; with shift by 8"),
    Binding("left", "move(0, -1)", "left", show=False, tooltip="Move the cross; with shift by 8"),
    Binding("right", "move(0, 1)", "right", show=False, tooltip="Move the cross; with shift by 8"),
    Binding("shift+up", "move(-8, 0)", show=False),
    Binding("shift+down", "move(8, 0)", show=False),
    Binding("shift+left", "move(0, -8)", show=False),
    Binding("shift+right", "move(0, 8)", show=False),
    Binding("question_mark", "app.help", "help", key_display="?", tooltip="All keys"),
]

OF_PICTURES = frozenset({"look", "full", "flicker", "play", "legend", "move"})
"""Actions that make sense only when there is something to be seen."""

OF_SCORES = frozenset({"next_score", "slide"})
"""Changes of the look that need maps of a score."""
