"""How well a model recalls earlier text: copying, names and things, second reading.

Three questions, the same for every kind of model:

    copy            rows of random tokens, three times over: what share of the second and of the
                    third pass is the most likely token?
    words           an invented name, or a thing that somebody has, is told in a story and comes
                    again `lag` tokens later: how likely is its first token? Beside it the same text
                    with another name or thing in the first place: the control.
    second reading  by how much does the loss of a passage fall when it is read again, and by how
                    much is it lower at token LATE than at token EARLY of one text?

Names and sentences are written here, and the corpus of the shipped models has none of them. The
stories between are held out from training.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import LanguageModel

COPY_LENGTHS = (8, 32, 64)
LAGS = (8, 16, 32, 64, 128, 256)
NOISY_LAG, NOISES = 64, (0.0, 0.25, 0.5, 0.75, 1.0)
PASSAGE = 128  # tokens that are read twice
EARLY, LATE, AROUND = 50, 500, 10  # tokens whose losses are compared, each with some around it
SEED = 2307_08621
BATCH = 8
NAMES = (
    *("Vosko", "Brindel", "Tamsey", "Orwick", "Jalva", "Quenby", "Ferrun", "Ilsabet"),
    *("Mordaine", "Pellow", "Zarkin", "Thessol", "Dovrel", "Wicklan", "Sundry", "Garvish"),
)
ROLES = ("sailor", "miller", "stranger", "widow", "captain", "tailor", "hunter", "beggar")
THINGS = (
    *("lantern", "kettle", "ladder", "violin", "compass", "hammer", "basket", "feather"),
    *("candle", "saddle", "mirror", "ribbon", "bottle", "drum", "rope", "shovel"),
)
# A statement and its prompt, which the word itself would continue.
PATTERNS = {
    "name": (
        ("Here lives {word}.", "Here lives"),
        ("They addressed me as {word}.", "They addressed me as"),
        ("They had christened the {role} {word}.", "They had christened the {role}"),
        ("On the door of the {role} stood {word}.", "On the door of the {role} stood"),
    ),
    "thing": (
        ("{name} treasured a {word}.", "{name} treasured a"),
        ("{name} had pawned the {word}.", "{name} had pawned the"),
        ("Into the cart {name} put a {word}.", "Into the cart {name} put a"),
        ("Nobody but {name} could mend the {word}.", "Nobody but {name} could mend the"),
    ),
}
_SENTENCE_END = re.compile(r"""[.!?]["'”’_)]*\s*$""")
_SENTENCE_START = re.compile(r"""\s*["'“‘_]*[A-Z]|\s+["“]""")
_TRIES = 20  # per text: some fit no passage of the story


@dataclass(frozen=True)
class CopyRecall:
    """Accuracy in the second and in the third pass over rows of `length` random tokens."""

    length: int
    second: float
    third: float


@dataclass(frozen=True)
class WordRecall:
    """Names or things (`kind`) asked for `lag` tokens after they were told, in `texts` texts.

    noise        share of the tokens between that tell a story; the rest are empty lines
    accuracy     share of texts in which the word's first token is the most likely one
    probability  of that token, on average
    control_*    the same of that token where another word was told
    """

    kind: str
    lag: int
    accuracy: float
    probability: float
    control_accuracy: float
    control_probability: float
    texts: int
    noise: float = 1.0


@dataclass(frozen=True)
class Recall:
    """The results of `measure_recall`.

    second_reading  nats per token by which a passage's loss changes when it is read again; negative
                    is better
    late            loss at token LATE less that at token EARLY; None where no text is so long
    """

    copies: tuple[CopyRecall, ...]
    words: tuple[WordRecall, ...]
    second_reading: float
    late: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return asdict(self)

    def summary(self) -> str:
        """The figures in a line."""
        parts = [
            "copied of rows of "
            + ", ".join(f"{copy.length}: {100 * copy.second:.0f} %" for copy in self.copies)
        ]
        for kind in PATTERNS:
            words = [word for word in self.words if word.kind == kind]
            if words:
                shares = ", ".join(f"{word.lag}: {100 * word.accuracy:.0f} %" for word in words)
                parts.append(f"{kind}s recalled after {shares}")
        parts.append(f"second reading {self.second_reading:+.2f} nats")
        return "; ".join(parts)


def measure_recall(
    model: LanguageModel[Any],
    ids: Tensor,
    samples: int = 32,
    report: Callable[[str, float], None] = lambda _, __: None,
    lags: Sequence[int] = LAGS,
) -> Recall:
    """Ask the model, which has a tokenizer, all three questions; `ids` (1-D) is held-out text.

    `samples` rows, texts and passages are read for each figure; another call reads the same ones.
    Lags for which `ids` has no sentences of that length are left out. `report` is called with the
    current measurement and the share done. Raises ValueError on fewer than two ids.
    """
    if len(ids) < 2:
        raise ValueError(f"recall needs a held-out text of 2 tokens or more, not {len(ids)}")
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            copies = []
            for i, length in enumerate(COPY_LENGTHS):
                report("copying", 0.3 * i / len(COPY_LENGTHS))
                copies.append(_measure_copying(model, length, samples))
            words: list[WordRecall] = []
            story = Story(ids, model.tokenizer)
            for i, (kind, lag) in enumerate((kind, lag) for kind in PATTERNS for lag in lags):
                report("names and things", 0.3 + 0.5 * i / (len(PATTERNS) * len(lags)))
                word = word_recall(model, story, kind, lag, samples)
                words += [word] if word else []
            report("second reading", 0.8)
            second = _measure_second_reading(model, ids, samples)
            late = _measure_late(model, ids, samples)
            report("done", 1.0)
    finally:
        model.train(training)
    return Recall(tuple(copies), tuple(words), second, late)


def recall_by_noise(
    model: LanguageModel[Any],
    ids: Tensor,
    samples: int = 32,
    lag: int = NOISY_LAG,
    shares: Sequence[float] = NOISES,
    kind: str = "thing",
) -> tuple[WordRecall, ...]:
    """The recall of words at one distance, by the share of a story in the tokens between.

    A decay that the text does not change forgets as fast over empty lines as over a story; a
    selective one need not. `ids` (1-D) is held-out text.
    """
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            story = Story(ids, model.tokenizer)
            results = [word_recall(model, story, kind, lag, samples, noise) for noise in shares]
    finally:
        model.train(training)
    return tuple(result for result in results if result)


# -- copying ------------------------------------------------------------------------------------


def _measure_copying(model: LanguageModel[Any], length: int, samples: int) -> CopyRecall:
    generator = torch.Generator().manual_seed(SEED + length)
    row = torch.randint(model.config.vocab_size, (samples, length), generator=generator)
    ids = row.repeat(1, 3)
    is_correct = [
        _logits(model, part).argmax(-1)[:, :-1].cpu() == part[:, 1:] for part in ids.split(BATCH)
    ]
    # The first token of a pass does not count: nothing before it says that a pass ended.
    passes = torch.cat([torch.zeros(samples, 1, dtype=torch.bool), *[torch.cat(is_correct)]], dim=1)
    second, third = (
        passes[:, n * length + 1 : (n + 1) * length].float().mean().item() for n in (1, 2)
    )
    return CopyRecall(length, second, third)


def _logits(model: LanguageModel[Any], ids: Tensor) -> Tensor:
    """ids (B, T) -> float32 logits (B, T, vocab)."""
    device = next(model.parameters()).device
    logits: Tensor = model(ids.to(device)).logits.float()
    return logits


# -- names and things ---------------------------------------------------------------------------


@dataclass(frozen=True)
class RecallQuestion:
    """A text that ends right before the answer, and a control in which another word was told."""

    ids: list[int]
    control: list[int]
    answer: int


def word_recall(
    model: LanguageModel[Any], story: Story, kind: str, lag: int, samples: int, noise: float = 1.0
) -> WordRecall | None:
    """How often the model recalls such words; None where the story has no text for such a lag.

    The model is in evaluation mode. Of the `lag` tokens the share `noise` tells a story.
    """
    tests = list(questions(story, kind, lag, samples, noise))
    if not tests:
        return None
    answers = torch.tensor([test.answer for test in tests])
    accuracy, probability = _score_answers(model, [test.ids for test in tests], answers)
    control = _score_answers(model, [test.control for test in tests], answers)
    return WordRecall(kind, lag, accuracy, probability, *control, len(tests), noise)


def _score_answers(
    model: LanguageModel[Any], texts: list[list[int]], answers: Tensor
) -> tuple[float, float]:
    """How often the answer is the most likely continuation, and its mean probability."""
    parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    logits = torch.cat([_last_logits(model, part) for part in parts])
    probability = logits.softmax(-1).gather(1, answers[:, None]).mean().item()
    return (logits.argmax(-1) == answers).float().mean().item(), probability


def _last_logits(model: LanguageModel[Any], texts: list[list[int]]) -> Tensor:
    """Logits after each text (B, vocab); padding comes after it and is not read."""
    longest = max(map(len, texts))
    rows = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
    last = torch.tensor([len(text) - 1 for text in texts])
    return _logits(model, rows).cpu()[torch.arange(len(texts)), last]


class Story:
    """Token ids (1-D) of a story, as a source of whole sentences."""

    def __init__(self, ids: Tensor, tokenizer: Tokenizer) -> None:
        self.ids = ids
        self.encode = cache(tokenizer.encode)  # questions say the same few things again and again
        self._starts: dict[int, list[int]] = {}
        texts = [tokenizer.decode([token]) for token in range(tokenizer.vocab_size)]
        ends = torch.tensor([bool(_SENTENCE_END.search(text)) for text in texts])[ids.long()]
        begins = torch.tensor([bool(_SENTENCE_START.match(text)) for text in texts])[ids.long()]
        self.bounds = (ends[:-1] & begins[1:]).nonzero().flatten() + 1

    def sentences(self, size: int, generator: Generator) -> list[int] | None:
        """Some whole sentences of together `size` tokens; None where there are none."""
        if size <= 0:
            return [] if size == 0 else None
        if size not in self._starts:
            is_start = torch.isin(self.bounds + size, self.bounds)
            self._starts[size] = self.bounds[is_start].tolist()
        starts = self._starts[size]
        if not starts:
            return None
        start = starts[int(torch.randint(len(starts), (), generator=generator))]
        return list(self.ids[start : start + size].tolist())

    def sentence(self, generator: Generator) -> list[int]:
        """Some sentence; nothing where there is none."""
        if len(self.bounds) < 2:
            return []
        i = int(torch.randint(len(self.bounds) - 1, (), generator=generator))
        return list(self.ids[self.bounds[i] : self.bounds[i + 1]].tolist())


def questions(
    story: Story, kind: str, lag: int, samples: int, noise: float = 1.0
) -> Iterator[RecallQuestion]:
    """Up to `samples` texts in which a word comes again exactly `lag` tokens after it was told.

    Of the tokens between, the share `noise` tells a story, and empty lines stand before it.
    """
    generator = torch.Generator().manual_seed(SEED + lag)
    encode = story.encode
    blank = encode("\n")[:1]
    count = 0
    for n in range(_TRIES * samples):
        statement, prompt = PATTERNS[kind][n % len(PATTERNS[kind])]
        names = _shuffle(NAMES, generator)
        parts = {"role": _shuffle(ROLES, generator)[0], "name": names[0]}
        words = names if kind == "name" else _shuffle(THINGS, generator)
        told, control = (encode(" " + statement.format(word=word, **parts)) for word in words[:2])
        question = encode(" " + prompt.format(**parts))
        # The statement begins as the question does; the next token is the word's first.
        answer = told[len(question)]
        gap = lag - len(told)
        between = story.sentences(round(noise * gap), generator)
        if between is None or told[: len(question)] != question or control[len(question)] == answer:
            continue
        between = [*blank * (gap - len(between)), *between]
        opening = story.sentence(generator)
        yield RecallQuestion(
            [*opening, *told, *between, *question],
            [*opening, *control, *between, *question],
            answer,
        )
        count += 1
        if count == samples:
            return


def _shuffle(words: Sequence[str], generator: Generator) -> list[str]:
    return [words[i] for i in torch.randperm(len(words), generator=generator).tolist()]


# -- second reading -----------------------------------------------------------------------------


def _losses(model: LanguageModel[Any], ids: Tensor) -> Tensor:
    """ids (B, T) -> the loss of each token but the first, (B, T - 1), nats."""
    return torch.cat(
        [
            F.cross_entropy(
                _logits(model, part)[:, :-1].flatten(0, 1).cpu(),
                part[:, 1:].flatten(),
                reduction="none",
            ).view(len(part), -1)
            for part in ids.split(BATCH)
        ]
    )


def _measure_second_reading(model: LanguageModel[Any], ids: Tensor, samples: int) -> float:
    length = min(PASSAGE, len(ids))
    passages = _windows(ids, length, samples)
    losses = _losses(model, passages.repeat(1, 2))
    return (losses[:, length:].mean() - losses[:, : length - 1].mean()).item()


def _measure_late(model: LanguageModel[Any], ids: Tensor, samples: int) -> float | None:
    length = LATE + AROUND + 1
    if len(ids) < length:
        return None
    losses = _losses(model, _windows(ids, length, samples))  # of token n + 1 at n
    late, early = (losses[:, n - 1 - AROUND : n - 1 + AROUND].mean().item() for n in (LATE, EARLY))
    return late - early


def _windows(ids: Tensor, length: int, samples: int) -> Tensor:
    """Up to `samples` windows of `ids`, (samples, length), evenly spread."""
    starts = torch.linspace(0, len(ids) - length, samples).long().unique()
    return torch.stack([ids[start : start + length] for start in starts.tolist()]).long()
