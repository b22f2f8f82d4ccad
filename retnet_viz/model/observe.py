"""The one hook into a forward pass: a module publishes a named tensor, and goes on with the answer.

    q = publish("retention.q", q)

Without a listener or an editor this costs one truth test. An editor may put another tensor in the
place of a published one. A listener then gets the very tensor that the pass goes on to use, so it
must not write to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import NamedTuple

import torch
from torch import Tensor

Listener = Callable[[str, Tensor], None]
Editor = Callable[[str, Tensor], Tensor]


class _Hook(NamedTuple):
    """Who is told of a published tensor, whether they keep it, and who may replace it."""

    listener: Listener | None = None
    keeps: bool = False
    editor: Editor | None = None


_NOBODY = _Hook()
_hook: ContextVar[_Hook | None] = ContextVar("retnet_viz_hook", default=None)


def publish(name: str, tensor: Tensor) -> Tensor:
    """The tensor that the pass goes on with: `tensor`, or what an editor of this context puts in
    its place. The listener of this context, if there is one, gets it too."""
    hook = _hook.get()
    if hook is None:
        return tensor
    if hook.editor is not None:
        tensor = hook.editor(name, tensor)
    if hook.listener is not None:
        hook.listener(name, tensor)
    return tensor


def is_observed() -> bool:
    """Whether a listener of this context keeps the tensors that are published."""
    return (_hook.get() or _NOBODY).keeps


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
    with _hooked((_hook.get() or _NOBODY)._replace(listener=listener, keeps=keeps)):
        yield


@contextmanager
def also_listening(listener: Listener) -> Iterator[None]:
    """As `listening`, but the listener of the surrounding code is called as well.

    So a background job, which stops a pass by raising from its own listener, can also stop an
    experiment in the middle of a pass.
    """
    outer_context = copy_context()
    outer = (_hook.get() or _NOBODY).listener

    def notify(name: str, tensor: Tensor) -> None:
        listener(name, tensor)
        if outer is not None:
            outer_context.run(outer, name, tensor)

    with listening(notify):
        yield


@contextmanager
def editing(editor: Editor) -> Iterator[None]:
    """Inside the `with` block a pass goes on with `editor(name, tensor)` for all it publishes."""
    with _hooked((_hook.get() or _NOBODY)._replace(editor=editor)):
        yield


@contextmanager
def _hooked(hook: _Hook) -> Iterator[None]:
    token = _hook.set(hook)
    try:
        yield
    finally:
        _hook.reset(token)
