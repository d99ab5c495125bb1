"""Downloads of weights by name: one clear line where there is no network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from engine.models.pretrained import IMAGENET, WeightsError


@contextmanager
def downloading(weights: str, owner: str, normalisation: str = IMAGENET) -> Iterator[None]:
    """Around a download of the `weights` of `owner` by their makers' package. Whatever goes wrong there is a
    WeightsError of one line. `normalisation` is the one that they want, which a file does not tell."""
    chatty = logging.getLogger("huggingface_hub")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:
        key = "" if normalisation == IMAGENET else f" with model.normalisation={normalisation}"
        raise WeightsError(
            f"model.weights: {weights} of {owner} cannot be downloaded: {_reason(error)}; where there is no "
            f"network, download the file elsewhere and give its path{key}, or copy the cache of downloads "
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
