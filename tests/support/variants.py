"""Random models of every variant, for properties that hold of all."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from retnet_viz.model.variant import FEED_FORWARDS, GATE_ACTIVATIONS


@st.composite
def variants(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a random RetNetConfig and its Variant."""
    heads = draw(st.integers(1, 3))
    gammas = st.lists(st.floats(0.2, 1.0), min_size=heads, max_size=heads)
    feed_forward = draw(st.sampled_from(FEED_FORWARDS))
    is_plain = feed_forward not in GATE_ACTIVATIONS
    return {
        "vocab_size": 23,
        "n_heads": heads,
        "d_model": heads * draw(st.sampled_from([4, 6])),
        "n_layers": draw(st.integers(1, 3)),
        "value_factor": draw(st.sampled_from([0.5, 1.0, 1.5, 2.0])),
        "ffn_factor": draw(st.sampled_from([1.0, 2.0])),
        "decay": draw(st.one_of(st.sampled_from(["paper", "torchscale"]), gammas.map(tuple))),
        "rotation": draw(st.sampled_from(["interleaved", "half", "none"])),
        "norm": draw(st.sampled_from(["layer", "rms"])),
        "head_norm": draw(st.sampled_from(["layer", "rms", "none"])),
        "gate": draw(st.sampled_from(["swish", "none"])),
        "feed_forward": feed_forward,
        "tie_embeddings": draw(st.booleans()),
        "key_factor": draw(st.sampled_from([1.0, 2.0])),
        "n_kv_heads": draw(st.sampled_from([n for n in (1, 2, 3, None) if not n or not heads % n])),
        "angles": draw(st.sampled_from(["inclusive", "rope", "half_turn"])),
        "scaled": draw(st.sampled_from(["k", "q"])),
        "decay_norm": draw(st.booleans()),
        "head_norm_weights": draw(st.booleans()),
        "norm_place": draw(st.sampled_from(["before", "after"])),
        "residual_scale": draw(st.sampled_from([1.0, 1.5])),
        "embedding_scale": draw(st.sampled_from([1.0, 8.0])),
        "embedding_norm": draw(st.booleans()),
        "ffn_bias": is_plain and draw(st.booleans()),
        "ffn_norm": draw(st.sampled_from(["none", "layer", "rms"])) if is_plain else "none",
    }
