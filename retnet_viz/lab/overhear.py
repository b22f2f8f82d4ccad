"""Listening to a pass without shutting out whoever listens to it already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from torch import Tensor

from retnet_viz.model.observe import Listener, listening, publish


@contextmanager
def overhearing(listener: Listener) -> Iterator[None]:
    """As `model.observe.listening`, but the listener of the surrounding code is told as well.

    So a background job that stops a pass by raising from its own listener stops an experiment too,
    in the middle of a pass.
    """
    around = copy_context()

    def tell(name: str, tensor: Tensor) -> None:
        listener(name, tensor)
        around.run(publish, name, tensor)

    with listening(tell):
        yield
