"""Questions of the page to the kernel, as `request.js` asks them: every one is answered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Answer = Mapping[str, Any] | tuple[Mapping[str, Any], Sequence[bytes]]


class Unanswerable(Exception):
    """What was asked for is not there; the message says so to the reader of the page."""


def answer_questions(widget: Any, answers: Mapping[str, Callable[[Any], Answer]]) -> None:
    """Have a widget answer `{"question": id, "ask": name, "about": value}`: `answers[name](value)`.

    The page waits for what is sent back: `{"answers": id}` with the fields of the answer, and its
    buffers; or with an "error", also where a name means nothing or the answer raises.
    """

    def receive(_widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict) and "question" in content:
            found, buffers = _answered(answers, content.get("ask"), content.get("about"))
            widget.send({"answers": content["question"], **found}, buffers=list(buffers))

    widget.on_msg(receive)


def _answered(
    answers: Mapping[str, Callable[[Any], Answer]], name: Any, about: Any
) -> tuple[Mapping[str, Any], Sequence[bytes]]:
    answer = answers.get(name) if isinstance(name, str) else None
    if answer is None:
        return {"error": f"Nothing here answers {name!r}."}, ()
    try:
        found = answer(about)
    except Unanswerable as error:
        return {"error": str(error)}, ()
    except Exception as error:
        logging.getLogger(__name__).exception("the question %s(%s) failed", name, about)
        return {"error": f"This could not be computed ({type(error).__name__}: {error})."}, ()
    return found if isinstance(found, tuple) else (found, ())
