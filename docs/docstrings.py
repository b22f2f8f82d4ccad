"""What mkdocstrings shows of a public name: its docstring as Markdown, and its example."""

from __future__ import annotations

from typing import Any

import griffe

from docs.examples import all_examples
from docs.plain_text import markdown_of
from docs.reference import LAYERS, full_name, names, path


class PublicDocstrings(griffe.Extension):
    """Docstrings are plain text; the examples stand in docs/examples/."""

    def __init__(self) -> None:
        examples = all_examples()
        self._examples = {
            path(layer, name): examples[full_name(layer, name)]
            for layer in LAYERS
            for name in names(layer)
            if full_name(layer, name) in examples
        }

    def on_object(self, *, obj: griffe.Object, **options: Any) -> None:
        """Rewrite the docstring of an object that was read from the source."""
        if obj.docstring is None:
            return
        obj.docstring.value = markdown_of(obj.docstring.value)
        if example := self._examples.get(obj.path):
            obj.docstring.value += f"\n\nExample:\n\n```pycon\n{example}```"

    def on_function(self, *, func: griffe.Function, **options: Any) -> None:
        """Give a figure's function the type that its decorator makes of what the code returns."""
        if any(str(decorator.value) == "Drawing" for decorator in func.decorators):
            func.returns = "go.Figure"
