"""Draw the house: write docs/architecture.md from the code as it is.

    .venv/bin/python -m docs.architecture

The rooms are the packages with their docstrings; the walks are the stacks of a keystroke and of a
hover, recorded while they happen.
"""

from __future__ import annotations

import ast
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import retnet_viz as rv
from retnet_viz.model import RetNet
from retnet_viz.trace import Trace

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "retnet_viz"
PAGE = ROOT / "docs" / "architecture.md"
TEXT = "The old man and the sea"
ABOUT = """\
# The house

Made from the code by `docs/architecture.py` (`make docs`); a test keeps it equal to the code.

A text goes down through these layers and comes up as pictures. A layer imports those below it and
none above; `lint-imports`, a part of `make check`, keeps it so. Inside `ui`, pages compose panels,
and panels know no page.
"""
KEYSTROKE = """\
## One keystroke

The browser sends what the text box holds. These functions are on the stack when the model begins
to read, the caller first, each with what it is there for. What comes back is a `Result` with a
trace of the text; `TextPage` draws every panel from it, each by a function of `figures`, and the
panels send themselves to the browser.
"""
HOVER = """\
## One hover

`heatmap.js` finds the cell under the pointer and asks the kernel for it, one question at a time.
These functions are on the stack when the trace looks the cell up; the sentence goes back to the
panel, which shows it below the picture.
"""


def layers() -> list[str]:
    """The packages from the highest to the lowest, as the import contract has them."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [
        each
        for each in content["tool"]["importlinter"]["contracts"]
        if "containers" not in each and each["type"] == "layers"
    ]
    return [name.removeprefix("retnet_viz.") for name in contract["layers"]]


def summary(path: Path) -> str:
    """The first line of a module's docstring."""
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return said.partition("\n")[0]


def rooms() -> list[str]:
    """A line for each layer and for each room in it, with the number of its Python files."""
    lines = []
    for layer in layers():
        folder = PACKAGE / layer
        if not folder.is_dir():
            lines.append(f"{layer + '.py':<34}{summary(PACKAGE / f'{layer}.py')}")
            continue
        lines.append(f"{layer + '/':<34}{summary(folder / '__init__.py')}")
        lines += rooms_in(folder, 1)
    return lines


def rooms_in(folder: Path, depth: int) -> list[str]:
    """A line for each room of a folder and for those within them, indented by their depth."""
    lines = []
    for room in sorted(each for each in folder.iterdir() if (each / "__init__.py").exists()):
        files = [each for each in room.glob("*.py") if each.name != "__init__.py"]
        name = f"{'    ' * depth}{room.name}/ ({len(files)})"
        lines.append(f"{name:<34}{summary(room / '__init__.py')}")
        lines += rooms_in(room, depth + 1)
    return lines


def walk(watched: type, name: str, act: Callable[[], Any]) -> list[str]:
    """What each function of this package on the stack is for when `act` calls `watched.name`."""
    original = getattr(watched, name)
    stack: list[traceback.FrameSummary] = []

    def watch(*arguments: Any, **options: Any) -> Any:
        if not stack:
            stack.extend(traceback.extract_stack()[:-1])
        return original(*arguments, **options)

    setattr(watched, name, watch)
    try:
        act()
    finally:
        setattr(watched, name, original)
    own = [frame for frame in stack if PACKAGE in Path(frame.filename).parents]
    return [
        f"{i}. `{Path(frame.filename).relative_to(PACKAGE)}`: `{frame.name}`{purpose(frame)}"
        for i, frame in enumerate(own, 1)
    ]


def purpose(frame: traceback.FrameSummary) -> str:
    """What a function on a stack is for: the first line of its docstring, if it has one."""
    tree = ast.parse(Path(frame.filename).read_text(encoding="utf-8"))
    (found,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name == frame.name
        and node.lineno <= (frame.lineno or 0) <= (node.end_lineno or 0)
    )
    said = (ast.get_docstring(found) or "").partition("\n")[0]
    return f". {said}" if said else ""


def page() -> str:
    """The text of docs/architecture.md."""
    torch.set_num_threads(1)
    explorer = rv.explore(rv.load(), TEXT)

    def type_a_key() -> None:
        explorer.text.value = f"{TEXT},"

    def point_at_a_cell() -> None:
        question = {"question": 1, "ask": "cell", "about": [0, 2, 1]}
        explorer.weights._handle_custom_msg(question, [])

    keystroke = [*walk(RetNet, "forward", type_a_key), "", "Then `model/retnet.py`: `forward`."]
    hover = [
        *walk(Trace, "cell", point_at_a_cell),
        "",
        "Then `trace/views/observables.py`: `cell`.",
    ]
    explorer.stop()
    parts = [ABOUT, "\n".join(f"    {line}" for line in rooms()), ""]
    parts += [KEYSTROKE, "\n".join(keystroke), "", HOVER, "\n".join(hover)]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
