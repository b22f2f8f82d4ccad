"""The modes at work over a small model, without a browser."""

import pytest
import torch

import retnet_viz as rv
from retnet_viz.ui.pages.text_page import TextPage
from tests.support.modes_widget import TEXT


@pytest.fixture(scope="module")
def reader(tiny_model, tiny_tokenizer):
    """A small float32 model that reads text."""
    model = tiny_model(dtype=torch.float32)
    model.tokenizer = tiny_tokenizer
    return model


@pytest.fixture(autouse=True)
def no_thread_measures_beside_a_test(monkeypatch):
    monkeypatch.setattr(TextPage, "job_pause", 600.0)


@pytest.fixture
def open_modes(reader, opened):
    """Opens the widget; all that were opened are closed after the test."""

    def make(text=TEXT, **fields):
        return opened(rv.modes(reader, text, **fields))

    return make
