"""Small tasks that ask how far back a model can look: each answer has a source, some lag away.

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

UNASKED = -100  # a target that no loss counts, as torch's cross-entropy has it
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Batch:
    """Sequences with questions in them.

    ids      (B, T) long
    targets  (B, T) long: the answer at each position that asks for one, else UNASKED
    lags     (B, T) long: how many tokens before the asking position its answer's source stands, 0
             for the position itself; -1 where nothing is asked
    """

    ids: Tensor
    targets: Tensor
    lags: Tensor

    @property
    def asked(self) -> Tensor:
        """(B, T) bool: the positions that count."""
        return self.targets != UNASKED

    def __getitem__(self, rows: slice) -> Batch:
        return Batch(self.ids[rows], self.targets[rows], self.lags[rows])


@dataclass(frozen=True)
class Task:
    """A kind of sequence, how it is written, and the model that learns it.

    rule      what is asked, in a sentence
    symbols   what each token id is written as
    answers   the ids that can be answers; guessing is right once in so many
    length    T
    groups    which lags are looked at together
    shape     fields of RetNetConfig in which the model for this task differs from the usual one
    rate      learning rate
    mamba     fields of MambaConfig, where a Mamba learns from the same rows beside the RetNet
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
        """The place in `groups` of each of `lags`, -1 where none holds it."""
        places = torch.full_like(lags, -1)
        for place, group in enumerate(self.groups):
            places[(lags >= group.start) & (lags < group.stop)] = place
        return places


def group_name(group: range) -> str:
    """A group of lags as it is written: 4, or 5–8."""
    return f"{group.start}" if len(group) == 1 else f"{group.start}–{group.stop - 1}"


def _unasked(ids: Tensor) -> tuple[Tensor, Tensor]:
    return torch.full_like(ids, UNASKED), torch.full_like(ids, -1)


def _shuffled(count: int, of: int, generator: Generator) -> Tensor:
    """`count` random orders of 0 .. of - 1, (count, of)."""
    return torch.rand(count, of, generator=generator).argsort(-1)


# -- copy ---------------------------------------------------------------------------------------

COPY_LAGS = (1, 2, 4, 8, 16, 32)
_COPY_LETTERS = 8
_COPY_LENGTH = 56
_ASKING = 0.4  # of the tokens


def _copy(count: int, generator: Generator) -> Batch:
    shape = (count, _COPY_LENGTH)
    ids = torch.randint(_COPY_LETTERS, shape, generator=generator)
    asks = torch.rand(shape, generator=generator) < _ASKING
    asks[:, 0] = False
    lags = torch.tensor(COPY_LAGS)
    sources = torch.arange(_COPY_LENGTH)[:, None] - lags  # (T, lags)
    reachable = (sources >= 0) & ~asks[:, sources.clamp(min=0)]  # (B, T, lags)
    asks &= reachable.any(-1)
    # Among the lags that end at a letter, each is as likely as another.
    choice = (torch.rand(reachable.shape, generator=generator) * reachable).argmax(-1)
    source = sources.expand(count, -1, -1).gather(-1, choice[..., None])[..., 0].clamp(min=0)
    targets, asked = _unasked(ids)
    targets[asks] = ids.gather(1, source)[asks]
    asked[asks] = lags[choice][asks]
    ids[asks] = _COPY_LETTERS + choice[asks]
    return Batch(ids, targets, asked)


COPY = Task(
    name="copy",
    title="Copy",
    rule="?k asks for the letter k tokens before it.",
    symbols=(*LETTERS[:_COPY_LETTERS], *(f"?{lag}" for lag in COPY_LAGS)),
    answers=range(_COPY_LETTERS),
    length=_COPY_LENGTH,
    groups=tuple(range(lag, lag + 1) for lag in COPY_LAGS),
    # What is read is a distance: the angles reach from 1 to nearly pi a token, so that even
    # neighbours are told apart.
    shape={"d_model": 64, "n_layers": 1, "value_factor": 1.0, "rotation_base": 0.35},
    rate=4e-4,  # it would be learned before one sees it with more
    draw=_copy,
)

# -- associative recall -------------------------------------------------------------------------

_PAIRS = 16
_KEYS = 5
_VALUES = 5


def _recall(count: int, generator: Generator) -> Batch:
    # Sequences with few keys, which come again soon, are what the others are learned from.
    given = torch.randint(_VALUES, (count, _KEYS), generator=generator)
    used = torch.randint(2, _KEYS + 1, (count, 1), generator=generator)
    among = (torch.rand(count, _PAIRS, generator=generator) * used).long()
    keys = _shuffled(count, _KEYS, generator).gather(1, among)
    values = _KEYS + given.gather(1, keys)
    ids = torch.stack((keys, values), -1).flatten(1)
    targets, lags = _unasked(ids)
    pair = torch.arange(_PAIRS)
    same = keys[:, :, None] == keys[:, None, :]  # (B, pairs, earlier pairs)
    earlier = same & (pair[None, :] < pair[:, None])
    last = torch.where(earlier, pair, -1).amax(-1)
    seen = last >= 0
    targets[:, ::2][seen] = values[seen]
    lags[:, ::2][seen] = (2 * pair - (2 * last + 1))[seen]
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
    opened = torch.zeros(count, _DEPTH + 1, dtype=torch.long)  # positions, by depth
    depth = torch.zeros(count, dtype=torch.long)
    rows = torch.arange(count)
    kind = torch.randint(kinds, ids.shape, generator=generator)
    wants = torch.rand(ids.shape, generator=generator) < 0.5
    for n in range(ids.shape[1]):
        closes = (depth > 0) & (wants[:, n] | (depth == _DEPTH))
        depth = depth - closes.long()
        source[:, n] = opened[rows, depth]
        ids[:, n] = torch.where(closes, kinds + ids[rows, source[:, n]], kind[:, n])
        opened[rows[~closes], depth[~closes]] = n
        depth = depth + (~closes).long()
    targets, lags = _unasked(ids[:, 1:])
    closing = ids[:, 1:] >= kinds
    targets[closing] = ids[:, 1:][closing]
    lags[closing] = (torch.arange(_BRACKETS_LENGTH) - source[:, 1:])[closing]
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
    targets, lags = _unasked(ids[:, 1:])
    asked = position[:-1] >= periods
    targets[asked] = ids[:, 1:][asked]
    lags[asked] = (periods - 1).expand(lags.shape)[asked]
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

_MARKED = 4  # letters to remember
_MARKED_LETTERS = 8
_AMONG = 28  # tokens, with the noise
NOISE, ASK = "·", "?"


def _selective(count: int, generator: Generator) -> Batch:
    places = _shuffled(count, _AMONG, generator)[:, :_MARKED].sort(-1).values
    letters = torch.randint(_MARKED_LETTERS, (count, _MARKED), generator=generator)
    ids = torch.full((count, _AMONG + _MARKED), _MARKED_LETTERS)
    ids.scatter_(1, places, letters)
    ids[:, _AMONG:] = _MARKED_LETTERS + 1
    targets, lags = _unasked(ids)
    targets[:, _AMONG:] = letters
    lags[:, _AMONG:] = _AMONG + torch.arange(_MARKED) - places
    return Batch(ids, targets, lags)


SELECTIVE = Task(
    name="selective",
    title="Selective copying",
    rule="Letters stand in noise; each ? asks for the next one.",
    symbols=(*LETTERS[:_MARKED_LETTERS], NOISE, ASK),
    answers=range(_MARKED_LETTERS),
    length=_AMONG + _MARKED,
    groups=(range(1, 9), range(9, 15), range(15, 21), range(21, _AMONG + _MARKED)),
    # The nth letter is to be told from the others by what stands before it, near or far: angles of
    # every size.
    shape={"d_model": 32, "n_layers": 2, "value_factor": 2.0, "rotation_base": 100.0},
    rate=4e-3,
    draw=_selective,
    mamba={"d_model": 32, "n_layers": 2, "state_size": 8, "expand": 3},  # as many numbers
)

TASKS = {task.name: task for task in (COPY, RECALL, BRACKET, INDUCTION, SELECTIVE)}
