"""An explorer over the shipped model, driven without a browser."""

import pytest

import retnet_viz as rv


@pytest.fixture
def opened():
    """Keeps each page that it is given, and gives it back; all are ended after the test."""
    pages = []
    yield lambda page: pages.append(page) or page
    for page in pages:
        page.stop()
        page.close_all()


@pytest.fixture
def explorer(shipped_model, opened):
    return opened(rv.explore(shipped_model, "The old man said to the boy, and the boy said"))


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
