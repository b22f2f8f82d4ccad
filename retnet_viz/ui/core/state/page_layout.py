"""How a page is laid out: which panels it leaves out, and whether it is for a projector."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

# The areas of all pages that can be hidden, and what a person calls them.
NAMES = {
    "text": "text",
    "control": "controls",
    "strip": "tokens",
    "next": "next token",
    "whatif": "what if",
    "decay": "decay",
    "weights": "retention weights",
    "norms": "state norms",
    "stage": "the mode at work",
    "cost": "cost",
    "agree": "agreement of the modes",
    "views": "choice of view",
    "columns": "models",
    "decays": "decay per token",
    "recall": "what is recalled",
}


def as_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Several names, or a single one, as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)


@dataclass(frozen=True)
class PageLayout:
    """`hide` names the areas that are not shown; `present` is the view for the back row."""

    hide: tuple[str, ...] = ()
    present: bool = False

    def query(self) -> str:
        """As it stands in an address: `hide=cost,agree&present=1`, "" for the usual look."""
        hidden = [f"hide={','.join(self.hide)}"] if self.hide else []
        return "&".join([*hidden, *(["present=1"] if self.present else [])])

    def for_panels(self, panels: Container[str]) -> tuple[PageLayout, list[str]]:
        """This look on a page that has these panels, and the names of those that it lacks."""
        known = tuple(dict.fromkeys(name for name in self.hide if name in panels))
        return replace(self, hide=known), [name for name in self.hide if name not in panels]


def read_page_layout(query: str) -> tuple[PageLayout, list[str]]:
    """The look that a query names, and the names of its parameters that mean nothing."""
    parameters = parse_qs(query, keep_blank_values=True)
    names = [name.strip() for part in parameters.get("hide", []) for name in part.split(",")]
    present = parameters.get("present", ["0"])[0]
    look = PageLayout(tuple(name for name in names if name), present == "1")
    return look, [] if present in ("0", "1") else ["present"]
