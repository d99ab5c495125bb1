"""How urgent a run may be. Imports nothing, for those who must start fast."""

from __future__ import annotations

MOST_PRIORITY = 2**31 - 1
"""A place in the queue is a whole number from -MOST_PRIORITY to this: the column of a server has 32 bits."""
