"""What the rotation does over distance, beside what the decay does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retnet_viz.figures.base import captions
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make, resolve_heads
from retnet_viz.figures.base.panel_parts import number_axis, significant, small_print, token_at
from retnet_viz.figures.base.theme import AUTO, INK, MUTED, head_color
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.model import RetNetConfig
from retnet_viz.model.position import decay_powers, rotation_angles
from retnet_viz.trace import Trace

_LEFT = 58  # pixels


@Drawing
def phase(
    trace: Trace,
    without: Trace,
    layer: int,
    head: int,
    n: int,
    *,
    theme: str = AUTO,
) -> Spec:
    """Two plots over the distance d = n - m: decay beside phase, and what token n reads with both.

    Above: γ^d, and the mean over all pairs of cos(d θ_i), the factor that the rotation gives q·k
    where q = k. Below: the scores and weights of `trace`, and dashed those of `without`, a trace
    of the same text on the same weights with rotation "none".
    """
    resolve_heads(trace, [head])
    n = token_at(trace, n)
    config = _check_without(trace, without)
    color = head_color(head)
    distances = list(range(n + 1))
    gamma = trace.gamma(layer)[head : head + 1]
    decay = decay_powers(gamma, torch.arange(n + 1), torch.float64)[0]
    factors = phase_factor(config, n + 1)
    tokens = [f"m = {m} “{escape_token(trace.tokens[m])}”" for m in range(n, -1, -1)]
    curves = {
        (name, rotation): _by_distance(source, name, layer, head, n)
        for rotation, source in (("with", trace), ("without", without))
        for name in ("retention", "scores")
    }

    def line(
        values: list[float], name: str, axis: str, color: str, width: float, dash: str, **more: Any
    ) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "lines+markers" if n == 0 else "lines",
            "x": distances,
            "y": significant(values),
            "name": name,
            "line": {"color": color, "width": width, "dash": dash},
            "yaxis": f"y{axis}",
            "legend": f"legend{axis}",
            "customdata": tokens,
            "hovertemplate": (
                f"{name}<br>d = %{{x}}, %{{customdata}}<br>%{{y:.4g}}<extra></extra>"
            ),
            **more,
        }

    plain = "without rotation"
    lines = [
        line(decay.tolist(), "decay γ<sup>d</sup>", "", color, 2.5, "solid"),
        line(factors.tolist(), "phase, mean cos dθ", "", INK[theme], 1.5, "solid"),
        line(curves["retention", "with"], "weight", "2", color, 2.5, "solid"),
        line(curves["scores", "with"], "score q·k", "2", color, 1, "solid"),
        line(curves["retention", "without"], f"weight {plain}", "2", INK[theme], 1.5, "dash"),
        line(curves["scores", "without"], f"score {plain}", "2", MUTED[theme], 1, "dot"),
    ]
    lines[-2]["name"] = plain  # dashed and dotted alike; pointing at a line tells which it is
    lines[-1]["showlegend"] = False
    origin = small_print(f"weights {trace.origin('retention')}", theme, _LEFT)
    legend = {"orientation": "h", "x": 0, "yanchor": "bottom", "itemwidth": 30}
    return make(
        lines,
        {
            "title": {
                "text": f"Phase against decay, head {head}, n = {n} "
                f"“{escape_token(trace.tokens[n])}”"
            },
            "xaxis": number_axis(n + 1, "distance d = n − m, tokens back") | {"anchor": "y2"},
            "yaxis": {
                "title": {"text": "factor"},
                "domain": [0.6, 1],
                "nticks": 4,
                "range": [min(0.0, *factors.tolist()) - 0.05, 1.05],
            },
            "yaxis2": {"title": {"text": "q·k, weight"}, "domain": [0, 0.42], "nticks": 4},
            "legend": legend | {"y": 1},
            "legend2": legend | {"y": 0.42},
            "annotations": [origin | {"yshift": 22}],
            "showlegend": True,
            "margin": {"l": _LEFT, "r": 10, "t": 66, "b": 40},
            "meta": {
                "sentence": captions.phase(
                    trace,
                    head,
                    n,
                    curves["retention", "with"][::-1],
                    curves["retention", "without"][::-1],
                )
            },
        },
        theme,
    )


def phase_factor(config: RetNetConfig, length: int) -> Tensor:
    """(length,) float64: the mean over all pairs i of cos(d θ_i) at d = 0 .. length - 1.

    It is what the rotation multiplies q·k by where q and k are equal and all pairs equally long:
    it depends on the distance alone, as the decay does, but comes back. 1 without a rotation.
    """
    if config.rotation == "none":
        return torch.ones(length, dtype=torch.float64)
    cos, _ = rotation_angles(config.head_dim, 0, length, config.rotation_base, kind=config.angles)
    return cos.mean(-1)


def _by_distance(trace: Trace, name: str, layer: int, head: int, n: int) -> list[float]:
    """Row n of a plane, read backwards: element d belongs to token n - d."""
    row: Tensor = getattr(trace, name)(layer, slice(n, n + 1), slice(0, n + 1))[head, 0]
    values: list[float] = row.tolist()
    return values[::-1]


def _check_without(trace: Trace, without: Trace) -> RetNetConfig:
    """The config that says how the text was rotated."""
    if not isinstance(trace.config, RetNetConfig) or not isinstance(without.config, RetNetConfig):
        raise ValueError("tensors without a model do not say how they were rotated")
    if not torch.equal(trace.ids, without.ids):
        raise ValueError("`without` must be a trace of the same text")
    if without.config.rotation != "none":
        raise ValueError(
            "`without` must be a trace of a model without rotation, "
            f"not with {without.config.rotation!r}"
        )
    return trace.config
