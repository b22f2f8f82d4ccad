"""The explorer's state: what a model can show of it."""

import pytest

from retnet_viz.model import RetNetConfig
from retnet_viz.ui import ExplorerState


@pytest.mark.parametrize("heads", [(0, 1, 2, 3), (9, 12), ()])
def test_all_heads_or_none_that_exist_mean_all(heads):
    assert ExplorerState(heads=heads).fitted(RetNetConfig()).heads == ()
