"""An explorer over the shipped model, driven without a browser."""

import pytest

import retnet_viz as rv


@pytest.fixture
def explorer(shipped_model):
    widget = rv.explore(shipped_model, "The old man said to the boy, and the boy said")
    yield widget
    widget.stop()
    widget.close_all()
