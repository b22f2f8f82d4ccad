"""What many tests share: a small tokenizer, small models, one's checkpoint, the shipped model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

import retnet_viz as rv
from retnet_viz.checkpoints import Tokenizer, save
from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.training.data import train_tokenizer
from tests.support.examples import examples

# The same examples on every machine and in every run: a failure is never a matter of luck.
settings.register_profile("tests", deadline=None, derandomize=True, max_examples=examples(25))
settings.load_profile("tests")
# These tensors are too small to share out. The processes that the tests start run beside others,
# where threads that wait for one another spin: a notebook takes three times as long.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

STORY = (
    "Once there was a small fox who lived by the river. The fox had a red kite, and the kite had a "
    "long tail. One day the wind took the kite over the river and into the tall trees. The fox ran "
    "and ran. A grey owl sat in the tree and held the kite in her claw. Thank you, said the fox. "
    "You are welcome, said the owl, and they flew the red kite until the sun went down."
)

ModelFactory = Callable[..., RetNet]


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """A byte-level tokenizer of 300 tokens."""
    return train_tokenizer([STORY], 300)


@pytest.fixture(scope="session")
def tiny_model() -> ModelFactory:
    """Makes a small RetNet: float64 unless told otherwise, other fields as in RetNetConfig, flat.

    Its weights, those of the norms too, are larger than at the start of a training run, so that
    every part of the model is felt in the logits.
    """

    def make(
        *, seed: int = 0, std: float = 0.3, dtype: torch.dtype = torch.float64, **fields: object
    ) -> RetNet:
        shape = {"vocab_size": 300, "d_model": 16, "n_layers": 2, "n_heads": 2}
        model = RetNet(RetNetConfig.from_dict({**shape, **fields}))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                centre = 0.0 if parameter.dim() > 1 else parameter
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(centre + std * noise)
        return model.to(dtype).eval()

    return make


@pytest.fixture(scope="session")
def shipped_model() -> RetNet:
    """The model that ships."""
    return rv.load()


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer) -> Path:
    """The folder of a native checkpoint of a tiny model."""
    model = tiny_model(dtype=torch.float32)
    model.tokenizer = tiny_tokenizer
    folder = tmp_path / "checkpoint"
    save(model, folder)
    return folder
