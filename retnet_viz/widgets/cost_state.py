"""What a user chose in the cost dashboard, as one small value: a link is its encoding."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import parse_qs, urlencode

from retnet_viz.lab.cost_model import (
    CARDS,
    CLAIM_BATCH,
    CLAIM_CARD,
    CLAIM_CONTEXT,
    CLAIM_SIZE,
    PRECISIONS,
    SIZES,
)
from retnet_viz.lab.machine import THIS_MACHINE
from retnet_viz.widgets.state import THEME_CHOICES, ExplorerState

REACHES = (1024, 4096, 16384, 32768)
CONTEXTS = tuple(
    sorted({*(2**i for i in range(11, 21)), *(3 * 2**i for i in range(10, 19))})
)  # 2k, 3k, 4k, ... 1M
MOST_ROWS = 100_000
THESE = "these three"  # the size of the models that are measured


@dataclass(frozen=True)
class CostState:
    """What the cost dashboard shows.

    reach      the position up to which the models generate, one of REACHES
    size       a published size, or THESE
    context    tokens read, one of CONTEXTS
    batch      rows, 1 .. MOST_ROWS
    precision  a name of PRECISIONS
    card       a name of CARDS, or THIS_MACHINE
    visit      what the link said to the other apps, handed on as it came
    """

    reach: int = 16384
    size: str = CLAIM_SIZE
    context: int = CLAIM_CONTEXT
    batch: int = CLAIM_BATCH
    precision: str = "bfloat16"
    card: str = CLAIM_CARD
    theme: str = "auto"
    visit: str = ""

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, allowed))}, "
                    f"not {getattr(self, name)!r}"
                )
        if not 1 <= self.batch <= MOST_ROWS:
            raise ValueError(f"batch must lie in 1 .. {MOST_ROWS:,}, not {self.batch!r}")

    def query(self) -> str:
        """The state as the query of a link, without what stands at its default."""
        own = {
            name: value
            for name, value in asdict(self).items()
            if name != "visit" and value != getattr(CostState, name)
        }
        chosen = _state_of(self.visit) | own
        return urlencode({"state": json.dumps(chosen, separators=(",", ":"))}) if chosen else ""

    @staticmethod
    def of(query: str) -> CostState:
        """The state that a link's query holds; what is not valid in it is ignored."""
        given = _state_of(query)
        names = [field.name for field in fields(CostState) if field.name != "visit"]
        chosen = {name: given[name] for name in names if name in given}
        others = {
            name: value
            for name, value in ExplorerState.fields_of(query).items()
            if name not in CostState.__dataclass_fields__
        }
        visit = urlencode({"state": json.dumps(others)}) if others else ""
        state = CostState(visit=visit)
        for name, value in chosen.items():
            if type(value) is type(getattr(CostState, name)):
                try:
                    state = CostState(**{**asdict(state), name: value})
                except ValueError:
                    continue
        return state


_ALLOWED: dict[str, tuple[Any, ...]] = {
    "reach": REACHES,
    "size": (*SIZES, THESE),
    "context": CONTEXTS,
    "precision": tuple(PRECISIONS),
    "card": (*CARDS, THIS_MACHINE),
    "theme": THEME_CHOICES,
}


def _state_of(query: str) -> dict[str, Any]:
    try:
        fields = json.loads(parse_qs(query).get("state", ["{}"])[0])
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
