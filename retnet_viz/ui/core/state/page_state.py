"""All that a user chose, as one small value: a preset is an instance of it, a link its encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from retnet_viz.figures.base.scale import SCALES
from retnet_viz.model import MODES, RetNetConfig
from retnet_viz.trace.edits.edit import Edit, edit_from_dict
from retnet_viz.trace.passes.external_tensors import ExternalConfig
from retnet_viz.ui.core.state.link import part_of, query_of, with_fields
from retnet_viz.ui.core.state.written import Ranges, are_ranges

# Tokens a chunk: few, so that a sentence has several chunks to see; and of a long text more, which
# are read fast. The default of the model is for speed alone.
EXPLORER_CHUNK, LONG_CHUNK, MAX_CHUNK = 8, 64, 2048
THEME_CHOICES = ("auto", "light", "dark")
VIEWS = ("step by step", "side by side", "state", "normalisation and position")
PRECISIONS = ("float32", "float64", "bfloat16")
CLOCKS = ("steps", "measured time")
SWITCHES = ("rotation", "decay", "head norm")
GAINS = (0.01, 100.0)
MOST_EDITS = 256
APP = "explorer"  # in links; the other explorers show the same state


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
    edits      what is changed of the pass; those that do not fit the text are left out while it is
               read
    written    which characters of `text` the model wrote: ranges (start, stop)
    """

    text: str = ""
    mode: str = "parallel"
    chunk_size: int = EXPLORER_CHUNK
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
    edits: tuple[Edit, ...] = ()
    written: Ranges = ()
    scale: str = "linear"
    theme: str = "auto"
    before: str = field(default="", repr=False)

    def fitted(self, config: RetNetConfig | ExternalConfig) -> ExplorerState:
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

    def selected_of(self, length: int) -> int:
        """The selected one of so many tokens: the chosen one, else the last."""
        return length - 1 if self.token is None else min(self.token, length - 1)

    def checked(self, config: RetNetConfig | ExternalConfig) -> ExplorerState:
        """This state as a model of this config shows it; ValueError where a field cannot be."""
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")
        if not all(isinstance(edit, Edit) for edit in self.edits):
            raise ValueError("edits must be a list of what rv.edits makes")
        unknown = [name for name in self.without if name not in SWITCHES]
        if unknown:
            raise ValueError(f"without must name some of {SWITCHES}, not {unknown[0]!r}")
        if not are_ranges(self.written):
            raise ValueError(f"written must be ranges of characters, not {self.written!r}")
        for name in ("token", "compare"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)!r}")
        last = config.n_heads - 1
        for head in self.heads:
            if not 0 <= head <= last:
                raise ValueError(f"heads must lie in 0 .. {last}, not {head!r}")
        object.__setattr__(self, "edits", tuple(self.edits))
        fitted = self.fitted(config)
        for name, (low, top) in {
            "chunk_size": (1, MAX_CHUNK),
            "layer": (0, config.n_layers - 1),
            "head": (0, last),
            "gain": GAINS,
        }.items():
            if getattr(fitted, name) != getattr(self, name):
                raise ValueError(f"{name} must lie in {low} .. {top}, not {getattr(self, name)!r}")
        return fitted

    def link_parts(self, full_text: bool = False) -> dict[str, Any]:
        """The parts of a link: with the text of the text box, or the `full_text`, as in a file."""
        return part_of(self if full_text else replace(self, before=""), APP)

    def query(self, other_parts: Mapping[str, Any] | None = None) -> str:
        """The state as the query of a link, which holds this for the other apps."""
        return query_of({**(other_parts or {}), **self.link_parts()})

    def with_fields(
        self, fields: Mapping[str, Any], config: RetNetConfig | ExternalConfig
    ) -> tuple[ExplorerState, list[str]]:
        """This state with the fields that a link gives, and the names of those that cannot be."""
        return with_fields(self, fields, _read_field, lambda state: state.checked(config))


def _read_field(name: str, value: Any) -> Any:
    converted = _READERS[name](value) if name in _READERS else None
    if converted is None:
        raise ValueError(f"{name} cannot be {value!r}")
    return converted


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return value if is_integer and 0 <= value < 2**31 else None


def _integers(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > 1024:
        return None
    return None if any(_integer(item) is None for item in value) else tuple(value)


def _cell(value: Any) -> tuple[int, int, int] | None:
    integers = _integers(value)
    return (integers[0], integers[1], integers[2]) if integers and len(integers) == 3 else None


def _ranges(value: Any) -> Ranges | None:
    if not are_ranges(value) or len(value) > 1024:
        return None
    return tuple((start, stop) for start, stop in value)


def _switches(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or any(item not in SWITCHES for item in value):
        return None
    return tuple(name for name in SWITCHES if name in value)


def _gain(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and GAINS[0] <= value <= GAINS[1] else None


def _edits(value: Any) -> tuple[Edit, ...] | None:
    """Those of the edits in a link that there can be; None where it holds no list of them."""
    if not isinstance(value, list) or len(value) > MOST_EDITS:
        return None
    return tuple(edit_from_dict(item) for item in value)


_ALLOWED = {
    "mode": MODES,
    "scale": SCALES,
    "theme": THEME_CHOICES,
    "view": VIEWS,
    "precision": PRECISIONS,
    "clock": CLOCKS,
}
_READERS = {
    "text": _text,
    "before": _text,
    "chunk_size": _integer,
    "layer": _integer,
    "heads": _integers,
    "token": _integer,
    "head": _integer,
    "cell": _cell,
    "compare": _integer,
    "without": _switches,
    "layers": _integers,
    "planes": _integers,
    "gain": _gain,
    "edits": _edits,
    "written": _ranges,
    **dict.fromkeys(_ALLOWED, _text),
}
