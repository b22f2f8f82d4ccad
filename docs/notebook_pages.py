"""Notebooks as pages: their text, their code, and the results that are stored in them.

Nothing is run. Of a result the richest form that a page can hold is shown: a picture, a table, else
text; a widget needs a kernel and is left out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
ABOUT = "*This page shows `notebooks/{name}`; `make lab` opens it to be run.*"
# Types of pictures -> endings of their files. Text is stored as it is, the others in base64.
_PICTURES = {
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/webp": "webp",
    "image/jpeg": "jpg",
}
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def notebooks() -> list[Path]:
    """The notebooks in their order."""
    return sorted(FOLDER.glob("*.ipynb"))


def page(path: Path) -> dict[str, str | bytes]:
    """The page of a notebook and its pictures, by their places in the site."""
    notebook = nbformat.read(path, as_version=4)
    made: dict[str, str | bytes] = {}
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.replace("](../docs/", "](../"))
        elif cell.cell_type == "code":
            parts.append(_fenced("python", cell.source))
            for output in cell.outputs:
                number = sum(isinstance(each, bytes) for each in made.values())
                parts += _shown(output, f"{path.stem}-{number}", made)
    title, _, rest = "\n\n".join(parts).partition("\n")
    text = f"{title}\n\n{ABOUT.format(name=path.name)}\n{rest}\n"
    return {f"notebooks/{path.stem}.md": text, **made}


def _shown(output: Any, name: str, made: dict[str, str | bytes]) -> Iterator[str]:
    """A result as Markdown; its picture, if it is one, goes to `made`."""
    if output.output_type == "stream":
        yield _text(output.text)
        return
    if output.output_type == "error":
        yield _text("\n".join(output.traceback))
        return
    data = output.data
    for kind, ending in _PICTURES.items():
        if kind in data:
            content = data[kind]
            as_text = kind == "image/svg+xml"
            made[f"notebooks/{name}.{ending}"] = (
                content.encode() if as_text else base64.b64decode(content)
            )
            yield f"![{_described(data)}]({name}.{ending})"
            return
    if "text/html" in data and "<script" not in data["text/html"]:
        on_one_line = re.sub(r"\n\s*", " ", data["text/html"])
        yield f'<div class="cell-result">{on_one_line}</div>'
    elif "text/plain" in data and "application/vnd.jupyter.widget-view+json" not in data:
        yield _text(data["text/plain"])


def _described(data: Any) -> str:
    """What a picture is, for those who cannot see it."""
    said = " ".join(data.get("text/plain", "").split())
    return re.sub(r"[\[\]<>]", "", said)[:200] or "Result of the cell above"


def _text(content: str) -> str:
    return f'<pre class="cell-result">{escape(_COLOR.sub("", content).rstrip())}</pre>'


def _fenced(language: str, code: str) -> str:
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", code)), 3)
    return f"{fence}{language}\n{code}\n{fence}"
