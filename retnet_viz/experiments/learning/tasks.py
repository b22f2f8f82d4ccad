"""Small tasks that test how far back a model can look: each answer has a source, some lag away.

Shapes: B sequences, T tokens. Everything is drawn from a torch.Generator, so a seed gives the same
batch on every machine.

    copy       ?k asks for the letter k tokens back
    recall     keys, each followed by its value; a key that comes again asks for its value (Ba et
               al. 2016, arXiv:1610.06258; with many queries MQAR, Arora et al. 2023,
               arXiv:2312.04927)
    brackets   which bracket closes next, in a string of nested pairs (a Dyck language)
    induction  a row of distinct letters again and again: [A][B] ... [A] asks for [B]
               (Olsson et al. 2022, arXiv:2209.11895)
    selective  letters at random places among noise, asked for in order at the end (selective
               copying, Gu & Dao 2023, arXiv:2312.00752, section 4.1)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

IGNORE_INDEX = -100  # a target that no loss counts, as torch's cross-entropy has it
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Batch:
    """Sequences with questions in them.

    ids      (B, T) long
    targets  (B, T) long: the answer at each query, else IGNORE_INDEX
    lags     (B, T) long: how many tokens before a query the source of its answer is, 0 for the
             position itself; -1 where there is no query
    """

    ids: Tensor
    targets: Tensor
    lags: Tensor

    @property
    def is_query(self) -> Tensor:
        """(B, T) bool: the positions that ask for an answer; only they count in the loss."""
        return self.targets != IGNORE_INDEX

    def __getitem__(self, rows: slice) -> Batch:
        return Batch(self.ids[rows], self.targets[rows], self.lags[rows])


@dataclass(frozen=True)
class Task:
    """A kind of sequence, how it is written, and the model that learns it.

    rule      what is asked, in a sentence
    symbols   what each token id is written as
    answers   the ids that can be answers; a guess is right once in so many
    length    T
    groups    which lags are looked at together
    shape     fields of RetNetConfig in which the model for this task differs from the usual one
    rate      learning rate
    mamba     fields of MambaConfig, where a Mamba learns from the same rows as the RetNet
    """

    name: str
    title: str
    rule: str
    symbols: tuple[str, ...]
    answers: range
    length: int
    groups: tuple[range, ...]
    shape: dict[str, Any]
    rate: float
    draw: Callable[[int, Generator], Batch]  # (number of sequences, source of chance)
    mamba: dict[str, Any] | None = None

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        return 1 / len(self.answers)

    def group_of(self, lags: Tensor) -> Tensor:
        """The index in `groups` of each of `lags`, -1 where no group has it."""
        places = torch.full_like(lags, -1)
        for place, group in enumerate(self.groups):
            places[(lags >= group.start) & (lags < group.stop)] = place
        return places


def group_name(group: range) -> str:
    """A group of lags as it is written: 4, or 5–8."""
    return f"{group.start}" if len(group) == 1 else f"{group.start}–{group.stop - 1}"


def _empty_targets(ids: Tensor) -> tuple[Tensor, Tensor]:
    return torch.full_like(ids, IGNORE_INDEX), torch.full_like(ids, -1)


def _shuffled(count: int, of: int, generator: Generator) -> Tensor:
    """`count` random orders of 0 .. of - 1, (count, of)."""
    return torch.rand(count, of, generator=generator).argsort(-1)


# -- copy ---------------------------------------------------------------------------------------

COPY_LAGS = (1, 2, 4, 8, 16, 32)
_COPY_LETTERS = 8
_COPY_LENGTH = 56
_QUERY_SHARE = 0.4  # of the tokens


def _copy(count: int, generator: Generator) -> Batch:
    shape = (count, _COPY_LENGTH)
    ids = torch.randint(_COPY_LETTERS, shape, generator=generator)
    is_query = torch.rand(shape, generator=generator) < _QUERY_SHARE
    is_query[:, 0] = False
    lags = torch.tensor(COPY_LAGS)
    sources = torch.arange(_COPY_LENGTH)[:, None] - lags  # (T, lags)
    reachable = (sources >= 0) & ~is_query[:, sources.clamp(min=0)]  # (B, T, lags)
    is_query &= reachable.any(-1)
    # Among the lags that end at a letter, each is as likely as another.
    choice = (torch.rand(reachable.shape, generator=generator) * reachable).argmax(-1)
    source = sources.expand(count, -1, -1).gather(-1, choice[..., None])[..., 0].clamp(min=0)
    targets, query_lags = _empty_targets(ids)
    targets[is_query] = ids.gather(1, source)[is_query]
    query_lags[is_query] = lags[choice][is_query]
    ids[is_query] = _COPY_LETTERS + choice[is_query]
    return Batch(ids, targets, query_lags)


COPY = Task(
    name="copy",
    title="Copy",
    rule="?k asks for the letter k tokens before it.",
    symbols=(*LETTERS[:_COPY_LETTERS], *(f"?{lag}" for lag in COPY_LAGS)),
    answers=range(_COPY_LETTERS),
    length=_COPY_LENGTH,
    groups=tuple(range(lag, lag + 1) for lag in COPY_LAGS),
    # The source is at a distance: the angles reach from 1 to nearly pi a token, so that the model
    # can tell even neighbours apart.
    shape={"d_model": 64, "n_layers": 1, "value_factor": 1.0, "rotation_base": 0.35},
    rate=4e-4,  # with more it would be learned before one sees it
    draw=_copy,
)

# -- associative recall -------------------------------------------------------------------------

_PAIRS = 16
_KEYS = 5
_VALUES = 5


def _recall(count: int, generator: Generator) -> Batch:
    # Sequences with few keys, which recur soon, are easier: the model learns from them first.
    value_of_key = torch.randint(_VALUES, (count, _KEYS), generator=generator)
    n_keys = torch.randint(2, _KEYS + 1, (count, 1), generator=generator)
    key_index = (torch.rand(count, _PAIRS, generator=generator) * n_keys).long()
    keys = _shuffled(count, _KEYS, generator).gather(1, key_index)
    values = _KEYS + value_of_key.gather(1, keys)
    ids = torch.stack((keys, values), -1).flatten(1)
    targets, lags = _empty_targets(ids)
    pair = torch.arange(_PAIRS)
    is_same_key = keys[:, :, None] == keys[:, None, :]  # (B, pairs, earlier pairs)
    is_earlier = is_same_key & (pair[None, :] < pair[:, None])
    last_pair = torch.where(is_earlier, pair, -1).amax(-1)
    has_earlier = last_pair >= 0
    targets[:, ::2][has_earlier] = values[has_earlier]
    lags[:, ::2][has_earlier] = (2 * pair - (2 * last_pair + 1))[has_earlier]
    return Batch(ids, targets, lags)


RECALL = Task(
    name="recall",
    title="Associative recall",
    rule="Each letter has a digit, which comes after it; a letter that comes again asks for it.",
    symbols=(*LETTERS[:_KEYS], *map(str, range(_VALUES))),
    answers=range(_KEYS, _KEYS + _VALUES),
    length=2 * _PAIRS,
    groups=(range(1, 2), range(3, 4), range(5, 8), range(9, 16), range(17, 32)),
    shape={"d_model": 32, "n_layers": 2, "value_factor": 2.0, "rotation_base": 3.0},
    rate=4e-3,
    draw=_recall,
)

# -- brackets -----------------------------------------------------------------------------------

BRACKETS = ("()", "[]", "{}", "<>")
_DEPTH = 6
_BRACKETS_LENGTH = 48


def _brackets(count: int, generator: Generator) -> Batch:
    kinds = len(BRACKETS)
    ids = torch.empty(count, _BRACKETS_LENGTH + 1, dtype=torch.long)
    source = torch.empty_like(ids)  # of each closing bracket, where its pair was opened
    open_positions = torch.zeros(count, _DEPTH + 1, dtype=torch.long)  # positions, by depth
    depth = torch.zeros(count, dtype=torch.long)
    rows = torch.arange(count)
    kind = torch.randint(kinds, ids.shape, generator=generator)
    may_close = torch.rand(ids.shape, generator=generator) < 0.5
    for n in range(ids.shape[1]):
        closes = (depth > 0) & (may_close[:, n] | (depth == _DEPTH))
        depth = depth - closes.long()
        source[:, n] = open_positions[rows, depth]
        ids[:, n] = torch.where(closes, kinds + ids[rows, source[:, n]], kind[:, n])
        open_positions[rows[~closes], depth[~closes]] = n
        depth = depth + (~closes).long()
    targets, lags = _empty_targets(ids[:, 1:])
    is_closing = ids[:, 1:] >= kinds
    targets[is_closing] = ids[:, 1:][is_closing]
    lags[is_closing] = (torch.arange(_BRACKETS_LENGTH) - source[:, 1:])[is_closing]
    return Batch(ids[:, :-1], targets, lags)


BRACKET = Task(
    name="brackets",
    title="Bracket matching",
    rule="Where a pair closes next, the last one still open says with which bracket.",
    symbols=(*(pair[0] for pair in BRACKETS), *(pair[1] for pair in BRACKETS)),
    answers=range(len(BRACKETS), 2 * len(BRACKETS)),
    length=_BRACKETS_LENGTH,
    groups=(range(1), range(1, 3), range(3, 5), range(5, 9), range(9, 17), range(17, 48)),
    shape={"d_model": 32, "n_layers": 2, "value_factor": 2.0, "rotation_base": 10.0},
    rate=6e-3,
    draw=_brackets,
)

# -- induction ----------------------------------------------------------------------------------

PERIODS = (2, 3, 5, 9, 17, 24)
_INDUCTION_LETTERS = 24
_INDUCTION_LENGTH = 48


def _induction(count: int, generator: Generator) -> Batch:
    periods = torch.tensor(PERIODS)[torch.randint(len(PERIODS), (count, 1), generator=generator)]
    row = _shuffled(count, _INDUCTION_LETTERS, generator)
    position = torch.arange(_INDUCTION_LENGTH + 1)
    ids = row.gather(1, position % periods)
    targets, lags = _empty_targets(ids[:, 1:])
    is_query = position[:-1] >= periods
    targets[is_query] = ids[:, 1:][is_query]
    lags[is_query] = (periods - 1).expand(lags.shape)[is_query]
    return Batch(ids[:, :-1], targets, lags)


INDUCTION = Task(
    name="induction",
    title="Induction",
    rule="A row of letters repeats: a letter seen before asks for the one that followed it.",
    symbols=LETTERS[:_INDUCTION_LETTERS],
    answers=range(_INDUCTION_LETTERS),
    length=_INDUCTION_LENGTH,
    groups=tuple(range(period - 1, period) for period in PERIODS),
    shape={"d_model": 32, "n_layers": 2, "value_factor": 2.0, "rotation_base": 10.0},
    rate=6e-3,
    draw=_induction,
)

# -- selective copying --------------------------------------------------------------------------

_COPIED_LETTERS = 4  # letters to remember
_SELECTIVE_LETTERS = 8
_NOISE_LENGTH = 28  # tokens, with the noise
NOISE, ASK = "·", "?"


def _selective(count: int, generator: Generator) -> Batch:
    places = _shuffled(count, _NOISE_LENGTH, generator)[:, :_COPIED_LETTERS].sort(-1).values
    letters = torch.randint(_SELECTIVE_LETTERS, (count, _COPIED_LETTERS), generator=generator)
    ids = torch.full((count, _NOISE_LENGTH + _COPIED_LETTERS), _SELECTIVE_LETTERS)
    ids.scatter_(1, places, letters)
    ids[:, _NOISE_LENGTH:] = _SELECTIVE_LETTERS + 1
    targets, lags = _empty_targets(ids)
    targets[:, _NOISE_LENGTH:] = letters
    lags[:, _NOISE_LENGTH:] = _NOISE_LENGTH + torch.arange(_COPIED_LETTERS) - places
    return Batch(ids, targets, lags)


SELECTIVE = Task(
    name="selective",
    title="Selective copying",
    rule="Letters stand in noise; each ? asks for the next one.",
    symbols=(*LETTERS[:_SELECTIVE_LETTERS], NOISE, ASK),
    answers=range(_SELECTIVE_LETTERS),
    length=_NOISE_LENGTH + _COPIED_LETTERS,
    groups=(range(1, 9), range(9, 15), range(15, 21), range(21, _NOISE_LENGTH + _COPIED_LETTERS)),
    # Only the tokens before it, near or far, tell the nth letter from the others: angles of every
    # size.
    shape={"d_model": 32, "n_layers": 2, "value_factor": 2.0, "rotation_base": 100.0},
    rate=4e-3,
    draw=_selective,
    mamba={"d_model": 32, "n_layers": 2, "state_size": 8, "expand": 3},  # as many numbers
)

TASKS = {task.name: task for task in (COPY, RECALL, BRACKET, INDUCTION, SELECTIVE)}
