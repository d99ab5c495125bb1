"""Names that one process of this machine holds at a time, whoever it belongs to.

A name is the address of a socket in Linux's abstract namespace (unix(7)): it needs no file that somebody has
to own, and the kernel gives it back when the process ends, however that happens.
"""

from __future__ import annotations

import socket


def claim(name: str) -> socket.socket | None:
    """Hold a name until the socket is closed; None while another process holds it."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0seg-engine/{name}")
    except OSError:
        held.close()
        return None
    return held
