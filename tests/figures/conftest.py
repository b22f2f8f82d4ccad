"""A small model of four heads that decay differently, and traces of a text with signs to escape."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, trace

GAMMAS = (0.5, 0.9, 0.99, 1.0)
TEXT = "Once <b>\n&\u202e upon"


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., RetNet], tiny_tokenizer: Tokenizer) -> RetNet:
    model = tiny_model(n_heads=4, d_model=32, decay=GAMMAS)
    model.tokenizer = tiny_tokenizer
    return model


@pytest.fixture(scope="module", params=MODES)
def sample(request: pytest.FixtureRequest, model: RetNet) -> Trace:
    return trace(model, TEXT, request.param, 4)
