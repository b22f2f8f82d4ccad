"""Checkpoints of flash-linear-attention (`RetNetForCausalLM`, `model_type` "retnet").

Its `MultiScaleRetention` rotates as RoFormer does, has the decays of equation 8, multiplies the
query by d_k**-0.5 and normalises each head by its root mean square, with a weight where
`elementwise_affine` says so. `fuse_norm` decides what the normalisation of the heads is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retnet_viz.checkpoints.layouts.layout import Fields, Layout
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.model import RetNetConfig, Variant


def _matches(fields: Mapping[str, Any]) -> bool:
    return fields.get("model_type") == "retnet" and "hidden_size" in fields


def _read_config(fields: Fields, _weights: Weights) -> RetNetConfig:
    for name in ("attn", "feature_map", "attnres_block_size"):
        fields.refuse(name)
    fields.refuse("use_short_conv", False)
    fields.choice("hidden_act", "swish", {"swish": "swish", "silu": "swish"})
    width, heads = fields.integer("hidden_size", 2048), fields.integer("num_heads", 8)
    kv_heads = fields.integer("num_kv_heads", heads)
    keys, values = fields.number("expand_k", 1.0), fields.number("expand_v", 2.0)
    if not (keys > 0 and values > 0):
        raise fields.error(f"expand_k and expand_v must be above 0, not {keys:g} and {values:g}")
    return RetNetConfig(
        vocab_size=fields.integer("vocab_size", 32000),
        d_model=width,
        n_layers=fields.integer("num_hidden_layers", 24),
        n_heads=heads,
        value_factor=values / keys,
        ffn_factor=_inner_width(fields, width) / width,
        rotation="half",
        angles="rope",
        head_norm="rms",
        gate="swish" if fields.boolean("use_output_gate", True) else "none",
        norm_eps=fields.number("norm_eps", 1e-6),
        tie_embeddings=fields.boolean("tie_word_embeddings", False),
        variant=Variant(
            norm="rms",
            key_factor=keys,
            n_kv_heads=None if kv_heads == heads else kv_heads,
            scaled="q",
            # True by default; the code's layer takes a null for false.
            head_norm_weights=fields.boolean(
                "elementwise_affine", "elementwise_affine" not in fields
            ),
            feed_forward="swiglu",
        ),
    )


def _inner_width(fields: Fields, width: int) -> int:
    """`intermediate_size`, or two thirds of `hidden_ratio` widths, up to a multiple of 256."""
    # The code's config defaults to 2, and its layer takes 4 for a null.
    ratio = fields.integer("hidden_ratio", 4 if "hidden_ratio" in fields else 2)
    return fields.integer("intermediate_size", 256 * -(-int(width * ratio * 2 / 3) // 256))


LAYOUT = Layout(
    name="fla",
    matches=_matches,
    read_config=_read_config,
    names={
        "embedding.weight": "model.embeddings.weight",
        "blocks.{i}.retention_norm.weight": "model.layers.{i}.attn_norm.weight",
        "blocks.{i}.retention.q_proj.weight": "model.layers.{i}.attn.q_proj.weight",
        "blocks.{i}.retention.k_proj.weight": "model.layers.{i}.attn.k_proj.weight",
        "blocks.{i}.retention.v_proj.weight": "model.layers.{i}.attn.v_proj.weight",
        "blocks.{i}.retention.g_proj.weight": "model.layers.{i}.attn.g_proj.weight",
        "blocks.{i}.retention.head_norm_weight": (
            "model.layers.{i}.attn.g_norm_swish_gate.weight",
            "model.layers.{i}.attn.g_norm.weight",
        ),
        "blocks.{i}.retention.out_proj.weight": "model.layers.{i}.attn.o_proj.weight",
        "blocks.{i}.ffn_norm.weight": "model.layers.{i}.mlp_norm.weight",
        "blocks.{i}.ffn.gate_proj.weight": "model.layers.{i}.mlp.gate_proj.weight",
        "blocks.{i}.ffn.up_proj.weight": "model.layers.{i}.mlp.up_proj.weight",
        "blocks.{i}.ffn.down_proj.weight": "model.layers.{i}.mlp.down_proj.weight",
        "norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
    },
    ignored={
        "model.layers.{i}.attn.rotary.inv_freq": "the angles follow from the width of a head",
    },
)
