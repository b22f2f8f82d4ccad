"""A RetNet written out in float64 from its weights alone, with no use of the model's own code.

Equations 4, 8 and 9 of the paper as loops over layers, heads and pairs of tokens: q and k are
complex numbers that turn with the position, states are sums over all earlier tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from retnet_viz.model import RetNet, RetNetConfig

Array = np.ndarray


@dataclass(frozen=True)
class LiteralLayer:
    """What one layer computes for one text; shapes as a trace gives them, states (T, H, ...)."""

    gamma: Array
    q: Array
    k: Array
    v: Array
    decay: Array
    scores: Array
    retention: Array
    states: Array
    head_output: Array
    normed: Array
    gate: Array
    output: Array

    def inner(self, chunk_size: int) -> Array:
        """The terms of each token's output that come from its own chunk."""
        return self._part(chunk_size, same_chunk=True)

    def cross(self, chunk_size: int) -> Array:
        """The terms that come from earlier chunks."""
        return self._part(chunk_size, same_chunk=False)

    def _part(self, chunk_size: int, same_chunk: bool) -> Array:
        part = np.zeros_like(self.head_output)
        for head, n, m in np.ndindex(self.retention.shape):
            if (n // chunk_size == m // chunk_size) is same_chunk:
                part[head, n] += self.retention[head, n, m] * self.v[head, m]
        return part


@dataclass(frozen=True)
class Literal:
    """What a whole RetNet computes for one text."""

    layers: list[LiteralLayer]
    logits: Array


def literal(model: RetNet, ids: list[int]) -> Literal:
    """Run `model` over `ids` by hand."""
    config = model.config
    weights = {name: w.detach().double().numpy() for name, w in model.state_dict().items()}
    x = weights["embedding.weight"][ids]
    layers = []
    for layer in range(config.n_layers):
        prefix = f"blocks.{layer}."
        own = {name[len(prefix) :]: w for name, w in weights.items() if name.startswith(prefix)}
        layers.append(_layer(config, own, x))
        x = layers[-1].output
    embedding = weights["embedding.weight"]
    head = embedding if config.tie_embeddings else weights["head.weight"]
    return Literal(layers, _norm(config, weights, "norm", x) @ head.T)


def gammas(config: RetNetConfig) -> list[float]:
    """The decay of each head, from its definition."""
    count = config.n_heads
    if not isinstance(config.decay, str):
        return [float(gamma) for gamma in config.decay]
    if config.decay == "paper":
        return [1 - 2.0 ** (-5 - head) for head in range(count)]
    steps = [head / max(1, count - 1) for head in range(count)]
    return [1 - math.exp(-math.log(32) - step * math.log(512 / 32)) for step in steps]


def _layer(config: RetNetConfig, weights: dict[str, Array], x: Array) -> LiteralLayer:
    length, count = len(x), config.n_heads
    read = _norm(config, weights, "retention_norm", x)

    def heads(name: str) -> Array:
        columns = read @ weights[f"retention.{name}.weight"].T
        return np.stack(np.split(columns, count, axis=1))

    q, v = _rotate(config, heads("q_proj")), heads("v_proj")
    k = _rotate(config, heads("k_proj") / math.sqrt(config.head_dim))
    gamma = gammas(config)
    decay = np.zeros((count, length, length))
    scores = np.zeros((count, length, length))
    output = np.zeros((count, length, v.shape[-1]))
    states = np.zeros((length, count, k.shape[-1], v.shape[-1]))
    for h in range(count):
        for n in range(length):
            for m in range(length):
                scores[h, n, m] = np.sum(q[h, n] * k[h, m])
                if m <= n:
                    decay[h, n, m] = gamma[h] ** (n - m)
                    output[h, n] += scores[h, n, m] * decay[h, n, m] * v[h, m]
                    states[n, h] += decay[h, n, m] * np.outer(k[h, m], v[h, m])
    normed = np.concatenate([_unit(config.head_norm, config, o) for o in output], axis=1)
    gate = _swish(read @ weights["retention.g_proj.weight"].T)
    y = x + (gate * normed) @ weights["retention.out_proj.weight"].T
    z = _norm(config, weights, "ffn_norm", y)
    inner = z @ weights["ffn.up_proj.weight"].T
    if config.variant.feed_forward == "swiglu":
        inner = _swish(z @ weights["ffn.gate_proj.weight"].T) * inner
    else:
        inner = inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) / 2
    handed_on = y + inner @ weights["ffn.down_proj.weight"].T
    return LiteralLayer(
        np.array(gamma), q, k, v, decay, scores, scores * decay, states, output, normed, gate,
        handed_on,
    )  # fmt: skip


def _rotate(config: RetNetConfig, x: Array) -> Array:
    """x (H, T, d_k) with each pair of components, a complex number, times e^(i n theta)."""
    if config.rotation == "none":
        return x
    pairs = x.shape[-1] // 2
    rotated = x.copy()
    for i in range(pairs):
        a, b = (2 * i, 2 * i + 1) if config.rotation == "interleaved" else (i, i + pairs)
        first = np.pi if config.angles == "half_turn" else 1
        theta = first * config.rotation_base ** (-i / max(1, pairs - 1))
        for n in range(x.shape[1]):
            z = (x[:, n, a] + 1j * x[:, n, b]) * np.exp(1j * n * theta)
            rotated[:, n, a], rotated[:, n, b] = z.real, z.imag
    return rotated


def _norm(config: RetNetConfig, weights: dict[str, Array], name: str, x: Array) -> Array:
    x = _unit(config.variant.norm, config, x) * weights[f"{name}.weight"]
    return x + weights[f"{name}.bias"] if config.variant.norm == "layer" else x


def _unit(kind: str, config: RetNetConfig, x: Array) -> Array:
    if kind == "layer":
        x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + config.norm_eps)


def _swish(x: Array) -> Array:
    return x / (1 + np.exp(-x))
