"""What is to be known to torch's compiler, said without importing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def constant_result(function: Function) -> Function:
    """`torch.compiler.assume_constant_result`: the compiler calls the function once and keeps what it gave.

    Torch's own decorator imports the compiler, which takes about as long as the rest of torch; most runs
    compile nothing. Both leave the same mark on the function.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
