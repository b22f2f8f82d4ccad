"""What if? Controls that change the pass: heads, parts of retention, one token, the state."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as w

from retnet_viz.figures.base.captions import number
from retnet_viz.figures.base.tokens import escape_token
from retnet_viz.trace import Trace, edits
from retnet_viz.trace.edits.edit import PARTS, Edit, EditError, Gamma, Silence, Without

SHORTEST, LONGEST = 0.25, 4096.0  # tokens: the ends of a half-life's slider
PART_WORDS = {"head_norm": "head norm"}
ALL_LAYERS = "all layers"
_STEP = 0.05  # of a half-life's slider, in powers of 2


class WhatIf(w.VBox):
    """The controls of one layer, or of all, and the list of what is changed.

    `change(edits, gesture)` is called with all edits that are wanted; a gesture that goes on is one
    step for undo. What is shown is written by `show`.
    """

    def __init__(
        self,
        n_heads: int,
        change: Callable[[tuple[Edit, ...], str], None],
        swap_text: Callable[[str], Sequence[int]],
    ) -> None:
        self._change = change
        self._ids_of = swap_text
        self._is_writing = False
        self._edits: tuple[Edit, ...] = ()
        self._written = [1.0] * n_heads  # the half-lives that the sliders were given
        self._listed: list[tuple[Edit, str | None]] = []  # as the list of changes has them
        self._trace: Trace | None = None
        self._base_gammas: Sequence[Any] = ()
        self._layer, self._token, self._heads = 0, -1, tuple(range(n_heads))
        self.scope = w.ToggleButtons(options=["layer 0", ALL_LAYERS])
        self.scope.add_class("rv-scales")
        self.without = {
            part: w.ToggleButton(description=PART_WORDS.get(part, part), tooltip=tooltip)
            for part, tooltip in zip(PARTS, _PART_TOOLTIPS, strict=True)
        }
        self.half_lives = [
            w.FloatLogSlider(
                base=2,
                min=math.log2(SHORTEST),
                max=math.log2(LONGEST),
                step=_STEP,
                readout=False,
                description=f"head {head}",
            )
            for head in range(n_heads)
        ]
        self.gammas = [w.HTML() for _ in range(n_heads)]
        self.silent = [
            w.ToggleButton(description="silence", tooltip=f"head {head} gives 0 after its norm")
            for head in range(n_heads)
        ]
        self.about_token = w.HTML()
        self.forget = w.Button(
            description="forget it", tooltip="take it out of the state before the next token"
        )
        self.reset = w.Button(
            description="empty the state", tooltip="S = 0 before this token is read"
        )
        self.read = w.BoundedIntText(min=0, description="do not read m =")
        self.about_read = w.HTML()
        self.cut = w.Button(description="cut", tooltip="this token does not read that one")
        self.other = w.Text(placeholder="another text", continuous_update=False)
        self.swap = w.Button(
            description="take its state", tooltip="S becomes that after the other text"
        )
        self.effect = w.HTML()
        self.undo_all = w.Button(description="undo all changes", layout={"display": "none"})
        self.changes = w.VBox()
        self.message = w.HTML()
        super().__init__(self._rows())
        self.add_class("rv-what-if")
        self._listen()

    def _rows(self) -> list[Any]:
        rows = []
        for head, (slider, gamma, silent) in enumerate(
            zip(self.half_lives, self.gammas, self.silent, strict=True)
        ):
            row = w.HBox([slider, gamma, silent])
            row.add_class("rv-what-if-head")
            row.add_class(f"rv-head-{head}")
            rows.append(row)
        heads, token, changed = w.VBox(rows), w.VBox(), w.VBox()
        token.children = [
            self.about_token,
            w.HBox([self.forget, self.reset]),
            w.HBox([self.read, self.about_read, self.cut]),
            w.HBox([self.other, self.swap]),
            self.message,
        ]
        changed.children = [self.effect, self.changes, self.undo_all]
        heads.add_class("rv-what-if-heads")
        token.add_class("rv-what-if-token")
        changed.add_class("rv-what-if-changes")
        top = w.HBox(
            [
                w.HTML('<span class="rv-name">What if? Change the pass</span>'),
                self.scope,
                w.HTML("without"),
                *self.without.values(),
            ]
        )
        top.add_class("rv-what-if-top")
        columns = w.HBox([heads, token, changed])
        columns.add_class("rv-what-if-columns")
        return [top, columns]

    # -- what the user does -----------------------------------------------------------------

    def _listen(self) -> None:
        self.scope.observe(lambda _: self._write(), "value")
        self.read.observe(lambda _: self._write_read(), "value")
        for part, toggle in self.without.items():
            toggle.observe(partial(self._on_part, part), "value")
        for head in range(len(self.silent)):
            self.half_lives[head].observe(partial(self._on_half_life, head), "value")
            self.silent[head].observe(partial(self._on_silent, head), "value")
        self.forget.on_click(lambda _: self._add(self._forget))
        self.reset.on_click(lambda _: self._add(self._reset))
        self.cut.on_click(lambda _: self._add(self._cut))
        self.swap.on_click(lambda _: self._add(self._swap))
        self.undo_all.on_click(lambda _: self._ask(()))

    @property
    def _layers(self) -> int | None:
        """The layer that the controls are of; None for all."""
        return None if self.scope.value == ALL_LAYERS else self._layer

    def silence(self, layer: int, head: int) -> None:
        """Silence a head, or let it speak again."""
        is_silent = _in_force(self._edits, Silence, layer, head) is not None
        self._set_heads(Silence, layer, head, None if is_silent else edits.silence)

    def _on_part(self, part: str, change: Any) -> None:
        if self._is_writing:
            return
        rest = [
            edit
            for edit in self._edits
            if not (isinstance(edit, Without) and edit.part == part and self._is_of_scope(edit))
        ]
        if part == "decay":  # a half-life of a head would contradict it
            rest = [
                edit
                for edit in rest
                if not (isinstance(edit, Gamma) and self._is_of_scope(edit, all_heads=False))
            ]
        if change["new"]:
            rest.append(edits.without(part, layer=self._layers))
        self._ask(tuple(rest))

    def _on_half_life(self, head: int, change: Any) -> None:
        # A browser moves a slider that it draws to the nearest step: that is no choice of the user.
        moved = abs(math.log2(change["new"] / self._written[head])) > _STEP
        if not self._is_writing and moved:
            half_life = change["new"]
            make = partial(edits.gamma, half_life=half_life)
            self._set_heads(Gamma, self._layers, head, make, f"half-life {head}")

    def _on_silent(self, head: int, change: Any) -> None:
        if not self._is_writing:
            make = edits.silence if change["new"] else None
            self._set_heads(Silence, self._layers, head, make)

    def _set_heads(
        self,
        kind: type[Edit],
        layer: int | None,
        head: int,
        make: Callable[..., Edit] | None,
        gesture: str = "",
    ) -> None:
        """Put an edit of a kind in the place of those of a head, in a layer or in all."""
        layers = range(self._n_layers) if layer is None else [layer]
        others: list[Edit] = []
        for edit in self._edits:
            is_decay = kind is Gamma and isinstance(edit, Without) and edit.part == "decay"
            if isinstance(edit, kind) or is_decay:
                others += _but(edit, layers, head, self._n_layers, len(self.silent))
            else:
                others.append(edit)
        new = () if make is None else (make(layer=layer, head=head),)
        self._ask((*others, *new), gesture)

    def _add(self, make: Callable[[], Edit]) -> None:
        try:
            edit = make()
        except EditError as error:
            self.message.value = _warning(str(error))
            return
        self._ask((*(other for other in self._edits if other != edit), edit))

    def _ask(self, wanted: tuple[Edit, ...], gesture: str = "") -> None:
        self.message.value = ""
        self._change(wanted, gesture)

    def _where(self) -> dict[str, Any]:
        """The layer and heads that a change at a token is made in: those that are shown."""
        all_heads = len(self._heads) == len(self.silent)
        return {"layer": self._layers, "head": None if all_heads else self._heads}

    def _chosen(self) -> int:
        if self._token < 0:
            raise EditError("There is no token yet: type a text.")
        return self._token

    def _forget(self) -> Edit:
        return edits.forget(token=self._chosen(), start=self._chosen() + 1, **self._where())

    def _reset(self) -> Edit:
        return edits.reset(start=self._chosen(), **self._where())

    def _cut(self) -> Edit:
        return edits.cut(reader=self._chosen(), read=self.read.value, **self._where())

    def _swap(self) -> Edit:
        if not self.other.value:
            raise EditError("Write the other text, whose state is taken.")
        return edits.swap(start=self._chosen(), ids=self._ids_of(self.other.value), **self._where())

    # -- what is shown ----------------------------------------------------------------------

    def show(
        self,
        trace: Trace | None,
        base: Trace | None,
        wanted: tuple[Edit, ...],
        left_out: Mapping[Edit, str],
        *,
        layer: int,
        heads: Sequence[int],
        token: int,
    ) -> None:
        """Show the controls for a layer, the shown heads and a token, and what is changed."""
        self._trace, self._edits = trace, wanted
        self._layer, self._heads, self._token = layer, tuple(heads), token
        self._base_gammas = () if trace is None else (base or trace).model.gammas
        self.effect.value = _effect(trace, base)
        changes = [(edit, left_out.get(edit)) for edit in wanted]
        if changes != self._listed:  # a row is several widgets: not to be made at every key
            self._listed = changes
            self.undo_all.layout.display = "" if wanted else "none"
            self.changes.children = [self._change_row(*change) for change in changes]
        self._write()

    @property
    def _n_layers(self) -> int:
        return 1 if self._trace is None else self._trace.n_layers

    def _write(self) -> None:
        """Make the controls show the edits, without that being taken for the user's choice."""
        self._is_writing = True
        try:
            self._write_scope()
            layer = self._layer
            for part, toggle in self.without.items():
                toggle.value = any(
                    isinstance(edit, Without) and edit.part == part and self._is_of_scope(edit)
                    for edit in self._edits
                )
            for head, (slider, gamma, silent) in enumerate(
                zip(self.half_lives, self.gammas, self.silent, strict=True)
            ):
                silent.value = _in_force(self._edits, Silence, layer, head) is not None
                if self._trace is not None:
                    value = self._trace.gamma(layer)[head].item()
                    half_life = min(max(_half_life(value), SHORTEST), LONGEST)
                    slider.value = self._written[head] = half_life
                    gamma.value = self._gamma_words(head, value)
            self._write_token()
        finally:
            self._is_writing = False

    def _write_scope(self) -> None:
        options = (f"layer {self._layer}", ALL_LAYERS)
        if tuple(self.scope.options) != options:
            is_all = self.scope.value == ALL_LAYERS
            self.scope.options = options
            self.scope.value = options[is_all]

    def _gamma_words(self, head: int, value: float) -> str:
        usual = self._base_gammas[self._layer][head].item()
        words = f"half in {number(_half_life(value))} tokens"
        if value == usual:
            return f'<span class="rv-hint">{words}</span>'
        return f"<b>{words}</b> <span class='rv-hint'>was {number(_half_life(usual))}</span>"

    def _write_token(self) -> None:
        has_token = self._trace is not None and self._token >= 0
        for control in (self.forget, self.reset, self.cut, self.swap, self.read, self.other):
            control.disabled = not has_token
        if not has_token or self._trace is None:
            self.about_token.value = '<span class="rv-hint">no token yet</span>'
            return
        n = self._token
        self.forget.disabled = n + 1 >= self._trace.length
        where = "all layers" if self._layers is None else f"layer {self._layer}"
        self.about_token.value = (
            f"at token n = {n} {self._quoted(n)}, in the shown heads of {where}"
        )
        self.read.max = n
        self._write_read()

    def _write_read(self) -> None:
        self.about_read.value = "" if self._trace is None else self._quoted(self.read.value)

    def _quoted(self, n: int) -> str:
        assert self._trace is not None
        if not 0 <= n < self._trace.length:
            return ""
        return f"“{html.escape(escape_token(self._trace.pieces(n, n + 1)[0]))}”"

    def _change_row(self, edit: Edit, reason: str | None) -> Any:
        line = html.escape(repr(edit).removeprefix("rv.edits."))
        words = f'<code title="{html.escape(repr(edit))}">{line}</code>'
        if reason:
            words += f' <span class="rv-warn">left out: {html.escape(reason)}</span>'
        undo = w.Button(description="×", tooltip=f"undo {line}")
        undo.on_click(lambda _: self._ask(tuple(x for x in self._edits if x is not edit)))
        row = w.HBox([undo, w.HTML(words)])
        row.add_class("rv-what-if-change")
        return row

    def _is_of_scope(self, edit: Edit, all_heads: bool = True) -> bool:
        """Whether an edit is of just the layers that the controls are of, or touches them."""
        if all_heads:
            layers = None if self._layers is None else (self._layers,)
            return edit.head is None and edit.layer == layers
        return edit.layer is None or self._layers is None or self._layers in edit.layer


_PART_TOOLTIPS = (
    "q and k do not rotate with the position",
    "no head forgets: every γ is 1",
    "the outputs of heads keep their scale",
    "nothing gates what the heads retain",
)


def silent_heads(wanted: Sequence[Edit], n_layers: int, n_heads: int) -> set[tuple[int, int]]:
    """(layer, head) of each head that edits silence."""
    return {
        (layer, head)
        for layer in range(n_layers)
        for head in range(n_heads)
        if _in_force(wanted, Silence, layer, head) is not None
    }


def _in_force(wanted: Sequence[Edit], kind: type[Edit], layer: int, head: int) -> Edit | None:
    """The edit of a kind that holds in a head of a layer."""
    for edit in wanted:
        if (
            isinstance(edit, kind)
            and (edit.layer is None or layer in edit.layer)
            and (edit.head is None or head in edit.head)
        ):
            return edit
    return None


def _but(edit: Edit, layers: Sequence[int], head: int, n_layers: int, n_heads: int) -> list[Edit]:
    """An edit of heads, without one head in some layers: as one or two edits, or none."""
    named = range(n_layers) if edit.layer is None else edit.layer
    heads = range(n_heads) if edit.head is None else edit.head
    if head not in heads or not set(named) & set(layers):
        return [edit]
    rest = []
    if outside := tuple(layer for layer in named if layer not in layers):
        rest.append(replace(edit, layer=outside))
    if others := tuple(h for h in heads if h != head):
        inside = tuple(layer for layer in named if layer in layers)
        is_all = edit.layer is None and len(inside) == n_layers
        rest.append(replace(edit, layer=None if is_all else inside, head=others))
    return rest


def _half_life(gamma: float) -> float:
    return math.inf if gamma == 1 else math.log(0.5) / math.log(gamma)


def _effect(trace: Trace | None, base: Trace | None) -> str:
    """What the changes did to the text, in a sentence."""
    if trace is None or base is None:
        return (
            '<span class="rv-hint">Nothing is changed: every panel is of the model itself.</span>'
        )
    words = "Every panel is drawn from the changed pass."
    try:
        before, after = base.loss, trace.loss
    except RuntimeError:  # of a long text the logits are not kept
        return f"<b>{words}</b>"
    if not len(before):
        return f"<b>{words}</b>"
    return (
        f"<b>{words}</b> Loss of the text {before.mean():.3f} → {after.mean():.3f} nats a token "
        f"({(after.mean() - before.mean()):+.3f})"
    )


def _warning(text: str) -> str:
    return f'<span class="rv-warn" role="alert">{html.escape(text)}</span>'
