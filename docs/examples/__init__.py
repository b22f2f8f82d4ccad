"""An example for each public function: the Markdown files of this folder, one per layer.

Under a heading, the function's name, stands a session of Python as `doctest` reads it; a test runs
all of them. All begin after SETUP, in the folder of the repository.
"""

from __future__ import annotations

import doctest
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

FOLDER = Path(__file__).parent
START = """\
import retnet_viz as rv

model = rv.load()
trace = rv.trace(model, "Once upon a time there was a king")
"""
SETUP = f"""\
import tempfile
from pathlib import Path

{START}folder = Path(tempfile.mkdtemp())
"""


def examples_in(layer: str) -> dict[str, str]:
    """The sessions of a layer, by the full name of their function."""
    found: dict[str, str] = {}
    name = ""
    path = FOLDER / f"{layer}.md"
    for block in MarkdownIt().parse(path.read_text(encoding="utf-8")) if path.exists() else []:
        if block.type == "inline":
            name = block.content
        elif block.type == "fence":
            assert name not in found, f"{name} has two examples"
            found[name] = block.content
    return found


@cache
def all_examples() -> dict[str, str]:
    """The sessions of all layers, by the full name of their function."""
    return {
        name: session
        for path in sorted(FOLDER.glob("*.md"))
        for name, session in examples_in(path.stem).items()
    }


def code_of(session: str) -> str:
    """The statements of a session that print nothing."""
    examples = doctest.DocTestParser().get_examples(session)
    return "".join(example.source for example in examples if not example.want)
