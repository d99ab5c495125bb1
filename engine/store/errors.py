"""What can go wrong in this room."""

from __future__ import annotations


class StoreError(Exception):
    """The database cannot do what was asked; the message is one line that says why and what to do."""


class IngestConflict(StoreError):
    """Somebody else took the same piece of the journal first; read on from the stored offset."""


class NoSuchRun(StoreError):
    """The database has no run of that id, or has it no more."""
