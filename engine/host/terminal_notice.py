"""The notification that a terminal itself can show, and its bell."""

from __future__ import annotations

from collections.abc import Mapping


def terminal_notice(text: str, environ: Mapping[str, str]) -> str:
    """The control sequences that ring the bell and notify of `text`, for the terminal that the environment
    tells of.

    OSC 777 (rxvt-unicode, VTE, foot, Ghostty) or OSC 9 (iTerm2, WezTerm, kitty, Windows Terminal): one of
    them, as some terminals know both. Unknown ones ignore it. tmux hands it on to the terminal around
    it where its `allow-passthrough` is on.
    """
    plain = "".join(c if c.isprintable() else " " for c in text)[:250]
    term = environ.get("TERM", "")
    knows_777 = "VTE_VERSION" in environ or term.startswith(("rxvt", "foot", "xterm-ghostty"))
    body = f"777;notify;seg-engine;{plain}" if knows_777 else f"9;seg-engine: {plain}"
    sequence = f"\x1b]{body}\x07"
    if environ.get("TMUX"):
        sequence = "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return f"\x07{sequence}"
