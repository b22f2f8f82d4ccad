"""The text goes on by itself: tokens are drawn one by one, each after the last one is painted."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import torch
from torch import Tensor

from retnet_viz.model import RetNet
from retnet_viz.model.generate import sample
from retnet_viz.trace import Trace
from retnet_viz.ui.core import messages
from retnet_viz.ui.panels.go_on import GoOn, Sampling

MOST = 500  # tokens of one run
MOST_PARTS = 8  # tokens that are waited for until they are whole characters: these have 4 bytes
_CONTEXT = 4  # tokens before the new ones with which these are decoded


class Page(Protocol):
    """What the loop needs of the page whose text goes on."""

    @property
    def trace(self) -> Trace | None:
        """The text as it was read."""

    @property
    def full_text(self) -> str:
        """The text, also where it is still being read."""

    @property
    def is_reading(self) -> bool:
        """Whether a text is being read in a thread."""

    @property
    def max_tokens(self) -> int:
        """Of how many tokens a text is read."""

    def append_text(self, piece: str, gesture: str) -> None:
        """Add what the model wrote, in one step of undo with what had the same gesture."""

    def say(self, sentence: str) -> None:
        """Say how a run ended, as HTML; "" for nothing."""


class Continuation:
    """The loop, and the controls that begin and end it. For the main thread only.

    A run ends after its last token, where another text is shown, where something fails, and by
    `stop`. It does not go on before the browser has painted a token, so that nothing is queued and
    "stop" is heard at once. With a seed it draws what `rv.generate` draws.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self.controls = GoOn()
        self.controls.on_command = self._on_command
        self.controls.on_painted = self._go_on
        self._runs = 0
        self._is_on = False
        self._left = 0  # tokens
        self._count = 0  # tokens that were written in this run
        self._expected = ""  # the text, if nobody else edits it
        self._generator: torch.Generator | None = None

    @property
    def is_on(self) -> bool:
        """Whether the text goes on."""
        return self._is_on

    def one(self) -> None:
        """Write one token; more where it is only a part of a character."""
        self._begin(1)

    def start(self) -> None:
        """Write until `stop`, or the limit."""
        self._begin(MOST)

    def stop(self, sentence: str = "") -> None:
        """Write no more tokens, and say why, where that is not plain."""
        if not self._is_on:
            return
        self._is_on = self.controls.running = False
        self.controls.status = f"{_tokens(self._count)} written. {sentence}".strip()
        if sentence:
            self._page.say(messages.told(sentence))

    def take(self, token_id: int) -> None:
        """Append a token that the user chose among the predictions."""
        self.stop()
        if (trace := self._page.trace) is None or self._page.is_reading:
            return
        piece = decode_after(trace, [token_id])
        if piece:
            self._page.append_text(piece, "")
        else:
            self._page.say(
                messages.warning("This token is only a part of a character: it cannot stand alone.")
            )

    def text_shown(self) -> None:
        """Go on, once the browser is ready, after the page has drawn a text."""
        self.controls.ready = self._page.trace is not None
        if not self._is_on:
            return
        if self._page.full_text != self._expected:
            self.stop()
        elif self._left > 0:
            self.controls.wait_for_paint()
        else:
            self.stop("" if self._count < MOST else f"Stopped after {_tokens(self._count)}.")

    def _on_command(self, what: str) -> None:
        {"one": self.one, "go on": self.start, "stop": self.stop}[what]()

    def _begin(self, count: int) -> None:
        trace, problems = self._page.trace, self.controls.problems
        if self._is_on or trace is None:
            return
        if problems:
            self._page.say(messages.warning(" ".join(problems.values())))
            return
        self._runs += 1
        self._left, self._count = count, 0
        self._expected = self._page.full_text
        self._generator = _generator(self.controls.sampling, trace.ids.device)
        self._is_on = True
        self.controls.running = count > 1
        self._go_on()

    def _go_on(self) -> None:
        """Write the next token; nobody sees what a callback raises, so the page says it."""
        if not self._is_on:
            return
        try:
            self._write_next()
        except Exception as error:
            logging.getLogger(__name__).exception("the text could not go on")
            self.stop()
            self._page.say(messages.failure(error))

    def _write_next(self) -> None:
        page, trace = self._page, self._page.trace
        if page.is_reading:  # in a thread, and text_shown comes after it
            return
        if trace is None or page.full_text != self._expected:
            self.stop()
            return
        if trace.length >= page.max_tokens:
            self.stop(f"Stopped: no text of more than {page.max_tokens:,} tokens is shown.")
            return
        piece, count = self._draw(trace)
        self._left -= count
        self._count += count
        if not piece:
            self.stop(f"Stopped: {count} tokens in a row are no whole character.")
            return
        self._expected += piece
        shown = self.controls.number
        page.append_text(piece, f"go on {self._runs}")
        if self._is_on and self.controls.number == shown and not page.is_reading:
            self.stop()  # it could not be shown, and the page has said why

    def _draw(self, trace: Trace) -> tuple[str, int]:
        """What comes next, and how many tokens it is; "" where they are no whole characters."""
        ids: list[int] = []
        logits, state = trace.logits_after(-1)[None], None
        while True:
            sampling = self.controls.sampling
            token = sample(
                logits, sampling.temperature, sampling.top_k, sampling.top_p, self._generator
            )
            ids.append(int(token))
            piece = decode_after(trace, ids)
            if piece or len(ids) == MOST_PARTS:
                return piece, len(ids)
            # A part of a character is no text yet: the model reads it on the carried state.
            assert isinstance(trace.model, RetNet)
            logits, state = _read(trace.model, token, state or trace.end_state)


@torch.inference_mode()
def _read(model: RetNet, token: Tensor, state: object) -> tuple[Tensor, object]:
    """The logits (1, vocab) after a token (1,), and the state after it."""
    output = model(token[:, None], state, mode="recurrent")
    return output.logits[:, -1], output.state


def decode_after(trace: Trace, ids: list[int]) -> str:
    """The text of tokens that follow a text; "" where they end inside a character.

    They are decoded with a few tokens before them: some tokenizers begin a text without its space.
    """
    tokenizer: Any = trace.model.tokenizer
    before = trace.ids[-_CONTEXT:].tolist()
    start, whole = str(tokenizer.decode(before)), str(tokenizer.decode(before + ids))
    if whole.endswith("\ufffd"):
        return ""
    return whole[len(start) :] if whole.startswith(start) else str(tokenizer.decode(ids))


def _generator(sampling: Sampling, device: torch.device) -> torch.Generator | None:
    if sampling.seed is None:
        return None
    return torch.Generator(device=device).manual_seed(sampling.seed)


def _tokens(count: int) -> str:
    return f"{count:,} token{'' if count == 1 else 's'}"
