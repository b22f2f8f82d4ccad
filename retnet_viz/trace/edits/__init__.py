"""What if? Changes of a pass: of the model, of what tokens read, of the state.

    edits = [rv.edits.silence(layer=1, head=2), rv.edits.forget(token=4, start=10)]
    trace = rv.trace(model, text, edits=edits)

All take `layer` and `head`, a number or several, all where left out. Positions count tokens from 0,
negative ones from the end of the text. The model is not changed. An edit that cannot be raises
EditError, with a sentence: what it says of itself at once, what it needs of a model or a text when
a pass is run with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from retnet_viz.trace.edits.comparison import Comparison, Prediction
from retnet_viz.trace.edits.edit import (
    Cut,
    Edit,
    EditError,
    Forget,
    Gamma,
    Patch,
    Reset,
    Selection,
    Silence,
    Swap,
    Without,
    edit_from_dict,
    tensor_fields,
)

if TYPE_CHECKING:
    from retnet_viz.trace.views.observables import Trace

__all__ = [
    "Comparison",
    "Edit",
    "EditError",
    "Prediction",
    "cut",
    "edit_from_dict",
    "forget",
    "gamma",
    "patch",
    "reset",
    "silence",
    "swap",
    "without",
]


def gamma(
    gamma: float | None = None,
    *,
    half_life: float | None = None,
    layer: Selection = None,
    head: Selection = None,
) -> Edit:
    """Another decay per token, in (0, 1]; or the tokens after which half is left."""
    if (gamma is None) == (half_life is None):
        raise EditError("edits.gamma takes gamma or half_life, one of them")
    if half_life is not None:
        if not half_life > 0:
            raise EditError(f"edits.gamma: half_life must be above 0 tokens, not {half_life}")
        gamma = 0.5 ** (1 / half_life)
    return Gamma(gamma=gamma, layer=layer, head=head)  # type: ignore[arg-type]


def silence(*, mean: bool = False, layer: Selection = None, head: Selection = None) -> Edit:
    """A head's output is 0 after its norm; with `mean`, its mean over the unedited text."""
    return Silence(mean=mean, layer=layer, head=head)  # type: ignore[arg-type]


def forget(token: int, start: int, *, layer: Selection = None, head: Selection = None) -> Edit:
    """What `token` left in the state is taken out of it before token `start` is read."""
    return Forget(token=token, start=start, layer=layer, head=head)  # type: ignore[arg-type]


def reset(
    start: int, *, scale: float = 0.0, layer: Selection = None, head: Selection = None
) -> Edit:
    """The state is emptied before token `start` is read, or multiplied by `scale`."""
    return Reset(start=start, scale=scale, layer=layer, head=head)  # type: ignore[arg-type]


def swap(
    start: int,
    trace: Trace | None = None,
    position: int = -1,
    *,
    ids: Sequence[int] | None = None,
    edits: Iterable[Edit] = (),
    layer: Selection = None,
    head: Selection = None,
) -> Edit:
    """Before token `start` is read the state becomes that of another trace after its token
    `position`, turned so that this token stands right before token `start`.

    The edit holds the other text's tokens, not its state. In place of a trace `ids` may be given:
    the tokens up to that one, and the `edits` of their pass. Raises EditError where the trace
    started from a state, which is not in its tokens.
    """
    if (trace is None) == (ids is None):
        raise EditError("edits.swap takes the trace of another text, or its ids, one of them")
    if trace is not None:
        if trace.started_from is not None:
            raise EditError("edits.swap: the other trace started from a state, not from its text")
        n = trace.check_position(position)
        ids, edits = trace.ids[: n + 1].tolist(), trace.edits
        edits = tuple(edit for edit in edits if last_position(edit) <= n)
    assert ids is not None
    return Swap(start=start, ids=tuple(ids), edits=tuple(edits), layer=layer, head=head)  # type: ignore[arg-type]


def cut(reader: int, read: int, *, layer: Selection = None, head: Selection = None) -> Edit:
    """Token `reader` does not read token `read`; all others go on to read it."""
    return Cut(reader=reader, read=read, layer=layer, head=head)  # type: ignore[arg-type]


def patch(
    name: str,
    value: Any,
    *,
    layer: Selection = None,
    head: Selection = None,
    position: int | None = None,
) -> Edit:
    """Another value in the place of a tensor that the pass publishes, `retention.v` say.

    `value` is a number or an array, of the shape that the tensor has of the layer, head and
    position that are named, or one that broadcasts to it. What each mode publishes: docs/edits.md.
    """
    value_fields = tensor_fields(value)
    return Patch(name=name, position=position, layer=layer, head=head, **value_fields)  # type: ignore[arg-type]


def without(part: str, *, layer: Selection = None, head: Selection = None) -> Edit:
    """Without the "rotation" of q and k, the "decay" (gamma is 1), the "head_norm" or the "gate"
    (it is 1)."""
    return Without(part=part, layer=layer, head=head)  # type: ignore[arg-type]


def last_position(edit: Edit) -> int:
    """The last position of the text that an edit names; -1 where it names none."""
    names = (*edit.positions, *(("position",) if isinstance(edit, Patch) else ()))
    values = [getattr(edit, name) for name in names]
    return max((value for value in values if value is not None), default=-1)
