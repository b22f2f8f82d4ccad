"""What a notebook shows of a trace on a cell's last line: HTML in the colours around it.

It reads what the trace keeps; nothing runs, and its cost does not depend on the text's length.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from retnet_viz.trace.notebook.visible_token import visible
from retnet_viz.trace.passes.external_tensors import ExternalConfig, ExternalTensors

if TYPE_CHECKING:
    from retnet_viz.trace.views.observables import Trace

_MOST_TOKENS = 48
_MOST_LAYERS = 4  # of a model whose layers decay differently
_MOST_HEADS = 16


def html_summary(trace: Trace) -> str:
    """See `Trace._repr_html_`."""
    try:
        parts = [_about(trace), _tokens(trace), _decays(trace), _next_token(trace), _calls()]
    except RuntimeError as error:  # the live text was edited since: say so in place of a traceback
        parts = [html.escape(repr(trace)), html.escape(str(error))]
    lines = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div class="rv-trace" dir="ltr" style="line-height: 1.6">{lines}</div>'


def _about(trace: Trace) -> str:
    config = trace.config
    mode = f"{trace.mode} mode"
    if trace.mode == "chunkwise":
        mode += f", {_count(trace.chunk_size, 'token')} a chunk"
    shape = f"{_count(config.n_layers, 'layer')} of {_count(config.n_heads, 'head')}"
    if isinstance(config, ExternalConfig):
        model = f"tensors of {shape}, d_k {config.head_dim}, d_v {config.value_dim}"
    else:
        model = f"RetNet of {shape}, d_model {config.d_model:,}"
        if not isinstance(trace.model, ExternalTensors):  # those of a loaded trace are no weights
            weights = sum(weight.numel() for weight in trace.model.parameters())
            model += f", {weights:,} parameters"
    return f"<b>Trace</b> of {_count(trace.length, 'token')}, {mode}; {model}"


def _tokens(trace: Trace) -> str:
    pieces = trace.pieces(0, min(trace.length, _MOST_TOKENS))
    left_out = trace.length - len(pieces)
    end = f" … and {left_out:,} more" if left_out else ""
    return f"tokens: {' '.join(map(_token, pieces))}{end}"


def _token(piece: str) -> str:
    """A token as it is read, whichever way its letters run, also beside others."""
    return f"<bdi><code>{html.escape(visible(piece))}</code></bdi>"


def _decays(trace: Trace) -> str:
    """A table: gamma and the half-life of each head, of one layer where all are alike."""
    gammas = [trace.gamma(layer) for layer in range(trace.n_layers)]
    are_alike = all(torch.equal(gamma, gammas[0]) for gamma in gammas)
    layers = [0] if are_alike else range(min(trace.n_layers, _MOST_LAYERS))
    heads = min(trace.n_heads, _MOST_HEADS)
    end = ["…"] if heads < trace.n_heads else []
    rows = [_row("head", [*map(str, range(heads)), *end])]
    for layer in layers:
        of_layer = "all layers" if are_alike else f"layer {layer}"
        gamma = [f"{value:.6g}" for value in gammas[layer][:heads].tolist()]
        half_life = [_tokens_long(value) for value in trace.half_life(layer)[:heads].tolist()]
        rows.append(_row(f"γ, {of_layer}", [*gamma, *end]))
        rows.append(_row(f"half-life in tokens, {of_layer}", [*half_life, *end]))
    left_out = 0 if are_alike else trace.n_layers - len(layers)
    more = f"and {_count(left_out, 'layer')} more" if left_out else ""
    return f"<table><tbody>{''.join(rows)}</tbody></table>{more}"


def _row(name: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _tokens_long(half_life: float) -> str:
    return "∞" if half_life == float("inf") else f"{half_life:,.1f}"


def _next_token(trace: Trace) -> str:
    """The likeliest token after the last one, whose logits every trace keeps."""
    logits = trace.logits_after(-1)
    if not len(logits):
        return ""
    likeliest = logits.double().softmax(-1).max(-1)
    piece = trace.piece(int(likeliest.indices))
    return f"likeliest next token: {_token(piece)} {100 * likeliest.values.item():.1f} %"


def _calls() -> str:
    calls: Sequence[str] = (
        "rv.explore(trace)",
        "trace.retention(layer)",
        "trace.state(layer, position)",
        "trace.to_pandas()",
        "trace.to_xarray()",
    )
    return f"Next: {', '.join(f'<code>{call}</code>' for call in calls)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
