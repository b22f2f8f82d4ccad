"""Plain text as Markdown that shows it word by word."""

from __future__ import annotations

import re
from html import escape

# A line of a list in a docstring: names, two spaces or more, what they mean.
_ENTRY = re.compile(r"(\w+(?:, \w+)*) {2,}(\S.*)")
_CODE = re.compile(r"(`[^`]*`)")
# What Markdown would take for emphasis or a link, and what for HTML.
_MARKS = re.compile(r"\*(?=\S)|(?<=\S)\*|_(?!\w)|(?<!\w)_|\](?=[(\[])")
_HTML = re.compile(r"<|&(?=[\w#])")


def markdown_of(docstring: str) -> str:
    """A docstring as Markdown: its words as they are, lists as lists, formulas as formulas."""
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", docstring.strip("\n")))


def escaped(text: str) -> str:
    """Text in which only what stands in backticks has a meaning to Markdown."""
    return "".join(
        part if part.startswith("`") else _HTML.sub(_entity, _MARKS.sub(r"\\\g<0>", part))
        for part in _CODE.split(text)
    )


def _entity(sign: re.Match[str]) -> str:
    return escape(sign[0])


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    if all(line.startswith("    ") for line in lines):
        return "```text\n" + "\n".join(line[4:] for line in lines) + "\n```"
    items: list[str] = []
    for line in lines:
        if found := _ENTRY.fullmatch(line):
            items.append(f"- `{found[1]}` {escaped(found[2])}")
        elif items and line.startswith("  "):
            items[-1] += f" {escaped(line.strip())}"
        else:
            return escaped(text)  # two spaces in a sentence make no list
    return "\n".join(items)
