"""Columns of a run that a new attempt clears, apart from the folds, whose events take long to import."""

from __future__ import annotations

from typing import Any

NO_PROGRESS: dict[str, Any] = {"phase": "", "eta_seconds": None}
NO_END: dict[str, Any] = {"cause": "", "message": "", "traceback": "", "ended_at": None}
