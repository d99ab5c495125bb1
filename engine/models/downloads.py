"""Downloads of weights by name: one clear line where there is no network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from engine.models.pretrained import WeightsError


@contextmanager
def downloading(weights: str, owner: str) -> Iterator[None]:
    """Around a download of the `weights` of `owner` by their makers' package. Whatever goes wrong there is a
    WeightsError of one line."""
    chatty = logging.getLogger("huggingface_hub")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:
        raise WeightsError(
            f"model.weights: {weights} of {owner} cannot be downloaded: {_reason(error)}; where there is no "
            "network, download the file elsewhere and give its path, or copy the cache of downloads "
            "(~/.cache/huggingface or ~/.cache/torch) here"
        ) from error
    finally:
        chatty.setLevel(level)


def _reason(error: BaseException) -> str:
    """The first cause of an error, the system's word for it, in a few words."""
    while (cause := error.__cause__ or error.__context__) is not None and cause is not error:
        error = cause
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 160 else f"{words[:160]}…"
