"""What can go wrong in this room."""

from __future__ import annotations

from engine.errors import EngineError


class StoreError(EngineError):
    """The database cannot do what was asked; the message is one line that says why and what to do."""


class OtherVersion(StoreError):
    """The tables are those of another version of this program, and are to stay as they are."""


class DamagedRow(StoreError):
    """A row holds what nobody has written."""


class UnfitRun(StoreError):
    """The folder of a run holds what no run can have; it says nothing of other runs and of the database."""


class IngestConflict(StoreError):
    """Somebody else took the same piece of the journal first; read on from the stored offset."""


class NoSuchRun(StoreError):
    """The database has no run of that id, or has it no more."""
