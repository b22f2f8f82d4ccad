"""The front-end source of a widget, joined from files that share helpers."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[1]


def script(*names: str) -> str:
    """The files `names`, from the folder `ui/`, one after the other as one source.

    anywidget takes one module and one style sheet per widget, which cannot import files beside
    them. So `common.js` exports nothing and stands first: `script("panels/common.js", ...)`.
    Raises FileNotFoundError where a file is missing.
    """
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)
