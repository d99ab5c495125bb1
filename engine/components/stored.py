"""Whether the config that is read now is that of a run that exists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_reading_stored: ContextVar[bool] = ContextVar("reading_stored", default=False)


@contextmanager
def reading_stored() -> Iterator[None]:
    """Within it a config is that of a run that exists: components that are not here any more are kept as they
    are written, so that the run still lists, shows and compares."""
    token = _reading_stored.set(True)
    try:
        yield
    finally:
        _reading_stored.reset(token)


def is_reading_stored() -> bool:
    """Whether a config that is read now is that of a run that exists."""
    return _reading_stored.get()
