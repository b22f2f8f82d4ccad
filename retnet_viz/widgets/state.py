"""All that a user chose, as one small value: a preset is an instance of it, a link its encoding."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from retnet_viz.figures.scale import SCALES
from retnet_viz.model import MODES, RetNetConfig

MAX_CHARACTERS = 50_000
MAX_CHUNK = 64
THEME_CHOICES = ("auto", "light", "dark")


@dataclass(frozen=True)
class ExplorerState:
    """What the explorer shows. `token` None is the last token; `heads` () is all heads.

    `cell` is a pinned cell (head, n, m) of the T x T plane.
    """

    text: str = ""
    mode: str = "parallel"
    chunk_size: int = 8
    layer: int = 0
    heads: tuple[int, ...] = ()
    token: int | None = None
    cell: tuple[int, int, int] | None = None
    scale: str = "linear"
    theme: str = "auto"

    def fitted(self, config: RetNetConfig) -> ExplorerState:
        """The nearest state that a model of this config can show."""
        heads = tuple(sorted({head for head in self.heads if 0 <= head < config.n_heads}))
        return replace(
            self,
            chunk_size=min(max(1, self.chunk_size), MAX_CHUNK),
            layer=min(max(0, self.layer), config.n_layers - 1),
            heads=() if len(heads) == config.n_heads else heads,
        )

    def query(self) -> str:
        """The state as the query of a link, without what stands at its default."""
        changed = {
            name: value
            for name, value in asdict(self).items()
            if value != getattr(ExplorerState, name)
        }
        return urlencode({"state": json.dumps(changed, separators=(",", ":"))}) if changed else ""

    @staticmethod
    def fields_of(query: str) -> dict[str, Any]:
        """The valid fields of a state in a link's query; whatever else it holds is ignored."""
        try:
            fields = json.loads(parse_qs(query).get("state", ["{}"])[0])
        except (ValueError, RecursionError):
            return {}
        if not isinstance(fields, dict):
            return {}
        read = {name: _READERS[name](value) for name, value in fields.items() if name in _READERS}
        return {name: value for name, value in read.items() if value is not None}


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


def _one_of(*allowed: str) -> Any:
    return lambda value: value if value in allowed and isinstance(value, str) else None


_READERS = {
    "text": _text,
    "mode": _one_of(*MODES),
    "chunk_size": _whole,
    "layer": _whole,
    "heads": _wholes,
    "token": _whole,
    "cell": _cell,
    "scale": _one_of(*SCALES),
    "theme": _one_of(*THEME_CHOICES),
}
