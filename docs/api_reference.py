"""Write docs/api.md, the reference of the public names, from the docstrings.

.venv/bin/python -m docs.api_reference
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import griffe

import retnet_viz as rv
from retnet_viz.cli import make_parser

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
LAYERS = {
    # module of the package -> heading
    "checkpoints": "Load and inspect",
    "trace": "Trace",
    "figures": "Figures",
    "ui": "Pages and panels",
    "model": "The model",
    "baselines": "What RetNet is compared with",
    "experiments": "Experiments",
    "training": "Training",
}
COMMANDS = "Command line"
ABOUT = """\
# API reference

Made from the docstrings by `docs/api_reference.py` (`make docs`); a test keeps it equal to them.
What stands as `rv.…` is at hand after `import retnet_viz as rv`; the rest is imported from the
module that its heading names. T tokens, H heads; a head has keys of d_k numbers and values of d_v.

{contents}
"""
# A line of a list in a docstring: names, two spaces or more, what they mean.
_ENTRY = re.compile(r"(\w+(?:, \w+)*) {2,}(\S.*)")
_CODE = re.compile(r"(`[^`]*`)")
# What Markdown would take for emphasis, a link or HTML.
_MARKS = re.compile(r"\*(?=\S)|(?<=\S)\*|_(?!\w)|(?<!\w)_|\](?=\()|<|&(?=[\w#])")


def page() -> str:
    """The whole reference."""
    headings = [*LAYERS.values(), COMMANDS]
    contents = "\n".join(f"- [{heading}](#{_anchor(heading)})" for heading in headings)
    parts = [ABOUT.format(contents=contents).strip()]
    for layer, heading in LAYERS.items():
        parts.append(f"## {heading}")
        parts += [_entry(layer, name) for name in names(layer)]
    parts += [f"## {COMMANDS}", *_commands()]
    return "\n\n".join(parts) + "\n"


def names(layer: str) -> list[str]:
    """The public names of a module of the package: first what is at hand as `rv.…`."""
    public = importlib.import_module(f"retnet_viz.{layer}").__all__
    return sorted(public, key=lambda name: (not _is_at_hand(layer, name), name.lower(), name))


def full_name(layer: str, name: str) -> str:
    """How a user writes a public name."""
    if _is_at_hand(layer, name):
        return f"rv.{name}"
    return f"rv.figures.{name}" if layer == "figures" else f"retnet_viz.{layer}.{name}"


def source(layer: str, name: str) -> griffe.Object:
    """A public name as it stands in the source."""
    value = getattr(importlib.import_module(f"retnet_viz.{layer}"), name)
    # A module may have the name of the function in it; the function knows where it is from.
    module = getattr(value, "__module__", None) if callable(value) else None
    found = _package()[f"{module}.{name}".removeprefix("retnet_viz.") if module else layer]
    found = found if module else found[name]
    return found.final_target if isinstance(found, griffe.Alias) else found


def markdown_of(docstring: str) -> str:
    """A docstring as Markdown: its words as they are, lists as lists, formulas as formulas."""
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", docstring.strip("\n")))


@cache
def _package() -> griffe.Module:
    package = griffe.load("retnet_viz", search_paths=[ROOT], resolve_aliases=True)
    assert isinstance(package, griffe.Module)
    return package


def _is_at_hand(layer: str, name: str) -> bool:
    if name not in rv.__all__:
        return False
    module = importlib.import_module(f"retnet_viz.{layer}")
    return getattr(rv, name) is getattr(module, name)


def _entry(layer: str, name: str) -> str:
    """The part of the page about one public name."""
    found = source(layer, name)
    parts = [f"### {full_name(layer, name)}", _code(_signature(found))]
    if found.docstring:
        parts.append(markdown_of(found.docstring.value))
    if found.is_class and (members := list(_members(found))):
        parts += ["Methods and properties:", *members]
    return "\n\n".join(parts)


def _signature(found: griffe.Object) -> str:
    """What stands at the beginning of the definition."""
    if isinstance(found, griffe.Function):
        text = found.signature()
        if any(str(decorator.value) == "Drawing" for decorator in found.decorators):
            text = text.removesuffix("Spec") + "go.Figure"
        return text
    if isinstance(found, griffe.Class):
        bases = f"({', '.join(map(str, found.bases))})" if found.bases else ""
        made = _constructor(found)
        return f"class {found.name}{bases}" + (f"\n\n{made}" if made else "")
    assert isinstance(found, griffe.Attribute)
    return f"{found.name} = {found.value}"


def _constructor(found: griffe.Class) -> str:
    """The call that makes one, where the class says what it takes."""
    made = found.members.get("__init__")
    if not isinstance(made, griffe.Function):
        return ""
    text = made.signature(name=found.name, return_type=False)
    return text.replace("(self, ", "(", 1).replace("(self)", "()", 1)


def _members(found: griffe.Class) -> Iterator[str]:
    """A list item for each public method and property, in the order of the source."""
    for name, member in found.members.items():
        if name.startswith("_") or member.is_alias or member.docstring is None:
            continue
        if isinstance(member, griffe.Function):
            text = re.sub(r"\((self|cls)(, )?", "(", member.signature(), count=1)
        elif "property" in member.labels:
            text = f"{name}: {member.annotation}"
        else:
            continue
        said = markdown_of(member.docstring.value).replace("\n", "\n  ")
        yield re.sub(r"(?m)^ +$", "", f"- `{text}`\n\n  {said}")


def _code(text: str) -> str:
    """A signature in a block, with a parameter a line where it is long."""
    text = text.replace("'", '"')  # the quotes of the source
    lines = [_broken(line) if len(line) > 96 else line for line in text.split("\n")]
    return "```python\n" + "\n".join(lines) + "\n```"


def _broken(text: str) -> str:
    head, rest = text.split("(", 1)
    inner, tail = rest[: rest.rindex(")")], rest[rest.rindex(")") :]
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(inner):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(inner[start:i].strip())
            start = i + 1
    parts.append(inner[start:].strip())
    return f"{head}(\n" + "".join(f"    {part},\n" for part in parts) + tail


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    if all(line.startswith("    ") for line in lines):
        return "```text\n" + "\n".join(line[4:] for line in lines) + "\n```"
    items: list[str] = []
    for line in lines:
        if found := _ENTRY.fullmatch(line):
            items.append(f"- `{found[1]}` {_escaped(found[2])}")
        elif items and line.startswith("  "):
            items[-1] += f" {_escaped(line.strip())}"
        elif items:
            return _escaped(text)  # two spaces in a sentence make no list
        else:
            items = []
            break
    return "\n".join(items) if items else _escaped(text)


def _escaped(text: str) -> str:
    """Text in which only what stands in backticks has a meaning to Markdown."""
    return "".join(
        part if part.startswith("`") else _MARKS.sub(r"\\\g<0>", part) for part in _CODE.split(text)
    )


def _commands() -> Iterator[str]:
    """The subcommands of `retnet-viz`, as its parser knows them."""
    parser = make_parser()
    listed = next(
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    said = {choice.dest: choice.help for choice in listed._choices_actions}
    for name, command in listed.choices.items():
        yield f"### retnet-viz {name}"
        yield _escaped(_sentence(str(said[name])))
        if options := list(map(_option, _options(command))):
            yield "\n".join(options)


def _options(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    yield from (action for action in command._actions if action.dest != "help")


def _option(action: argparse.Action) -> str:
    value: Any = action.metavar or action.dest.upper()
    if action.choices:
        value = "|".join(map(str, action.choices))
    if not action.option_strings:
        text = f"`{action.dest.upper()}`"
    elif action.nargs == 0:
        text = f"`{action.option_strings[0]}`"
    else:
        text = f"`{action.option_strings[0]} {value}{' ...' if action.nargs == '+' else ''}`"
    said = (action.help or "").replace("(%(default)s)", "").strip()
    said = f" {_escaped(said)}" if said else ""
    if action.required and action.option_strings:
        return f"- {text}{said}; must be given"
    if action.default in (None, "", argparse.SUPPRESS) or action.nargs == 0:
        return f"- {text}{said}"
    return f"- {text}{said}, usually `{action.default}`"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
