"""What each token leaves of the state: γ, the same for all, or a Mamba's own choice."""

from __future__ import annotations

from torch import Tensor

from retnet_viz.experiments.learning.tasks import NOISE, Batch, Task
from retnet_viz.experiments.learning.tiny_mamba import TinyMambaReport
from retnet_viz.experiments.token_reads import half_life
from retnet_viz.figures.base.captions import number
from retnet_viz.figures.base.figure_parts import Drawing, Spec, make
from retnet_viz.figures.base.panel_parts import legend_below, significant
from retnet_viz.figures.base.theme import AUTO, HEAD_COLORS, INK, head_color

MAMBA = HEAD_COLORS[6]
_WITH_ARTICLE = {"letter": "a letter", "noise": "noise", "question": "a question"}


@Drawing
def selection(
    task: Task,
    example: Batch,
    half_lives: tuple[float, ...],
    beside: TinyMambaReport,
    layer: int,
    *,
    theme: str = AUTO,
) -> Spec:
    """How fast the state decays at each token of the example, in one layer of both models.

    The share of the state that a token leaves, as the half-life in tokens that it would have were
    all tokens like this one. Of the RetNet a line for each head, the same at every token; of the
    Mamba a point for each token, the median over all numbers of its state, with a bar from the 10th
    to the 90th percentile. Letters to remember, noise and questions have a shape of their own.
    """
    symbols = [task.symbols[token] for token in example.ids[0].tolist()]
    shares = beside.decay[layer].float()
    low, middle, high = (half_life(shares.quantile(q, dim=-1)) for q in (0.1, 0.5, 0.9))
    length = len(symbols)
    traces: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "RetNet, γ of each head",
            "legendgroup": "gammas",
            "showlegend": head == 0,
            "x": [-0.5, length - 0.5],
            "y": significant([tokens] * 2),
            "line": {"color": head_color(head), "width": 1.5, "dash": "dash"},
            "hovertemplate": f"RetNet, head {head}, at every token: half-life %{{y:.3g}} tokens"
            "<extra></extra>",
        }
        for head, tokens in enumerate(half_lives)
    ]
    for name, symbol, positions in _kinds(symbols):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"Mamba: {name}",
                "x": positions,
                "y": significant([middle[n].item() for n in positions]),
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": significant([(high[n] - middle[n]).item() for n in positions]),
                    "arrayminus": significant([(middle[n] - low[n]).item() for n in positions]),
                    "color": MAMBA,
                    "thickness": 1,
                    "width": 0,
                },
                "customdata": [symbols[n] for n in positions],
                "marker": {
                    "color": MAMBA if symbol != "circle-open" else INK[theme],
                    "symbol": symbol,
                    "size": 9,
                },
                "hovertemplate": "Mamba at n = %{x} “%{customdata}”: half-life %{y:.3g} tokens "
                "(median)<extra></extra>",
            }
        )
    return make(
        traces,
        {
            "title": {"text": f"Half-life at each token, layer {layer}"},
            "xaxis": {
                "tickmode": "array",
                "tickvals": list(range(length)),
                "ticktext": symbols,
                "tickangle": 0,
                "range": [-0.7, length - 0.3],
                "showgrid": False,
            },
            "yaxis": {"type": "log", "range": [-1, 3.3], "dtick": 1, "title": {"text": "tokens"}},
            "margin": {"l": 52, "r": 8, "t": 30, "b": 58},
            "legend": legend_below(theme),
            "showlegend": True,
            "meta": {"sentence": _sentence(symbols, middle)},
        },
        theme,
    )


def _kinds(symbols: list[str]) -> list[tuple[str, str, list[int]]]:
    """Letters, noise and questions: a name, a shape, and where they stand."""
    kinds = [
        ("letter", "diamond", [n for n, symbol in enumerate(symbols) if symbol.isalpha()]),
        ("noise", "circle-open", [n for n, symbol in enumerate(symbols) if symbol == NOISE]),
    ]
    asks = [n for n in range(len(symbols)) if all(n not in positions for _, _, positions in kinds)]
    return [*kinds, ("question", "triangle-up", asks)]


def _sentence(symbols: list[str], middle: Tensor) -> str:
    clauses = [
        f"{number(middle[positions].median().item())} tokens at {_WITH_ARTICLE[name]}"
        for name, _, positions in _kinds(symbols)
        if positions
    ]
    return (
        f"The RetNet's half-lives are the same at every token; the Mamba's is {', '.join(clauses)}."
    )
