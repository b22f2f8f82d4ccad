"""An explorer over the shipped model, driven without a browser."""

import pytest

import retnet_viz as rv


@pytest.fixture
def explorer(shipped_model):
    widget = rv.explore(shipped_model, "The old man said to the boy, and the boy said")
    yield widget
    widget.stop()
    widget.close_all()


@pytest.fixture
def forward_passes(monkeypatch):
    """What RetNet.forward was called with since it was last cleared."""
    passes = []
    forward = rv.RetNet.forward

    def counted(self, *arguments, **options):
        passes.append(arguments)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(rv.RetNet, "forward", counted)
    return passes
