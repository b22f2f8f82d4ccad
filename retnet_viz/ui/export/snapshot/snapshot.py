"""An exploration written down: all that a page needs to answer selections without a kernel.

Of every layer and every choice of heads (those shown, and each head alone) it holds what the panels
show, for every selected token; the steps of all three modes in one layer and head; the numbers of
every cell. It is a JSON object in which bytes stand as {"bytes": [start, length]} of one buffer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from retnet_viz.figures import next_token, state_norm
from retnet_viz.figures.base.theme import DIVERGING, SEQUENTIAL, color_table, head_color
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.reading.mode_costs import cost_bars
from retnet_viz.figures.steps.scene import scene
from retnet_viz.model import MODES
from retnet_viz.trace import Trace
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.panels import cell_messages, mode_messages, view_models
from retnet_viz.ui.panels.steps.step_player import meta_of, payload

MOST_TOKENS = 256
Tell = Callable[[int, int], None]


class TooLargeError(ValueError):
    """A text that is too long to be written down whole."""


@dataclass
class Snapshot:
    """`content` is the JSON object, `buffer` the bytes that it points into."""

    content: dict[str, Any]
    buffer: bytes = field(repr=False)

    def json(self) -> str:
        """The object as text."""
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":"))


def record(trace: Trace, state: ExplorerState, theme: str, tell: Tell | None = None) -> Snapshot:
    """Write down the explorer over `trace` as `state` shows it, in "light" or "dark".

    `tell(done, total)` is called before each of the steps of the work; what it raises ends it.
    Raises TooLargeError where the text has over MOST_TOKENS tokens.
    """
    if trace.length > MOST_TOKENS:
        raise TooLargeError(
            f"A page that works by itself holds up to {MOST_TOKENS} tokens, and this text has "
            f"{trace.length:,}: shorten the text, or save the numbers of its panels."
        )
    state = state.fitted(trace.config)
    choices = _choices(state, trace.n_heads)
    total = trace.n_layers * len(choices) + 2 * len(MODES) + 1
    done = 0

    def step() -> None:
        nonlocal done
        if tell is not None:
            tell(done, total)
        done += 1

    blobs = _Blobs()
    views: list[list[dict[str, Any]]] = []
    for layer in range(trace.n_layers):
        views.append([])
        for heads in choices:
            step()
            views[-1].append(_view(trace, layer, heads, state.scale, theme, blobs))
    costs = {}
    for mode in MODES:
        step()
        costs[mode] = trace.in_mode(mode).cost
    stages = []
    for mode in MODES:
        step()
        stages.append(_stage(trace.in_mode(mode), state, blobs))
    step()
    content = {
        "about": messages.trace_source(trace),
        "text": state.text,
        "said": f"{trace.length} tokens, read in {_mode(trace)}.",
        "theme": theme,
        "tokens": [visible(token) for token in trace.tokens],
        "colors": {
            "signed": blobs.put(color_table(DIVERGING).tobytes()),
            "magnitude": blobs.put(color_table(SEQUENTIAL).tobytes()),
        },
        "headColors": [head_color(head) for head in range(trace.n_heads)],
        "choices": choices,
        "choiceNames": [_choice_name(heads, trace.n_heads) for heads in choices],
        "selection": {
            "layer": state.layer,
            "token": state.selected_of(trace.length),
            "cell": list(state.cell or ()),
        },
        "views": views,
        "numbers": [_numbers(trace, layer, blobs) for layer in range(trace.n_layers)],
        "sentences": {
            "weight": cell_messages.WEIGHT,
            "decay": cell_messages.DECAY,
            "later": cell_messages.LATER,
            "stripTitles": [cell_messages.strip_title(trace, n) for n in range(trace.length)],
        },
        "next": [next_token.spec(trace, n, theme=theme) for n in range(trace.length)],
        "stages": stages,
        "stageMode": MODES.index(trace.mode),
        "cost": cost_bars.spec(costs, trace.mode, theme=theme),
        "agreement": mode_messages.agreement(trace.agreement(), trace.mode),
        "gammas": [cell_messages.gammas(trace.gamma(layer)) for layer in range(trace.n_layers)],
    }
    return Snapshot(content, bytes(blobs.buffer))


class _Blobs:
    """A buffer in which equal bytes stand once."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._places: dict[bytes, dict[str, list[int]]] = {}

    def put(self, content: bytes) -> dict[str, list[int]]:
        """Where `content` stands in the buffer."""
        if content not in self._places:
            self._places[content] = {"bytes": [len(self.buffer), len(content)]}
            self.buffer += content
        return self._places[content]


def _choices(state: ExplorerState, n_heads: int) -> list[list[int]]:
    """The heads that are shown, then all, then each head alone."""
    all_heads = list(range(n_heads))
    choices = [list(state.heads or all_heads), all_heads, *([head] for head in all_heads)]
    return [heads for i, heads in enumerate(choices) if heads not in choices[:i]]


def _choice_name(heads: list[int], n_heads: int) -> str:
    return "all" if len(heads) == n_heads else ", ".join(map(str, heads))


def _mode(trace: Trace) -> str:
    chunks = f", {trace.chunk_size} tokens a chunk" if trace.mode == "chunkwise" else ""
    return f"{trace.mode} mode{chunks}"


def _view(
    trace: Trace, layer: int, heads: list[int], scale: str, theme: str, blobs: _Blobs
) -> dict[str, Any]:
    """What the panels show of a layer and some heads, and what each selected token changes."""
    window = range(trace.length)
    planes = {}
    for name in ("decay", "retention"):
        traits = view_models.plane(trace, name, layer, heads, scale, trace.length)
        planes[name] = {"cells": blobs.put(traits["cells"]), "meta": traits["meta"]}
    selections = []
    for n in window:
        strip = view_models.strip(trace, layer, heads, n, scale, window)
        selections.append(
            {
                "shades": blobs.put(strip["shades"]),
                "weights": blobs.put(strip["weights"]),
                "sentence": view_models.plane_sentence(trace, "retention", layer, heads, n),
            }
        )
    return {
        "planes": planes,
        "decaySentence": view_models.plane_sentence(trace, "decay", layer, heads, 0),
        "note": cell_messages.strip_note(trace, layer, heads, window),
        "norms": state_norm.spec(trace, layer, heads=heads, theme=theme),
        "selections": selections,
    }


def _numbers(trace: Trace, layer: int, blobs: _Blobs) -> dict[str, Any]:
    """float32 of every cell: scores and weights row by row up to the diagonal, D by distance.

    Weights that are scores times D to the last bit are left out: half of a page would be these.
    """
    rows, columns = torch.tril_indices(trace.length, trace.length)

    def cells(plane: torch.Tensor) -> dict[str, list[int]]:
        return blobs.put(_float32(plane[:, rows, columns]))

    scores, weights = trace.scores(layer), trace.retention(layer)
    by_distance = trace.decay(layer, cols=slice(0, 1))[..., 0]
    distances = (rows - columns).to(by_distance.device)
    product = scores[:, rows, columns].float() * by_distance[:, distances].float()
    are_products = torch.equal(product, weights[:, rows, columns].float())
    return {
        "scores": cells(scores),
        "weights": None if are_products else cells(weights),
        "decay": blobs.put(_float32(by_distance)),
    }


def _float32(values: torch.Tensor) -> bytes:
    return np.ascontiguousarray(values.float().cpu().numpy(), dtype="<f4").tobytes()


def _stage(trace: Trace, state: ExplorerState, blobs: _Blobs) -> dict[str, Any]:
    """The steps of a mode in the chosen layer and head, a scene for every token."""
    scenes = []
    for n in range(trace.length):
        step = scene(trace, state.layer, state.head, n, state.scale)
        description, places = payload(step)
        starts = sorted({*_starts(description), 0, len(places)})
        parts = [blobs.put(places[start:stop]) for start, stop in pairwise(starts)]
        scenes.append({"scene": description, "parts": parts, "tables": step.table()})
    meta = meta_of(trace, state.layer, state.scale)
    return {"mode": trace.mode, "head": state.head, "meta": meta, "scenes": scenes}


def _starts(description: dict[str, Any]) -> list[int]:
    """Where the pictures of a scene begin in its bytes."""
    pictures = [part for line in description["lines"] for part in line if isinstance(part, dict)]
    plane = [description["plane"]["at"]] if description["plane"]["cells"] else []
    return [*(picture["at"] for picture in pictures), *plane]
