"""Small checkpoints in the published layouts, and literal computations of what they mean.

Each `*_checkpoint` gives the config and the tensors as the original code saves them; each
`*_logits` computes the published formula for one text, head by head and token by token, from those
tensors under their own names. Nothing here uses the package.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Config = dict[str, Any]
ACTIVATIONS = {
    "swish": lambda x: x * torch.sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "relu": lambda x: x.clamp(min=0),
}


class Draw:
    """Random tensors by name, float32 as they are saved."""

    def __init__(self, seed: int) -> None:
        self.tensors: Tensors = {}
        self._generator = torch.Generator().manual_seed(seed)

    def matrix(self, name: str, *shape: int) -> None:
        self.tensors[name] = 0.3 * torch.randn(shape, generator=self._generator)

    def norm(self, name: str, width: int, bias: bool = False) -> None:
        self.tensors[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=self._generator)
        if bias:
            self.tensors[f"{name}.bias"] = 0.2 * torch.randn(width, generator=self._generator)


def rms(x: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def layer(x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()


# -- fla ----------------------------------------------------------------------------------------


def fla_checkpoint(seed: int = 0, **changes: Any) -> tuple[Config, Tensors]:
    config: Config = {
        "model_type": "retnet",
        "architectures": ["RetNetForCausalLM"],
        "attn_mode": "chunk",
        "hidden_size": 24,
        "expand_k": 1.0,
        "expand_v": 2.0,
        "hidden_ratio": 2,
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_heads": 6,
        "num_kv_heads": None,
        "feature_map": None,
        "hidden_act": "swish",
        "use_short_conv": False,
        "use_output_gate": True,
        "elementwise_affine": True,
        "norm_eps": 1e-6,
        "attn": None,
        "fuse_norm": True,
        "tie_word_embeddings": False,
        "vocab_size": 31,
        **changes,
    }
    d, heads = config["hidden_size"], config["num_heads"]
    groups = heads // (config["num_kv_heads"] or heads)
    keys, values = int(d * config["expand_k"]), int(d * config["expand_v"])
    inner = config["intermediate_size"]
    if inner is None:
        inner = int(d * config["hidden_ratio"] * 2 / 3)
        inner = 256 * ((inner + 255) // 256)
    draw = Draw(seed)
    draw.matrix("model.embeddings.weight", config["vocab_size"], d)
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        draw.norm(f"{at}attn_norm", d)
        draw.matrix(f"{at}attn.q_proj.weight", keys, d)
        draw.matrix(f"{at}attn.k_proj.weight", keys // groups, d)
        draw.matrix(f"{at}attn.v_proj.weight", values // groups, d)
        if config["use_output_gate"]:
            draw.matrix(f"{at}attn.g_proj.weight", values, d)
        draw.matrix(f"{at}attn.o_proj.weight", d, values)
        if config["elementwise_affine"]:
            fused = config["fuse_norm"] and config["use_output_gate"]
            draw.norm(f"{at}attn.g_norm{'_swish_gate' if fused else ''}", values // heads)
        draw.norm(f"{at}mlp_norm", d)
        draw.matrix(f"{at}mlp.gate_proj.weight", inner, d)
        draw.matrix(f"{at}mlp.up_proj.weight", inner, d)
        draw.matrix(f"{at}mlp.down_proj.weight", d, inner)
    draw.norm("model.norm", d)
    if not config["tie_word_embeddings"]:
        draw.matrix("lm_head.weight", config["vocab_size"], d)
    return config, draw.tensors


def fla_logits(config: Config, tensors: Tensors, ids: list[int]) -> tuple[Tensor, list[Tensor]]:
    """The logits (T, vocab), and the last state of each layer (H, d_k, d_v)."""
    w = {name: tensor.double() for name, tensor in tensors.items()}
    heads, eps, swish = config["num_heads"], config["norm_eps"], ACTIVATIONS["swish"]
    groups = heads // (config["num_kv_heads"] or heads)
    x, states = w["model.embeddings.weight"][ids], []
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        y = rms(x, eps) * w[f"{at}attn_norm.weight"]
        q, k, v = (y @ w[f"{at}attn.{name}_proj.weight"].T for name in "qkv")
        q = q.unflatten(1, (heads, -1))
        k, v = (part.unflatten(1, (heads // groups, -1)) for part in (k, v))
        width = q.shape[-1]
        # RoFormer's rotation of the two halves of a head.
        frequencies = [10000 ** (-2 * j / width) for j in range(width // 2)]
        state = torch.zeros(heads, width, v.shape[-1], dtype=torch.float64)
        outputs = []
        for n in range(len(ids)):
            angle = torch.tensor([n * f for f in frequencies], dtype=torch.float64)

            def turned(row: Tensor, angle: Tensor = angle, width: int = width) -> Tensor:
                a, b = row[..., : width // 2], row[..., width // 2 :]
                cos, sin = angle.cos(), angle.sin()
                return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

            read = []
            for h in range(heads):
                gamma = 1 - 2 ** (-5 - h)
                update = torch.outer(turned(k[n, h // groups]), v[n, h // groups])
                state[h] = gamma * state[h] + update
                o = rms(width**-0.5 * turned(q[n, h]) @ state[h], eps)
                for name in ("g_norm_swish_gate", "g_norm"):
                    o = o * w.get(f"{at}attn.{name}.weight", 1.0)
                read.append(o)
            outputs.append(torch.cat(read))
        states.append(state)
        o = torch.stack(outputs)
        if config["use_output_gate"]:
            o = o * swish(y @ w[f"{at}attn.g_proj.weight"].T)
        x = x + o @ w[f"{at}attn.o_proj.weight"].T
        y = rms(x, eps) * w[f"{at}mlp_norm.weight"]
        gate, up = (y @ w[f"{at}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (swish(gate) * up) @ w[f"{at}mlp.down_proj.weight"].T
    head = w["model.embeddings.weight" if config["tie_word_embeddings"] else "lm_head.weight"]
    return rms(x, eps) * w["model.norm.weight"] @ head.T, states


# -- torchscale, and syncdoth which follows it --------------------------------------------------


def torchscale_checkpoint(
    seed: int = 0,
    prefix: str = "",
    norm_bias: bool = False,
    ffn_norm_bias: bool = True,
    gammas: list[float] | None = None,
    **changes: Any,
) -> tuple[Config, Tensors]:
    """The config as torchscale has it, and the tensors; `prefix` "model." for syncdoth's names."""
    config: Config = {
        "decoder_embed_dim": 24,
        "decoder_value_embed_dim": 36,
        "decoder_retention_heads": 3,
        "decoder_ffn_embed_dim": 20,
        "decoder_layers": 2,
        "decoder_normalize_before": True,
        "activation_fn": "swish",
        "no_scale_embedding": True,
        "layernorm_embedding": False,
        "deepnorm": False,
        "subln": True,
        "layernorm_eps": 1e-6,
        "vocab_size": 31,
        **changes,
    }
    glu = config.get("use_glu", True)
    if config["deepnorm"]:
        config |= {"decoder_normalize_before": False, "subln": False}
    if config["subln"]:
        config |= {"decoder_normalize_before": True, "deepnorm": False}
    d, values, inner = (
        config[f"decoder_{name}"] for name in ("embed_dim", "value_embed_dim", "ffn_embed_dim")
    )
    heads, width = config["decoder_retention_heads"], d // config["decoder_retention_heads"]
    draw = Draw(seed)
    draw.matrix(f"{prefix}embed_tokens.weight", config["vocab_size"], d)
    if config["layernorm_embedding"]:
        draw.norm(f"{prefix}layernorm_embedding", d, norm_bias)
    for i in range(config["decoder_layers"]):
        at = f"{prefix}layers.{i}."
        for name, size in (("q", d), ("k", d), ("v", values), ("g", values)):
            draw.matrix(f"{at}retention.{name}_proj.weight", size, d)
        draw.matrix(f"{at}retention.out_proj.weight", d, values)
        draw.norm(f"{at}retention_layer_norm", d, norm_bias)
        draw.matrix(f"{at}ffn.fc1.weight", inner, d)
        draw.matrix(f"{at}ffn.fc2.weight", d, inner)
        if glu:
            draw.matrix(f"{at}ffn.gate.weight", inner, d)
        else:
            draw.matrix(f"{at}ffn.fc1.bias", inner)
            draw.matrix(f"{at}ffn.fc2.bias", d)
            if config["subln"]:
                draw.norm(f"{at}ffn.ffn_layernorm", inner, ffn_norm_bias)
        draw.norm(f"{at}final_layer_norm", d, norm_bias)
    if config["decoder_normalize_before"]:
        draw.norm(f"{prefix}layer_norm", d, norm_bias)
    angle = 1.0 / (10000 ** torch.linspace(0, 1, width // 2))
    draw.tensors[f"{prefix}retnet_rel_pos.angle"] = angle.unsqueeze(-1).repeat(1, 2).flatten()
    if gammas is not None:
        decay = torch.tensor(gammas).log()
    elif config.get("use_lm_decay"):
        low, high = math.log(1 / 32), math.log(1 / 512)
        decay = torch.log(1 - torch.exp(torch.linspace(low, high, heads)))
    else:
        decay = torch.log(1 - 2 ** (-5 - torch.arange(heads, dtype=torch.float)))
    draw.tensors[f"{prefix}retnet_rel_pos.decay"] = decay
    tied = config.get("share_decoder_input_output_embed", config.get("tie_word_embeddings"))
    if not tied:
        name = "lm_head.weight" if prefix else "output_projection.weight"
        draw.matrix(name, config["vocab_size"], d)
    return config, draw.tensors


def syncdoth_checkpoint(seed: int = 0, **changes: Any) -> tuple[Config, Tensors]:
    config, tensors = torchscale_checkpoint(seed, "model.", **changes)
    usual = {"use_glu": True, "use_lm_decay": False, "tie_word_embeddings": False}
    return {"model_type": "retnet", "architectures": ["RetNetForCausalLM"], **usual, **config}, (
        tensors
    )


def torchscale_logits(
    config: Config, tensors: Tensors, ids: list[int]
) -> tuple[Tensor, list[Tensor]]:
    """The recurrent form of the published code: logits (T, vocab), last states (H, d_k, d_v).

    The code keeps the state divided by the root of `scale`; the states here are not divided.
    """
    w = {name: tensor.double() for name, tensor in tensors.items()}
    prefix = "model." if "model.embed_tokens.weight" in w else ""
    d, heads, eps = (
        config[name] for name in ("decoder_embed_dim", "decoder_retention_heads", "layernorm_eps")
    )
    active, pre = ACTIVATIONS[config["activation_fn"]], config["decoder_normalize_before"]
    alpha = (2.0 * config["decoder_layers"]) ** 0.25 if config["deepnorm"] else 1.0
    width = d // heads

    def norm(x: Tensor, name: str) -> Tensor:
        if f"{name}.bias" in w:
            return layer(x, eps) * w[f"{name}.weight"] + w[f"{name}.bias"]
        return rms(x, eps) * w[f"{name}.weight"]

    x = w[f"{prefix}embed_tokens.weight"][ids]
    if not config["no_scale_embedding"]:
        x = math.sqrt(d) * x
    if config["layernorm_embedding"]:
        x = norm(x, f"{prefix}layernorm_embedding")
    decay, angle = (w[f"{prefix}retnet_rel_pos.{name}"] for name in ("decay", "angle"))
    # Where the norms of the blocks have biases, the code is of a time when heads had LayerNorm too.
    head_norm = layer if f"{prefix}layers.0.retention_layer_norm.bias" in w else rms
    states = []
    for i in range(config["decoder_layers"]):
        at = f"{prefix}layers.{i}."
        y = norm(x, f"{at}retention_layer_norm") if pre else x
        q, k, v, g = (y @ w[f"{at}retention.{name}_proj.weight"].T for name in "qkvg")
        q, k, v = (part.unflatten(1, (heads, -1)) for part in (q, k * width**-0.5, v))
        kv = torch.zeros(heads, v.shape[-1], width, dtype=torch.float64)
        scale, outputs = torch.zeros(heads, dtype=torch.float64), []
        for n in range(len(ids)):
            sin, cos = torch.sin(n * angle), torch.cos(n * angle)

            def shifted(x: Tensor, sin: Tensor = sin, cos: Tensor = cos) -> Tensor:
                swapped = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
                return x * cos + swapped * sin

            qr, kr, before = shifted(q[n]), shifted(k[n]), scale
            scale = before * decay.exp() + 1
            kept = (before.sqrt() * decay.exp() / scale.sqrt()).view(heads, 1, 1)
            kv = kv * kept + kr[:, None, :] * v[n][:, :, None] / scale.sqrt().view(heads, 1, 1)
            outputs.append(head_norm((qr[:, None, :] * kv).sum(-1), eps).flatten())
        states.append(kv.mT * scale.sqrt().view(heads, 1, 1))
        o = ACTIVATIONS["swish"](g) * torch.stack(outputs)
        x = o @ w[f"{at}retention.out_proj.weight"].T + alpha * x
        x = x if pre else norm(x, f"{at}retention_layer_norm")
        y = norm(x, f"{at}final_layer_norm") if pre else x
        inner = active(y @ w[f"{at}ffn.fc1.weight"].T + w.get(f"{at}ffn.fc1.bias", 0.0))
        if f"{at}ffn.gate.weight" in w:
            inner = inner * (y @ w[f"{at}ffn.gate.weight"].T)
        if f"{at}ffn.ffn_layernorm.weight" in w:
            inner = norm(inner, f"{at}ffn.ffn_layernorm")
        x = inner @ w[f"{at}ffn.fc2.weight"].T + w.get(f"{at}ffn.fc2.bias", 0.0) + alpha * x
        x = x if pre else norm(x, f"{at}final_layer_norm")
    x = norm(x, f"{prefix}layer_norm") if pre else x
    head = next(
        (w[name] for name in ("lm_head.weight", "output_projection.weight") if name in w),
        w[f"{prefix}embed_tokens.weight"],
    )
    return x @ head.T, states
