"""The one hook for whoever watches a forward pass: a module publishes a named tensor.

Nobody listening costs one truth test. A listener gets the very tensor that the pass goes on to
use, so it must not write to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

import torch
from torch import Tensor

Listener = Callable[[str, Tensor], None]

_listener: ContextVar[Listener | None] = ContextVar("retnet_viz_listener", default=None)
_keeps: ContextVar[bool] = ContextVar("retnet_viz_listener_keeps", default=False)


def publish(name: str, tensor: Tensor) -> None:
    """Hand `tensor` to the listener of this context, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(name, tensor)


def observed() -> bool:
    """Whether somebody keeps what is published in this context."""
    return _keeps.get()


def overwritable() -> bool:
    """Whether a pass may write over tensors of its own that it has used for the last time.

    A listener keeps what it is handed, and the backward pass needs what the forward pass made.
    """
    return not (observed() or torch.is_grad_enabled())


@contextmanager
def listening(listener: Listener, keeps: bool = True) -> Iterator[None]:
    """Call `listener(name, tensor)` for all that is published inside the `with` block.

    One that `keeps` no tensor, but ends a pass, say, lets it run as if nobody listened.
    """
    tokens = _listener.set(listener), _keeps.set(keeps)
    try:
        yield
    finally:
        _listener.reset(tokens[0])
        _keeps.reset(tokens[1])


@contextmanager
def overhearing(listener: Listener) -> Iterator[None]:
    """As `listening`, but the listener of the surrounding code is told as well.

    So a background job that stops a pass by raising from its own listener stops an experiment too,
    in the middle of a pass.
    """
    around = copy_context()

    def tell(name: str, tensor: Tensor) -> None:
        listener(name, tensor)
        around.run(publish, name, tensor)

    with listening(tell):
        yield
