"""What a user chose of a training, as one small value that a link holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from retnet_viz.experiments.learning.tasks import TASKS
from retnet_viz.experiments.learning.tiny_training import HALF_LIVES, HEADS, LONGEST, SHORTEST
from retnet_viz.figures.experiments.learning import READS, WITHOUT
from retnet_viz.ui.core.state.link import part_of, query_of, reader_of_types, with_fields
from retnet_viz.ui.core.state.page_state import THEME_CHOICES

MAPS = (READS, WITHOUT)
MOST_SEED = 9999
APP = "training"  # in links


@dataclass(frozen=True)
class TrainingState:
    """What a training page shows.

    half_lives  tokens, by head; gamma is 0.5**(1 / half-life)
    learned     the heads whose half-life is learned with the weights; the others are frozen
    layer       whose retention weights are drawn
    shown       what the map of heads by lags shows
    """

    task: str = "copy"
    seed: int = 0
    half_lives: tuple[float, ...] = HALF_LIVES
    learned: tuple[int, ...] = ()
    layer: int = 0
    shown: str = READS
    theme: str = "auto"

    def checked(self) -> TrainingState:
        """This state, with a layer that its model has; ValueError where a field is out of range."""
        for name, allowed in (("task", tuple(TASKS)), ("shown", MAPS), ("theme", THEME_CHOICES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")
        if not _is_integer_within(self.seed, MOST_SEED):
            raise ValueError(f"seed must lie in 0 .. {MOST_SEED}, not {self.seed!r}")
        if not _are_half_lives(self.half_lives):
            raise ValueError(
                f"half_lives must be {HEADS} numbers in {SHORTEST:g} .. {LONGEST:g} tokens, "
                f"not {self.half_lives!r}"
            )
        if not all(_is_integer_within(head, HEADS - 1) for head in self.learned):
            raise ValueError(f"learned must name heads 0 .. {HEADS - 1}, not {self.learned!r}")
        layers = TASKS[self.task].shape["n_layers"]
        if not _is_integer_within(self.layer, 2**31):
            raise ValueError(f"layer must be 0 or more, not {self.layer!r}")
        return replace(
            self,
            half_lives=tuple(float(value) for value in self.half_lives),
            learned=tuple(sorted(set(self.learned))),
            layer=min(self.layer, layers - 1),
        )

    def link_parts(self) -> dict[str, Any]:
        """What a link holds of this."""
        return part_of(self, APP)

    def query(self, other_parts: Mapping[str, Any] | None = None) -> str:
        """The state as the query of a link, which holds this for the other apps."""
        return query_of({**(other_parts or {}), **self.link_parts()})

    def with_fields(self, fields: Mapping[str, Any]) -> tuple[TrainingState, list[str]]:
        """This state with the fields that a link gives, and the names of those that cannot be."""
        return with_fields(self, fields, reader_of_types(TrainingState()), TrainingState.checked)


def _is_integer_within(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _are_half_lives(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) == HEADS
        and all(isinstance(value, (int, float)) for value in values)
        and all(SHORTEST <= value <= LONGEST for value in values)
    )
