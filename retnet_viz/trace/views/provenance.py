"""Where each quantity of a trace comes from: which the mode computed, and which are derived."""

from __future__ import annotations

from retnet_viz.model import MODES

COMPUTED, DERIVED, REPLAYED, GIVEN = "computed", "derived", "replayed", "given"
_EVERY_MODE = ("q", "k", "v", "gamma", "head_output", "normed", "gate", "output", "logits")
_PLANES = ("decay", "scores", "retention")
_ORIGINS = {
    "decay": (COMPUTED, DERIVED, "computed inside chunks, derived elsewhere"),
    "scores": (COMPUTED, DERIVED, "computed inside chunks, derived elsewhere"),
    "retention": (COMPUTED, DERIVED, "computed inside chunks, derived elsewhere"),
    "state": (
        "computed after the last token, derived elsewhere",
        COMPUTED,
        "computed after each chunk, derived elsewhere",
    ),
    "inner": (DERIVED, DERIVED, COMPUTED),
    "cross": (DERIVED, DERIVED, COMPUTED),
}
_ORIGINS["state_norm"] = _ORIGINS["state"]
_PROJECTED, _RETAINED = ("q", "k", "v", "gate"), ("head_output", "normed")
# Of tensors without a model: what they are, and what a model would have made of them.
_OF_TENSORS = {
    **dict.fromkeys(("q", "k", "v", "gamma"), GIVEN),
    **dict.fromkeys(("normed", "output"), DERIVED),
    **dict.fromkeys(("gate", "logits"), "not there"),
}


def origin(name: str, mode: str, keeps_rows: bool, keeps_blocks: bool, of_tensors: bool) -> str:
    """What `Trace.origin` says of a quantity.

    `keeps_rows` and `keeps_blocks` say what the record of the pass keeps, see `capture.Record`;
    `of_tensors` that q, k and v were given to it. Raises ValueError on a name that no trace has.
    """
    if of_tensors and name in _OF_TENSORS:
        return _OF_TENSORS[name]
    if not keeps_rows and name in (*_PROJECTED, *_RETAINED, "inner", "cross"):
        by_its_formula = mode == "chunkwise" or name in _PROJECTED
        return REPLAYED if by_its_formula else DERIVED
    if name in _EVERY_MODE:
        return COMPUTED
    if name not in _ORIGINS:
        names = ", ".join(sorted([*_EVERY_MODE, *_ORIGINS]))
        raise ValueError(f"unknown quantity {name!r}; a trace has {names}")
    if name in _PLANES and not keeps_blocks:
        return DERIVED
    if name == "state_norm" and mode != "parallel" and not keeps_rows:
        return "computed where kept, derived elsewhere"
    return _ORIGINS[name][MODES.index(mode)]
