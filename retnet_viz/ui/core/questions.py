"""Questions of the page to the kernel, as `request.js` asks them: every one is answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

HEARTBEAT = 5.0  # seconds between two messages that an answer is still being computed

Answer = Mapping[str, Any] | tuple[Mapping[str, Any], Sequence[bytes]]


class Unanswerable(Exception):
    """What was asked for is not there; the message says so to the reader of the page."""


class Reply:
    """Answers a question of the page later, from any thread; until then it sends heartbeats."""

    def __init__(self, widget: Any, question: Any) -> None:
        self._widget = widget
        self._question = question
        self._finished = threading.Event()
        self._sending = threading.Lock()  # nothing comes after the answer
        threading.Thread(target=self._send_heartbeats, daemon=True).start()

    def _send_heartbeats(self) -> None:
        while not self._finished.wait(HEARTBEAT):
            self.progress()

    def progress(self, **fields: Any) -> None:
        """Say how far the work is, in fields of JSON; nothing once it was answered."""
        with self._sending:
            if not self._finished.is_set():
                self._widget.send({"continues": self._question, **fields})

    def answer(self, content: Mapping[str, Any], buffers: Sequence[bytes] = ()) -> None:
        """Give the answer."""
        with self._sending:
            self._finished.set()
            self._widget.send({"answers": self._question, **content}, buffers=list(buffers))

    def refuse(self, reason: str) -> None:
        """Say why there is no answer."""
        self.answer({"error": reason})


def answer_questions(
    widget: Any,
    answers: Mapping[str, Callable[[Any], Answer]],
    later: Mapping[str, Callable[[Any, Reply], None]] | None = None,
) -> None:
    """Have a widget answer `{"question": id, "ask": name, "about": value}`: `answers[name](value)`.

    The page waits for what is sent back: `{"answers": id}` with the fields of the answer, and its
    buffers; or with an "error", also where a name means nothing or the answer raises. What takes
    long is begun by `later[name](value, reply)`; then `reply` answers.
    """

    def receive(_widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict) or "question" not in content:
            return
        question, name, about = (content.get(key) for key in ("question", "ask", "about"))
        if isinstance(name, str) and later and name in later:
            _begin(later[name], about, Reply(widget, question))
        else:
            fields, buffers = _answer(answers, name, about)
            widget.send({"answers": question, **fields}, buffers=list(buffers))

    widget.on_msg(receive)


def _begin(begin: Callable[[Any, Reply], None], about: Any, reply: Reply) -> None:
    try:
        begin(about, reply)
    except Exception as error:
        reply.refuse(_error_text(error, about))


def _answer(
    answers: Mapping[str, Callable[[Any], Answer]], name: Any, about: Any
) -> tuple[Mapping[str, Any], Sequence[bytes]]:
    answer = answers.get(name) if isinstance(name, str) else None
    if answer is None:
        return {"error": f"Nothing here answers {name!r}."}, ()
    try:
        content = answer(about)
    except Exception as error:
        return {"error": _error_text(error, about)}, ()
    return content if isinstance(content, tuple) else (content, ())


def _error_text(error: Exception, about: Any) -> str:
    """The message for the page about an answer that raised."""
    if isinstance(error, Unanswerable):
        return str(error)
    logging.getLogger(__name__).error("a question about %s failed", about, exc_info=error)
    return f"This could not be computed ({type(error).__name__}: {error})."
