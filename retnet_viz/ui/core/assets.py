"""The browser's side of a widget: its ES module and its style sheet, as anywidget takes them."""

from __future__ import annotations

import re
from pathlib import Path

from retnet_viz.figures.base.theme import PAGE_COLORS

_FOLDER = Path(__file__).parents[1]
_SHARED = ("page", "buttons", "controls", "page_panels", "head", "present")
_IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default\b)", re.MULTILINE)
_TYPES = re.compile(r"^[ ]*/\*\*(?:(?!\*/).)*\*/\n", re.MULTILINE | re.DOTALL)


def module(name: str) -> str:
    """The ES module `name`, from the folder `ui/`, with all that it imports in front of it.

    anywidget takes one module per widget, which cannot import the files beside it. So each file
    that is imported stands in it once, without its exports and without the comments that give
    types, which would be a third of what a page loads; no two may give a name at the top.
    Raises FileNotFoundError where a file is missing.
    """
    return "\n".join(_join((_FOLDER / name).resolve(), set()))


def _join(path: Path, seen: set[Path]) -> list[str]:
    """The sources of a file and of what it imports, each once, in the order of their use."""
    if path in seen:
        return []
    seen.add(path)
    source = path.read_text(encoding="utf-8")
    parts = [
        part
        for other in _IMPORT.findall(source)
        for part in _join((path.parent / other).resolve(), seen)
    ]
    for pattern in (_IMPORT, _EXPORT, _TYPES):
        source = pattern.sub("", source)
    return [*parts, source]


def page_style(name: str = "") -> str:
    """The style sheet of a page: what all pages share, then the page's own, `styles/NAME.css`.

    Raises FileNotFoundError where it has none.
    """
    own_sheets = [f"styles/{name}.css"] if name else []
    return page_colors() + style(*(f"styles/{shared}.css" for shared in _SHARED), *own_sheets)


def page_colors() -> str:
    """A style sheet that gives a page, live or saved, the colours of its theme."""
    page = ':is(.rv-explorer, body[data-voila="recorded"])'
    light, dark = (
        "".join(f"--rv-{name}:{color[theme]};" for name, color in PAGE_COLORS.items())
        for theme in ("light", "dark")
    )
    return f'{page}{{{light}}}\n{page}[data-theme="dark"]{{{dark}}}\n'


def style(*names: str) -> str:
    """The style sheets `names`, from the folder `ui/`, one after the other.

    Raises FileNotFoundError where a file is missing.
    """
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)
