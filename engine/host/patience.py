"""Asking what may never answer, such as a driver whose device hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


def in_background(question: Callable[[], T]) -> Future[T]:
    """Ask in a thread of its own. A question that is never answered does not keep the process from ending."""
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="patience", daemon=True).start()
    return answer


class Patience(Generic[T]):
    """Asks in the background, one question at a time, and waits `seconds` for the answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answer: Future[T] | None = None

    def ask(self, question: Callable[[], T]) -> T:
        """The answer. Raises TimeoutError when there is none yet to this question or an earlier one, and what
        the question raises."""
        if self._answer is not None and not self._answer.done():
            raise TimeoutError
        self._answer = in_background(question)
        return self._answer.result(self._seconds)
