"""The keys of the preview. `look` calls a method of `Look`, by its name."""

from __future__ import annotations

from textual.binding import Binding, BindingType

_EDGE = 1_000_000
"""More epochs than any run keeps."""

KEYS: list[BindingType] = [
    Binding(
        "escape",
        "back",
        "back",
        key_display="esc",
        tooltip="Leave full screen, zoom, then the screen",
    ),
    Binding("q", "back", "back", show=False, tooltip="Leave full screen, zoom, then the screen"),
    Binding(
        "left_square_bracket",
        "look('go_to_epoch', -1)",
        "epoch",
        key_display="[ ]",
        tooltip="Previous saved epoch",
    ),
    Binding(
        "right_square_bracket", "look('go_to_epoch', 1)", "next epoch", show=False, tooltip="Next saved epoch"
    ),
    Binding("comma", "look('go_to_sample', -1)", "image", key_display=", .", tooltip="Previous image"),
    Binding("full_stop", "look('go_to_sample', 1)", "next image", show=False, tooltip="Next image"),
    Binding("enter", "full", "full", tooltip="Show the framed picture full screen"),
    Binding("k", "flicker", "flicker", tooltip="Alternate between two runs, or prediction and ground truth"),
    Binding("P", "play", "play", tooltip="Play through the epochs; again: stop"),
    Binding("b", "look('toggle_best')", "best", tooltip="Each run at the saved epoch nearest its best"),
    Binding("w", "look('toggle_worst')", "worst first", tooltip="Images with the lowest Dice first"),
    Binding(
        "plus",
        "look('cover', 0.1)",
        "overlay",
        key_display="+ -",
        tooltip="More opaque class maps",
    ),
    Binding(
        "minus",
        "look('cover', -0.1)",
        "fainter overlay",
        show=False,
        tooltip="More transparent class maps",
    ),
    Binding("equals_sign", "look('cover', 0.1)", show=False),
    Binding("z", "look('zoom', 0.5)", "zoom", key_display="z Z", tooltip="Zoom in around the cross"),
    Binding("Z", "look('zoom', 2)", "zoom out", show=False, tooltip="Zoom out"),
    Binding("e", "look('toggle_errors')", "errors", tooltip="Show errors instead of predictions"),
    Binding("B", "look('toggle_boundaries')", "boundaries", tooltip="Only errors near true boundaries"),
    Binding("s", "look('next_score', 1)", "score", tooltip="Next OOD score"),
    Binding(
        "left_parenthesis",
        "look('slide', -1)",
        "threshold",
        key_display="( )",
        tooltip="Accept fewer pixels; rejected ones are grey",
    ),
    Binding("right_parenthesis", "look('slide', 1)", "accept more", show=False, tooltip="Accept more pixels"),
    Binding("V", "legend", "legend", tooltip="Show or hide the class legend with Dice"),
    Binding("pagedown", "legend_page(1)", "legend down", show=False, tooltip="Scroll the class legend down"),
    Binding("pageup", "legend_page(-1)", "legend up", show=False, tooltip="Scroll the class legend up"),
    Binding(
        "m",
        "look('next_rule')",
        "cells",
        tooltip="Class shown in a cell: the rarest, the most frequent or the middle one",
    ),
    Binding("R", "rerun", "rerun", tooltip="New run with this config"),
    Binding("home", f"look('go_to_epoch', -{_EDGE})", "first epoch", show=False, tooltip="First saved epoch"),
    Binding("end", f"look('go_to_epoch', {_EDGE})", "last epoch", show=False, tooltip="Last saved epoch"),
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

OF_PICTURES = frozenset({"look", "full", "flicker", "play", "legend", "legend_page", "move"})
"""Actions that make sense only when there is something to be seen."""

OF_SCORES = frozenset({"next_score", "slide"})
"""Changes of the look that need maps of a score."""
