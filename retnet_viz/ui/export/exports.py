"""What is shown, as files to keep: the page, each panel, the trace, the state."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from retnet_viz.checkpoints.files import replaced_file
from retnet_viz.figures.base.figure_parts import Spec
from retnet_viz.trace import Trace
from retnet_viz.ui.core.state import state_file
from retnet_viz.ui.core.state.page_layout import PageLayout, as_names
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.export import PANELS, PICTURES, Painter, View, csv_text, html_page, npz
from retnet_viz.ui.export.snapshot.snapshot import Tell
from retnet_viz.ui.export.snapshot.snapshot_page import page

# What can be kept, and as which kinds of file.
KINDS = {
    "page": ("html", *PICTURES),
    "trace": ("npz", "safetensors"),
    "state": ("json",),
    **dict.fromkeys(PANELS, ("html", *PICTURES, "csv")),
}
FORMATS = tuple(dict.fromkeys(kind for kinds in KINDS.values() for kind in kinds))
MOST_CELLS = 512  # tokens of a plane that is drawn as a figure
_PLANES = ("decay", "retention")
_SCRIPT = "plotly.min.js"  # 5 MB, which the panels' pages of one folder share


@dataclass(frozen=True)
class File:
    """A file by its name."""

    name: str
    content: bytes = field(repr=False)


def view_of(trace: Trace, state: ExplorerState, theme: str) -> View:
    """Where in a trace a state looks."""
    token = state.selected_of(trace.length)
    return View(state.layer, state.heads, state.head, token, state.scale, theme)


def figure(trace: Trace, state: ExplorerState, panel: str, theme: str) -> Spec:
    """A panel as a figure. Raises ValueError where the text has too many tokens for one."""
    if panel in _PLANES and trace.length > MOST_CELLS:
        raise ValueError(
            f"A figure of all cells holds up to {MOST_CELLS} tokens, and this text has "
            f"{trace.length:,}: keep the numbers instead, as csv or npz."
        )
    return PANELS[panel].spec(trace, view_of(trace, state, theme))


def figures(trace: Trace, state: ExplorerState, what: str, theme: str) -> list[Spec]:
    """A panel as a figure; of "page" all panels in reading order, of a long text without planes."""
    if what != "page":
        return [figure(trace, state, what, theme)]
    names = [name for name in PANELS if name not in _PLANES or trace.length <= MOST_CELLS]
    return [figure(trace, state, name, theme) for name in names]


def make_file(
    trace: Trace,
    state: ExplorerState,
    what: str,
    kind: str,
    theme: str = "light",
    tell: Tell | None = None,
    painter: Painter | None = None,
    script: str | None = None,
) -> File:
    """`what` of KINDS as one of its kinds of file; `tell` is as in `recording.record`.

    `painter` draws pictures; one of its own does where it is None. `script` is as in `html_page`:
    the page of a panel holds plotly.js where it is None.

    Raises ValueError where there is no such file of it, or the text is too long for one; ImageError
    where a picture cannot be drawn on this machine.
    """
    if kind not in KINDS.get(what, ()):
        raise ValueError(f"{what!r} cannot be kept as {kind!r}; there are {_list_kinds()}")
    name = f"{what.replace('_', '-')}.{kind}"
    if what == "page" and kind == "html":
        content = page(trace, state, theme, tell).encode()
    elif kind in PICTURES:
        specs = figures(trace, state, what, theme)
        with nullcontext(painter) if painter else Painter() as artist:
            content = artist.sheet(specs, kind) if what == "page" else artist.image(specs[0], kind)
    elif what == "state":
        content = state_file.encode(state.link_parts(), PageLayout()).encode()
    elif kind == "npz":
        content = npz(trace)
    elif kind == "safetensors":
        content = _safetensors(trace)
    elif kind == "csv":
        content = csv_text(PANELS[what].rows(trace, view_of(trace, state, theme))).encode()
    else:
        content = html_page(figure(trace, state, what, theme), script).encode()
    return File(name, content)


def export(
    trace: Trace,
    folder: str | Path,
    formats: str | Iterable[str] = ("html", "csv", "npz", "json"),
    panels: str | Iterable[str] | None = None,
    *,
    theme: str = "light",
    tell: Callable[[str, int, int], None] | None = None,
    **fields: Any,
) -> list[Path]:
    """Write what is shown of a trace into `folder`, and give the paths of the files.

    "html" is the page, which works by itself, and a page for each panel: these need no network, but
    `plotly.min.js`, which is written once beside them. "png" and "svg" are a sheet of all panels,
    and each of them; "csv" is of each panel; "npz" and "safetensors" are of the trace, "json" is
    the state. `panels` names some of the panels: all where it is None, and an empty one leaves the
    page, the trace and the state. `fields` are those of ExplorerState: layer, heads, head, token,
    scale.

    `tell(name, done, total)` is called before each file. A file is whole or not there. Raises
    ValueError on an unknown format or panel, a field out of range or a text that is too long for a
    file, ImageError where pictures cannot be drawn.
    """
    settings = {"text": "".join(trace.tokens), "mode": trace.mode, "chunk_size": trace.chunk_size}
    state = ExplorerState(**{**settings, **fields}).checked(trace.config)
    if (state.token or 0) >= trace.length:
        raise ValueError(f"token must lie in 0 .. {trace.length - 1}, not {state.token}")
    files = list(_select_files(as_names(formats), None if panels is None else as_names(panels)))
    paths = []
    with Painter() as painter:
        make = partial(make_file, trace, state, theme=theme, painter=painter, script=_SCRIPT)
        tasks: list[tuple[str, Callable[[], File]]] = []
        if any(what in PANELS and kind == "html" for what, kind in files):
            tasks.append((_SCRIPT, _plotly_script))
        tasks += [(f"{what}.{kind}", partial(make, what, kind)) for what, kind in files]
        for i, (name, make_one) in enumerate(tasks):
            if tell is not None:
                tell(name, i, len(tasks))
            file = make_one()
            with replaced_file(Path(folder) / file.name) as scratch:
                scratch.write_bytes(file.content)
            paths.append(Path(folder) / file.name)
    return paths


def _plotly_script() -> File:
    return File(_SCRIPT, get_plotlyjs().encode())


def _select_files(
    formats: tuple[str, ...], panels: tuple[str, ...] | None
) -> Iterator[tuple[str, str]]:
    for kind in formats:
        if kind not in FORMATS:
            raise ValueError(f"unknown format {kind!r}; there are {', '.join(FORMATS)}")
    for panel in panels or ():
        if panel not in PANELS:
            raise ValueError(f"unknown panel {panel!r}; there are {', '.join(PANELS)}")
    for what, kinds in KINDS.items():
        if what not in PANELS or panels is None or what in panels:
            yield from ((what, kind) for kind in formats if kind in kinds)


def _list_kinds() -> str:
    return "; ".join(f"{what} as {', '.join(kinds)}" for what, kinds in KINDS.items())


def _safetensors(trace: Trace) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.safetensors"
        trace.save(path)
        return path.read_bytes()
