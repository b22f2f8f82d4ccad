"""What a user chose in the cost dashboard, as one small value: a link is its encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retnet_viz.experiments.cost_model import (
    CARDS,
    CLAIM_BATCH,
    CLAIM_CARD,
    CLAIM_CONTEXT,
    CLAIM_SIZE,
    PRECISIONS,
    SIZES,
)
from retnet_viz.experiments.speed.machine import THIS_MACHINE
from retnet_viz.ui.core.state.link import part_of, query_of, reader_of_types, with_fields
from retnet_viz.ui.core.state.page_state import THEME_CHOICES

REACHES = (1024, 4096, 16384, 32768)
CONTEXTS = tuple(
    sorted({*(2**i for i in range(11, 21)), *(3 * 2**i for i in range(10, 19))})
)  # 2k, 3k, 4k, ... 1M
MOST_ROWS = 100_000
APP = "cost"  # in links
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
    """

    reach: int = 16384
    size: str = CLAIM_SIZE
    context: int = CLAIM_CONTEXT
    batch: int = CLAIM_BATCH
    precision: str = "bfloat16"
    card: str = CLAIM_CARD
    theme: str = "auto"

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, allowed))}, "
                    f"not {getattr(self, name)!r}"
                )
        if not 1 <= self.batch <= MOST_ROWS:
            raise ValueError(f"batch must lie in 1 .. {MOST_ROWS:,}, not {self.batch!r}")

    def link_parts(self) -> dict[str, Any]:
        """What a link holds of this."""
        return part_of(self, APP)

    def query(self, other_parts: Mapping[str, Any] | None = None) -> str:
        """The state as the query of a link, which holds this for the other apps."""
        return query_of({**(other_parts or {}), **self.link_parts()})

    def with_fields(self, fields: Mapping[str, Any]) -> tuple[CostState, list[str]]:
        """This state with the fields that a link gives, and the names of those that cannot be."""
        return with_fields(self, fields, reader_of_types(CostState()), lambda state: state)


_ALLOWED: dict[str, tuple[Any, ...]] = {
    "reach": REACHES,
    "size": (*SIZES, THESE),
    "context": CONTEXTS,
    "precision": tuple(PRECISIONS),
    "card": (*CARDS, THIS_MACHINE),
    "theme": THEME_CHOICES,
}
