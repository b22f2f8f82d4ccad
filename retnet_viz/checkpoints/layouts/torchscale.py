"""Checkpoints of the authors' own code, torchscale (`RetNetDecoder`).

Its `RetNetRelPos` holds the angles and log γ as buffers, D is divided by the root of its row sums,
and each head is normalised by its root mean square, without a weight. The parallel form divides the
weights by their row sums too, where those are above 1: a factor of a whole row, which that
normalisation cancels but for its epsilon. The feed-forward is gated; the activation is on `fc1`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.layouts.layout import Fields, Layout
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.model import ConfigError, RetNetConfig, Variant
from retnet_viz.model.position import rotation_angles
from retnet_viz.model.variant import GATE_ACTIVATIONS

ACTIVATIONS = {"swish": "swish", "silu": "swish", "gelu": "gelu", "relu": "relu"}


def _matches(fields: Mapping[str, Any]) -> bool:
    return "decoder_embed_dim" in fields and "model_type" not in fields


def _read_config(fields: Fields, weights: Weights) -> RetNetConfig:
    for name in ("multiway", "no_output_layer", "xpos_rel_pos"):
        fields.refuse(name, False)
    fields.refuse("moe_freq", 0)
    tied = fields.boolean("share_decoder_input_output_embed", False)
    return decoder_config(fields, weights, "", "gelu", tied)


def decoder_config(
    fields: Fields, weights: Weights, prefix: str, activation: str, tied: bool
) -> RetNetConfig:
    """The config of a decoder in this code, whose tensors' names begin with `prefix`."""
    width = fields.integer("decoder_embed_dim", 768)
    heads = fields.integer("decoder_retention_heads", 3)
    layers = fields.integer("decoder_layers", 12)
    # As the code's own config does: each of the two decides where the norms stand.
    is_deep = fields.boolean("deepnorm", False)
    has_inner_norm = fields.boolean("subln", True) and not is_deep
    is_pre_norm = has_inner_norm or (
        fields.boolean("decoder_normalize_before", True) and not is_deep
    )
    first_layer = f"{prefix}layers.0."
    has_biases = f"{first_layer}retention_layer_norm.bias" in weights
    norm = "layer" if has_biases else "rms"
    is_gated = f"{first_layer}ffn.gate.weight" in weights
    if "use_glu" in fields and fields.boolean("use_glu", True) != is_gated:
        raise fields.error(
            f"use_glu is {'false' if is_gated else 'true'}, but the weights "
            f"{'have' if is_gated else 'lack'} {first_layer}ffn.gate.weight"
        )
    activation = fields.choice("activation_fn", activation, ACTIVATIONS)
    gated_ffn = next(name for name, gate in GATE_ACTIVATIONS.items() if gate == activation)
    inner_norm = "layer" if f"{first_layer}ffn.ffn_layernorm.bias" in weights else "rms"
    return RetNetConfig(
        vocab_size=fields.integer("vocab_size", 50257)
        if "vocab_size" in fields
        else weights.shapes.get(f"{prefix}embed_tokens.weight", (0,))[0],
        d_model=width,
        n_layers=layers,
        n_heads=heads,
        value_factor=fields.integer("decoder_value_embed_dim", 1280) / width,
        ffn_factor=fields.integer("decoder_ffn_embed_dim", 1280) / width,
        decay=_decay(fields, weights, f"{prefix}retnet_rel_pos.decay", heads),
        rotation="interleaved",
        head_norm=norm,
        norm_eps=fields.number("layernorm_eps", 1e-6),
        tie_embeddings=tied,
        variant=Variant(
            norm=norm,
            norm_place="before" if is_pre_norm else "after",
            residual_scale=(2.0 * layers) ** 0.25 if is_deep else 1.0,
            decay_norm=True,
            feed_forward=gated_ffn if is_gated else activation,
            ffn_bias=not is_gated,
            ffn_norm=inner_norm if has_inner_norm and not is_gated else "none",
            embedding_scale=1.0 if fields.boolean("no_scale_embedding", True) else math.sqrt(width),
            embedding_norm=fields.boolean("layernorm_embedding", False),
        ),
    )


def _decay(fields: Fields, weights: Weights, name: str, heads: int) -> str | tuple[float, ...]:
    """The schedule that the config names, or the gammas in the file where they differ."""
    schedule = "torchscale" if fields.boolean("use_lm_decay", False) else "paper"
    _check_angles(weights, name.removesuffix("decay") + "angle")
    if name not in weights:
        return schedule
    stored = weights[name].flatten()
    try:
        expected = RetNetConfig(d_model=2 * heads, n_heads=heads, decay=schedule).gammas()
    except ConfigError as error:
        raise fields.error(str(error)) from error
    if len(stored) != heads:
        raise CheckpointError(
            f"{weights.path_of(name)}: tensor {name} has {len(stored)} decays for {heads} heads"
        )
    # The code makes them in float32, whose 1 - γ is off by up to 6e-8; 16 bits round visibly.
    is_exact = stored.dtype in (torch.float32, torch.float64)
    if is_exact and torch.allclose(stored.double(), expected.log(), rtol=0, atol=2e-7):
        return schedule
    return tuple(stored.double().exp().tolist())


def _check_angles(weights: Weights, name: str) -> None:
    """Refuse angles other than those that the code makes: this package computes with those."""
    if name not in weights:
        return
    stored = weights[name].flatten()
    length = len(stored)
    if length < 2 or length % 2:
        raise CheckpointError(f"{weights.path_of(name)}: {name} has {length} angles")
    cos, sin = rotation_angles(length, 1, 1, 10000.0)
    expected = torch.atan2(sin, cos)[0].repeat_interleave(2)
    if not torch.allclose(stored.double(), expected, rtol=8 * torch.finfo(stored.dtype).eps):
        raise CheckpointError(
            f"{weights.path_of(name)}: {name} are not the angles 10000**linspace(0, -1)"
        )


def decoder_names(prefix: str, head: str) -> dict[str, str | tuple[str, ...]]:
    """The names of a decoder's tensors in this code, beginning with `prefix`."""
    layer = f"{prefix}layers.{{i}}."
    return {
        "embedding.weight": f"{prefix}embed_tokens.weight",
        "embedding_norm.weight": f"{prefix}layernorm_embedding.weight",
        "embedding_norm.bias": f"{prefix}layernorm_embedding.bias",
        "blocks.{i}.retention_norm.weight": f"{layer}retention_layer_norm.weight",
        "blocks.{i}.retention_norm.bias": f"{layer}retention_layer_norm.bias",
        "blocks.{i}.retention.q_proj.weight": f"{layer}retention.q_proj.weight",
        "blocks.{i}.retention.k_proj.weight": f"{layer}retention.k_proj.weight",
        "blocks.{i}.retention.v_proj.weight": f"{layer}retention.v_proj.weight",
        "blocks.{i}.retention.g_proj.weight": f"{layer}retention.g_proj.weight",
        "blocks.{i}.retention.out_proj.weight": f"{layer}retention.out_proj.weight",
        "blocks.{i}.ffn_norm.weight": f"{layer}final_layer_norm.weight",
        "blocks.{i}.ffn_norm.bias": f"{layer}final_layer_norm.bias",
        # Gated, fc1 goes through the activation and `gate` multiplies it; else fc1 is all there is.
        "blocks.{i}.ffn.gate_proj.weight": f"{layer}ffn.fc1.weight",
        "blocks.{i}.ffn.up_proj.weight": (f"{layer}ffn.gate.weight", f"{layer}ffn.fc1.weight"),
        "blocks.{i}.ffn.up_proj.bias": f"{layer}ffn.fc1.bias",
        "blocks.{i}.ffn.norm.weight": f"{layer}ffn.ffn_layernorm.weight",
        "blocks.{i}.ffn.norm.bias": f"{layer}ffn.ffn_layernorm.bias",
        "blocks.{i}.ffn.down_proj.weight": f"{layer}ffn.fc2.weight",
        "blocks.{i}.ffn.down_proj.bias": f"{layer}ffn.fc2.bias",
        "norm.weight": f"{prefix}layer_norm.weight",
        "norm.bias": f"{prefix}layer_norm.bias",
        "head.weight": head,
    }


def decoder_ignored(prefix: str) -> dict[str, str]:
    """The buffers of a decoder in this code."""
    return {
        f"{prefix}retnet_rel_pos.angle": "the angles follow from the width of a head",
        f"{prefix}retnet_rel_pos.decay": "read as the gammas of the config",
    }


LAYOUT = Layout(
    name="torchscale",
    matches=_matches,
    read_config=_read_config,
    names=decoder_names("", "output_projection.weight"),
    ignored=decoder_ignored(""),
)
