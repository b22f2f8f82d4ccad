"""Edits checked against a model and a text, and the model that runs with them.

Shapes: H heads, T tokens, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from retnet_viz.model import RetNet, RetNetState
from retnet_viz.model.observe import listening
from retnet_viz.model.position import rotate, rotation_angles
from retnet_viz.model.shared_weights import retentions
from retnet_viz.trace.edits.edit import (
    Cut,
    Edit,
    EditError,
    Forget,
    Gamma,
    Patch,
    Reset,
    Silence,
    Swap,
    Without,
)
from retnet_viz.trace.edits.edited_model import EditedRetNet, LayerEdits
from retnet_viz.trace.edits.layer_changes import LayerChanges, ReadCut, StateChange
from retnet_viz.trace.edits.patches import check_mode, check_patch, make_patcher, patch_value


def resolve(model: RetNet, edits: Iterable[Edit], length: int) -> tuple[Edit, ...]:
    """The edits with positions from the start of a text of `length` tokens.

    Raises EditError where the model or the text lacks what an edit names, or two contradict each
    other.
    """
    found = list(edits)
    for edit in found:
        if not isinstance(edit, Edit):
            raise EditError(f"{edit!r} is no edit; rv.edits makes them")
    if found and isinstance(model, EditedRetNet):
        raise EditError("this model is edited already: give all edits together")
    resolved = tuple(_resolve_one(model, edit, length) for edit in found)
    _check_contradictions(model, resolved)
    return resolved


def fitting(
    model: RetNet, edits: Sequence[Edit], length: int
) -> tuple[tuple[Edit, ...], dict[Edit, str]]:
    """The edits that fit a text of `length` tokens, resolved; and why each of the others does not.

    Of two that contradict each other the first stays.
    """
    fit: tuple[Edit, ...] = ()
    reasons: dict[Edit, str] = {}
    for edit in edits:
        try:
            fit = resolve(model, (*fit, edit), length)
        except EditError as error:
            reasons[edit] = str(error)
    return fit, reasons


def apply(
    model: RetNet,
    edits: Sequence[Edit],
    ids: Tensor | None = None,
    start: RetNetState | None = None,
) -> EditedRetNet:
    """A RetNet on the weights of `model` that runs with `edits`, which are resolved.

    The text begins after `start`. `ids` (T,) are its tokens, which a head's mean over the text is
    taken of; EditError where they are needed and not given.
    """
    offset = 0 if start is None else start.position
    means = None
    if any(isinstance(edit, Silence) and edit.mean for edit in edits):
        if ids is None:
            raise EditError("edits.silence: a mean over the text needs the text")
        means = _normed_means(model, ids, start)
    swapped = {
        index: _swapped_state(model, edit, offset)
        for index, edit in enumerate(edits)
        if isinstance(edit, Swap)
    }
    layers = [
        _layer_edits(model, layer, edits, offset, means, swapped)
        for layer in range(model.config.n_layers)
    ]
    patches = [edit for edit in edits if isinstance(edit, Patch)]
    if patches and ids is None:
        raise EditError("edits.patch: the tensors of a pass need its text")
    patcher = make_patcher(model.config, patches, offset, 0 if ids is None else len(ids))
    return EditedRetNet(model, edits, layers, patcher)


def needs_text(edit: Edit) -> bool:
    """Whether an edit is of some tokens, or takes a mean over them: not of heads alone."""
    return bool(edit.positions) or depends_on_words(edit)


def depends_on_words(edit: Edit) -> bool:
    """Whether what an edit does has to be computed from the text, and not from its length alone."""
    return isinstance(edit, Patch) or (isinstance(edit, Silence) and edit.mean)


def heads_of(edit: Edit, layer: int, n_heads: int) -> Tensor:
    """(H,) bool, the heads of a layer that an edit names."""
    mask = torch.zeros(n_heads, dtype=torch.bool)
    if edit.layer is None or layer in edit.layer:
        mask[list(range(n_heads) if edit.head is None else edit.head)] = True
    return mask


def view_changes(model: object, layer: int, start: RetNetState | None) -> LayerChanges:
    """What changes in a layer, at positions of the text, for what is derived from a pass.

    A state that the text started from is added before token 0. A state that was patched is the
    state of the text from the next token on.
    """
    changes = None
    offset = 0 if start is None else start.position
    if isinstance(model, EditedRetNet):
        changes = model.layer_edits[layer].changes.shifted(-offset)
        for patch in model.edits:
            if isinstance(patch, Patch) and patch.name == "retention.state":
                changes = changes.with_state(*_patched_state(model, patch, layer))
    if start is not None:
        first = start.layers[layer]
        assert first is not None
        changes = (changes or LayerChanges(first.shape[1])).after(first[0])
    return changes or LayerChanges(0)


def _patched_state(model: RetNet, patch: Patch, layer: int) -> tuple[int, Tensor, Tensor]:
    """The token after a patched state, the heads (H,) bool, and S (H, d_k, d_v), 0 in others."""
    config = model.config
    assert patch.position is not None
    heads = heads_of(patch, layer, config.n_heads)
    state = torch.zeros(config.n_heads, config.head_dim, config.value_dim, dtype=torch.float64)
    if bool(heads.any()):
        state[heads] = patch_value(config, patch, 0)
    return patch.position + 1, heads, state


# -- checks -------------------------------------------------------------------------------------


def _resolve_one(model: RetNet, edit: Edit, length: int) -> Edit:
    config = model.config
    for noun, numbers, count in (
        ("layer", edit.layer, config.n_layers),
        ("head", edit.head, config.n_heads),
    ):
        if numbers is not None and numbers[-1] >= count:
            raise EditError(f"edits.{edit.kind}: {noun} {numbers[-1]} is outside 0 .. {count - 1}")
    names = [*edit.positions, *(["position"] if isinstance(edit, Patch) else [])]
    places: dict[str, Any] = {
        name: _place(edit, name, getattr(edit, name), length) for name in names
    }
    edit = replace(edit, **places)
    if isinstance(edit, Forget) and edit.token >= edit.start:
        raise EditError(
            f"edits.forget: before token {edit.start} is read the state does not hold token "
            f"{edit.token} yet; name a later start"
        )
    if isinstance(edit, Cut) and edit.read > edit.reader:
        raise EditError(
            f"edits.cut: token {edit.reader} does not read token {edit.read} anyway, which comes "
            "after it"
        )
    if isinstance(edit, Swap):
        vocab_size = config.vocab_size
        if not all(0 <= token_id < vocab_size for token_id in edit.ids):
            raise EditError("edits.swap: the other text has tokens that this model does not know")
        edit = replace(edit, edits=resolve(model, edit.edits, len(edit.ids)))
    if isinstance(edit, Patch):
        check_patch(config, edit, length)
    return edit


def _place(edit: Edit, name: str, position: int | None, length: int) -> int | None:
    if position is None:
        return None
    if not -length <= position < length:
        raise EditError(
            f"edits.{edit.kind}: {name} {position} is outside a text of {length} tokens"
        )
    return position % length


def _check_contradictions(model: RetNet, edits: Sequence[Edit]) -> None:
    """Raise EditError on two edits of which only one can hold."""
    seen: dict[tuple[object, ...], Edit] = {}
    for edit in edits:
        for thing in _things_set(edit):
            for layer in range(model.config.n_layers):
                heads = heads_of(edit, layer, model.config.n_heads)
                for head in heads.nonzero().flatten().tolist():
                    other = seen.setdefault((*thing, layer, head), edit)
                    if other is not edit:
                        raise EditError(
                            f"{other!r} and {edit!r} contradict each other in layer {layer}, head "
                            f"{head}"
                        )


def _things_set(edit: Edit) -> list[tuple[object, ...]]:
    """What an edit gives a value in each head that it names, so that no second one can."""
    if isinstance(edit, Gamma) or (isinstance(edit, Without) and edit.part == "decay"):
        return [("gamma",)]
    if isinstance(edit, Silence):
        return [("silence",)]
    if isinstance(edit, Swap | Reset):
        return [("state", edit.start)]
    if isinstance(edit, Patch):
        return [("patch", edit.name, edit.position)]
    return []


def check_modes(edits: Sequence[Edit], mode: str, chunk_size: int, length: int) -> None:
    """Raise EditError where an edit needs a tensor that the mode does not compute."""
    for edit in edits:
        if isinstance(edit, Patch):
            check_mode(edit, mode, chunk_size, length)


# -- the edits of a layer -----------------------------------------------------------------------


def _layer_edits(
    model: RetNet,
    layer: int,
    edits: Sequence[Edit],
    offset: int,
    means: Sequence[Tensor] | None,
    swapped: Mapping[int, Sequence[Tensor]],
) -> LayerEdits:
    config = model.config
    gamma = model.gammas[layer].clone()
    without: dict[str, Tensor] = {}
    constants = torch.full((config.n_heads, config.value_dim), torch.nan, dtype=torch.float64)
    states: list[StateChange] = []
    cuts: list[ReadCut] = []
    for index, edit in enumerate(edits):
        heads = heads_of(edit, layer, config.n_heads)
        if not bool(heads.any()):
            continue
        if isinstance(edit, Gamma):
            gamma[heads.to(gamma.device)] = edit.gamma
        elif isinstance(edit, Without) and edit.part == "decay":
            gamma[heads.to(gamma.device)] = 1.0
        elif isinstance(edit, Without):
            without[edit.part] = without.get(edit.part, torch.zeros_like(heads)) | heads
        elif isinstance(edit, Silence):
            constants[heads] = means[layer][heads] if edit.mean and means is not None else 0.0
        elif isinstance(edit, Forget):
            scale = (~heads).double()
            states.append(StateChange(edit.start + offset, scale, edit.token + offset))
        elif isinstance(edit, Reset):
            scale = torch.where(heads, edit.scale, 1.0).double()
            states.append(StateChange(edit.start + offset, scale))
        elif isinstance(edit, Swap):
            added = swapped[index][layer] * heads.to(swapped[index][layer])[:, None, None]
            states.append(StateChange(edit.start + offset, (~heads).double(), added=added))
        elif isinstance(edit, Cut):
            cuts.append(ReadCut(edit.reader + offset, edit.read + offset, heads))
    has_constants = bool((~constants.isnan()).any())
    states.sort(key=lambda change: change.start)
    changes = LayerChanges(config.n_heads, states, cuts)
    return LayerEdits(gamma, without, constants if has_constants else None, changes)


@torch.no_grad()
def _swapped_state(model: RetNet, swap: Swap, offset: int) -> list[Tensor]:
    """For each layer S (H, d_k, d_v) after the other text, turned to stand before the start."""
    ids = torch.tensor(swap.ids)
    source = apply(model, swap.edits, ids) if swap.edits else model
    state = source(ids[None].to(model.device), mode="chunkwise").state
    shift = swap.start + offset - len(swap.ids)  # from the position of its last token
    straight = any(isinstance(x, Without) and x.part == "rotation" for x in swap.edits)
    if straight:
        raise EditError("edits.swap: a state without rotation cannot be turned to its new place")
    states = []
    for layer in state.layers:
        assert layer is not None
        states.append(_turned(model, layer[0], shift))
    return states


def _turned(model: RetNet, state: Tensor, shift: int) -> Tensor:
    """S (H, d_k, d_v) as it would be, had all its tokens stood `shift` positions later.

    A key is rotated by its position, so every key in S is rotated by `shift` positions more.
    """
    config = model.config
    cos, sin = rotation_angles(
        config.head_dim, shift, 1, config.rotation_base, state.device, config.angles
    )
    turned = rotate(state.mT.contiguous(), cos, sin, layout=config.rotation)
    return turned.mT


@torch.no_grad()
def _normed_means(model: RetNet, ids: Tensor, start: RetNetState | None) -> list[Tensor]:
    """For each layer (H, d_v): the mean of each head's normed output over the unedited text."""
    means: list[Tensor] = []
    config = model.config

    def collect(name: str, tensor: Tensor) -> None:
        if name == "retention.normed":
            rows = tensor[0].unflatten(-1, (config.n_heads, config.value_dim))
            means.append(rows.double().mean(dim=0).cpu())

    with listening(collect, keeps=True):
        model(ids[None].to(model.device), start, mode="chunkwise")
    assert len(means) == len(retentions(model))
    return means
