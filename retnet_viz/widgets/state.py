"""All that a user chose, as one small value: a preset is an instance of it, a link its encoding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from retnet_viz.figures.scale import SCALES
from retnet_viz.model import MODES, RetNetConfig
from retnet_viz.trace.given import GivenConfig
from retnet_viz.widgets.link import changed, elsewhere, held_by, query_of

MAX_CHARACTERS = 50_000
MAX_CHUNK = 2048
THEME_CHOICES = ("auto", "light", "dark")
VIEWS = ("step by step", "side by side", "state", "normalisation and position")
PRECISIONS = ("float32", "float64", "bfloat16")
CLOCKS = ("steps", "measured time")
SWITCHES = ("rotation", "decay", "head norm")
GAINS = (0.01, 100.0)


@dataclass(frozen=True)
class ExplorerState:
    """What an explorer shows. `token` None is the last token; `heads` () is all heads.

    before     the start of a text that is too long for the text box, which holds its end; stays out
               of links
    token      the selected token, and with it the step of every mode: the one that reads it
    head       the head whose computation is stepped through
    cell       a pinned cell (head, n, m) of the T x T plane
    compare    the token whose state is subtracted from that of the selected one; None for none
    view       which part of the modes' dashboard is open
    precision  the dtype in which the rounding of the three modes is compared
    clock      what the three schedules play against, side by side
    without    what is switched off in the copy of the model that is compared with the model
    layers     the layer of each further model of a comparison; 0 where there are too few
    planes     its head, likewise
    gain       the factor by which retention weights are multiplied before the normalisation
    """

    text: str = ""
    mode: str = "parallel"
    chunk_size: int = 8
    layer: int = 0
    heads: tuple[int, ...] = ()
    head: int = 0
    token: int | None = None
    cell: tuple[int, int, int] | None = None
    compare: int | None = None
    view: str = VIEWS[0]
    precision: str = PRECISIONS[0]
    clock: str = CLOCKS[0]
    without: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    planes: tuple[int, ...] = ()
    gain: float = 1.0
    scale: str = "linear"
    theme: str = "auto"
    before: str = field(default="", repr=False)

    def fitted(self, config: RetNetConfig | GivenConfig) -> ExplorerState:
        """The nearest state that a model of this config can show."""
        heads = tuple(sorted({head for head in self.heads if 0 <= head < config.n_heads}))
        return replace(
            self,
            chunk_size=min(max(1, self.chunk_size), MAX_CHUNK),
            layer=min(max(0, self.layer), config.n_layers - 1),
            heads=() if len(heads) == config.n_heads else heads,
            head=min(max(0, self.head), config.n_heads - 1),
            gain=min(max(GAINS[0], self.gain), GAINS[1]),
        )

    def query(self, elsewhere: Mapping[str, Any] | None = None) -> str:
        """The state as the query of a link, which holds this for the other apps."""
        own = {name: value for name, value in changed(self).items() if name in _READERS}
        return query_of({**(elsewhere or {}), **own})

    @staticmethod
    def fields_of(query: str) -> dict[str, Any]:
        """The valid fields of a state in a link's query; whatever else it holds is ignored."""
        fields = held_by(query)
        read = {name: _READERS[name](value) for name, value in fields.items() if name in _READERS}
        return {name: value for name, value in read.items() if value is not None}

    @staticmethod
    def elsewhere(query: str) -> dict[str, Any]:
        """What a link's query holds for the apps that have another state."""
        return elsewhere(held_by(query), _READERS)


def _text(value: Any) -> str | None:
    return value[:MAX_CHARACTERS] if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value < 2**31 else None


def _wholes(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > 1024:
        return None
    return None if any(_whole(item) is None for item in value) else tuple(value)


def _cell(value: Any) -> tuple[int, int, int] | None:
    wholes = _wholes(value)
    return (wholes[0], wholes[1], wholes[2]) if wholes and len(wholes) == 3 else None


def _switches(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
        return None
    return tuple(name for name in SWITCHES if name in value)


def _positive(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < math.inf else None


def _one_of(*allowed: str) -> Any:
    return lambda value: value if value in allowed and isinstance(value, str) else None


_READERS = {
    "text": _text,
    "mode": _one_of(*MODES),
    "chunk_size": _whole,
    "layer": _whole,
    "heads": _wholes,
    "token": _whole,
    "head": _whole,
    "cell": _cell,
    "compare": _whole,
    "view": _one_of(*VIEWS),
    "precision": _one_of(*PRECISIONS),
    "clock": _one_of(*CLOCKS),
    "without": _switches,
    "layers": _wholes,
    "planes": _wholes,
    "gain": _positive,
    "scale": _one_of(*SCALES),
    "theme": _one_of(*THEME_CHOICES),
}
