"""The first two arguments of `explore` and `modes`: a model and a text, or a text alone."""

from __future__ import annotations

import os
from typing import TypeVar

from retnet_viz.checkpoints import load
from retnet_viz.model import RetNet

Text = str | os.PathLike[str]
T = TypeVar("T", bound=Text)


def model_and_text(model: RetNet | T | None, text: T | None) -> tuple[RetNet, T | None]:
    """The model, the shipped one by default, and the text, which may stand in the model's place.

    Raises ValueError where what stands there is neither.
    """
    if isinstance(model, (str, os.PathLike)):
        if text is not None:
            raise ValueError("two texts are given; the first should be a model")
        return load(), model
    if model is None:
        return load(), text
    if not isinstance(model, RetNet):
        raise ValueError(
            f"a RetNet or a text comes first, not a {type(model).__name__}; rv.compare shows "
            "models of other kinds"
        )
    return model, text
