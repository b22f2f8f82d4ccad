"""What edits change of one layer's retention: which tokens read which, and the state before some.

All of it is one factor A on the decay, so that a weight is q_n k_m gamma^(n-m) A[n, m], and states
that are added. In the state it is a scaling or a subtraction at one token; see `edited_forms`.

Shapes: H heads, d_k and d_v the widths of a head's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from retnet_viz.model.position import decay_powers

KeyValue = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class StateChange:
    """What becomes of S before token `start` is read.

    scale  (H,) float64, what is left of S; where `token` is given, of that token's share in S alone
    added  (H, d_k, d_v), what is added to it then; None for nothing
    """

    start: int
    scale: Tensor
    token: int | None = None
    added: Tensor | None = None


@dataclass(frozen=True, eq=False)
class ReadCut:
    """Token `reader` does not read token `read` in `heads`, (H,) bool."""

    reader: int
    read: int
    heads: Tensor


@dataclass(frozen=True, eq=False)
class LayerChanges:
    """The changes of one layer, `states` in the order of their tokens; those before the same token
    in the order they are made."""

    n_heads: int
    states: Sequence[StateChange] = ()
    cuts: Sequence[ReadCut] = ()

    def __bool__(self) -> bool:
        return bool(self.states or self.cuts)

    def starts(self, first: int, stop: int) -> list[int]:
        """The tokens first .. stop - 1 before which the state changes, in order, each once."""
        return sorted({change.start for change in self.states if first <= change.start < stop})

    def at(self, n: int) -> list[StateChange]:
        """What becomes of S before token n."""
        return [change for change in self.states if change.start == n]

    def remembered(self) -> set[int]:
        """The tokens whose keys and values are needed after they were read."""
        forgotten = {change.token for change in self.states if change.token is not None}
        return forgotten | {cut.read for cut in self.cuts}

    def shifted(self, offset: int) -> LayerChanges:
        """The same with `offset` added to every position."""
        states = [
            replace(
                change,
                start=change.start + offset,
                token=None if change.token is None else change.token + offset,
            )
            for change in self.states
        ]
        cuts = [
            replace(cut, reader=cut.reader + offset, read=cut.read + offset) for cut in self.cuts
        ]
        return replace(self, states=states, cuts=cuts)

    def after(self, state: Tensor) -> LayerChanges:
        """The same, of a text that starts from `state` (H, d_k, d_v)."""
        first = StateChange(0, torch.ones(self.n_heads, dtype=torch.float64), added=state)
        return replace(self, states=[first, *self.states])

    def with_state(self, start: int, heads: Tensor, state: Tensor) -> LayerChanges:
        """The same, where before token `start` `state` (H, d_k, d_v) is that of `heads`."""
        change = StateChange(start, (~heads).double(), added=state)
        return replace(self, states=sorted([change, *self.states], key=lambda x: x.start))

    def factor(self, rows: Tensor | range, cols: Tensor | range, cuts: bool = True) -> Tensor:
        """A (H, rows, cols) float64: what is left of the weight with which token n reads token m.

        Without `cuts`: what is left of token m in the state that token n reads.
        """
        n, m = (torch.as_tensor(list(x) if isinstance(x, range) else x) for x in (rows, cols))
        n, m = n.cpu()[:, None], m.cpu()[None, :]
        factor = torch.ones(self.n_heads, n.shape[0], m.shape[1], dtype=torch.float64)
        for change in self.states:
            hit = (n >= change.start) & (m < change.start)
            if change.token is not None:
                hit = hit & (m == change.token)
            factor = torch.where(hit, factor * change.scale[:, None, None], factor)
        for cut in self.cuts if cuts else ():
            hit = (n == cut.reader) & (m == cut.read)
            factor = factor.masked_fill(hit & cut.heads[:, None, None], 0)
        return factor

    def added(self, n: int, gamma: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(S', (H,) float64): each state that was added, and how much of it token n reads."""
        for index, change in enumerate(self.states):
            if change.added is not None and change.start <= n:
                left = gamma.cpu().double() ** (n - change.start + 1)
                for later in self.states[index + 1 :]:
                    if later.token is None and later.start <= n:
                        left = left * later.scale
                yield change.added, left

    def cuts_of(self, first: int, stop: int, read_before: int | None = None) -> Iterator[ReadCut]:
        """The cuts of readers first .. stop - 1, of tokens before `read_before` if it is given."""
        for cut in self.cuts:
            if first <= cut.reader < stop and (read_before is None or cut.read < read_before):
                yield cut

    def removed_share(self, change: StateChange, n: int, gamma: Tensor, like: Tensor) -> Tensor:
        """(H, 1, 1), how much of k^T v of the change's token S loses before token `start`.

        S is as it was after token n; the changes between n and this one are made already.
        """
        token = change.token
        assert token is not None
        before = replace(self, states=self.states[: list(self.states).index(change)], cuts=())
        left = before.factor(range(change.start, change.start + 1), range(token, token + 1))
        decay = decay_powers(gamma.cpu(), torch.tensor([n - token]), torch.float64)
        share = (1 - change.scale) * left[:, 0, 0] * decay[:, 0]
        return share.to(like)[:, None, None]

    def make(
        self,
        state: Tensor,
        start: int,
        gamma: Tensor,
        key_value: KeyValue,
    ) -> Tensor:
        """S (B, H, d_k, d_v) with all changes before token `start`; a new tensor if there are any.

        `key_value(m)` gives k_m (B, H, 1, d_k) and v_m (B, H, 1, d_v).
        """
        for change in self.at(start):
            state = self.make_one(change, state, start - 1, gamma, key_value)
            if change.added is not None:
                state = state + change.added.to(state)
        return state

    def make_one(
        self, change: StateChange, state: Tensor, n: int, gamma: Tensor, key_value: KeyValue
    ) -> Tensor:
        """S as it was after token n, scaled, or without the share of the change's token."""
        if change.token is None:
            return state * change.scale.to(state)[:, None, None]
        k, v = (x.to(state) for x in key_value(change.token))
        return state - self.removed_share(change, n, gamma, state) * (k.mT @ v)
