"""The one hook to observe a forward pass: a module publishes a named tensor.

Without a listener this costs one truth test. A listener gets the very tensor that the pass goes on
to use, so it must not write to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

import torch
from torch import Tensor

Listener = Callable[[str, Tensor], None]

_listener: ContextVar[Listener | None] = ContextVar("retnet_viz_listener", default=None)
_keeps_tensors: ContextVar[bool] = ContextVar("retnet_viz_listener_keeps", default=False)


def publish(name: str, tensor: Tensor) -> None:
    """Hand `tensor` to the listener of this context, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(name, tensor)


def is_observed() -> bool:
    """Whether a listener of this context keeps the tensors that are published."""
    return _keeps_tensors.get()


def may_overwrite() -> bool:
    """Whether a pass may overwrite its own tensors after their last use.

    A listener may keep them, and the backward pass needs them.
    """
    return not (is_observed() or torch.is_grad_enabled())


@contextmanager
def listening(listener: Listener, keeps: bool = True) -> Iterator[None]:
    """Call `listener(name, tensor)` for all that is published inside the `with` block.

    Where `keeps` is False the listener keeps no tensor, so a pass may overwrite its own.
    """
    tokens = _listener.set(listener), _keeps_tensors.set(keeps)
    try:
        yield
    finally:
        _listener.reset(tokens[0])
        _keeps_tensors.reset(tokens[1])


@contextmanager
def also_listening(listener: Listener) -> Iterator[None]:
    """As `listening`, but the listener of the surrounding code is called as well.

    So a background job, which stops a pass by raising from its own listener, can also stop an
    experiment in the middle of a pass.
    """
    outer_context = copy_context()

    def notify(name: str, tensor: Tensor) -> None:
        listener(name, tensor)
        outer_context.run(publish, name, tensor)

    with listening(notify):
        yield
