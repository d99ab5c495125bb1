"""Asking what may never answer, such as a driver whose device hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Patience(Generic[T]):
    """Asks in a thread of its own, one question at a time, and waits `seconds` for the answer. A question
    that is never answered does not keep the process from ending."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread: threading.Thread | None = None

    def ask(self, question: Callable[[], T]) -> T:
        """The answer. Raises TimeoutError when there is none yet to this question or an earlier one, and what
        the question raises."""
        if self._thread is not None and self._thread.is_alive():
            raise TimeoutError
        answers: list[T] = []
        errors: list[BaseException] = []

        def answer() -> None:
            try:
                answers.append(question())
            except BaseException as error:
                errors.append(error)

        self._thread = threading.Thread(target=answer, name="patience", daemon=True)
        self._thread.start()
        self._thread.join(self._seconds)
        if errors:
            raise errors[0]
        if not answers:
            raise TimeoutError
        return answers[0]
