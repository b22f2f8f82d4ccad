"""The one hook for whoever watches a forward pass: a module publishes a named tensor.

Nobody listening costs one truth test. A listener gets the very tensor that the pass goes on to
use, so it must not write to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

Listener = Callable[[str, Tensor], None]

_listener: ContextVar[Listener | None] = ContextVar("retnet_viz_listener", default=None)


def publish(name: str, tensor: Tensor) -> None:
    """Hand `tensor` to the listener of this context, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(name, tensor)


def observed() -> bool:
    """Whether somebody watches in this context."""
    return _listener.get() is not None


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener(name, tensor)` for all that is published inside the `with` block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
