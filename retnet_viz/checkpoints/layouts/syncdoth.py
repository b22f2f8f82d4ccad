"""Checkpoints of syncdoth's RetNet (`RetNetForCausalLM`, `model_type` "retnet", fields decoder_*).

It follows torchscale, under transformers' names. `use_lm_decay` takes the later schedule of decays;
without `use_glu` the feed-forward has biases and, with `subln`, a norm of its inner values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retnet_viz.checkpoints.layouts.layout import Fields, Layout
from retnet_viz.checkpoints.layouts.torchscale import (
    decoder_config,
    decoder_ignored,
    decoder_names,
)
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.model import RetNetConfig


def _matches(fields: Mapping[str, Any]) -> bool:
    return fields.get("model_type") == "retnet" and "decoder_embed_dim" in fields


def _read_config(fields: Fields, weights: Weights) -> RetNetConfig:
    tied = fields.boolean("tie_word_embeddings", False)
    return decoder_config(fields, weights, "model.", "swish", tied)


LAYOUT = Layout(
    name="syncdoth",
    matches=_matches,
    read_config=_read_config,
    names=decoder_names("model.", "lm_head.weight"),
    ignored=decoder_ignored("model."),
)
