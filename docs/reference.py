"""The pages of the reference: one per layer of the package, and one of the command line.

A page lists the public names; mkdocstrings puts their signatures and docstrings there.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from typing import Any

import retnet_viz as rv
from docs.examples import SETUP
from docs.plain_text import escaped
from retnet_viz.cli import make_parser

LAYERS = {
    # module of the package -> heading
    "checkpoints": "Load and inspect",
    "trace": "Trace",
    "trace.edits": "Edits",
    "figures": "Figures",
    "ui": "Pages and panels",
    "model": "The model",
    "baselines": "What RetNet is compared with",
    "experiments": "Experiments",
    "training": "Training",
}
COMMANDS = "Command line"
ABOUT = f"""\
What stands as `rv.…` is at hand after `import retnet_viz as rv`; the rest is imported from the
module that its heading names. T tokens, H heads; a head has keys of d_k numbers and values of d_v.
The examples begin in the folder of the repository, after

```python
{SETUP}```
"""


def pages() -> dict[str, str]:
    """The Markdown of each page, by its file name."""
    made = {f"{layer}.md": page(layer) for layer in LAYERS}
    return made | {"command_line.md": command_line()}


def page(layer: str) -> str:
    """The page of a layer: public names, and what mkdocstrings is to put under each."""
    parts = [f"# {LAYERS[layer]}", ABOUT.strip()]
    for name in names(layer):
        written = full_name(layer, name)
        options = {"heading": written, "toc_label": written.rpartition(".")[2]}
        shown = [f"      {key}: {option!r}" for key, option in options.items()]
        parts.append(f"[](){{#{written}}}")
        parts.append("\n".join([f"::: {path(layer, name)}", "    options:", *shown]))
    return "\n\n".join(parts) + "\n"


def names(layer: str) -> list[str]:
    """The public names of a module of the package: first what is at hand as `rv.…`."""
    public = importlib.import_module(f"retnet_viz.{layer}").__all__
    return sorted(public, key=lambda name: (not _is_at_hand(layer, name), name.lower(), name))


def full_name(layer: str, name: str) -> str:
    """How a user writes a public name."""
    if _is_at_hand(layer, name):
        return f"rv.{name}"
    room = {"figures": "rv.figures", "trace.edits": "rv.edits"}.get(layer, f"retnet_viz.{layer}")
    return f"{room}.{name}"


def value(layer: str, name: str) -> Any:
    """What a public name stands for."""
    return getattr(importlib.import_module(f"retnet_viz.{layer}"), name)


def path(layer: str, name: str) -> str:
    """Where a public name is defined: a module may have the name of the function in it."""
    found = value(layer, name)
    module = getattr(found, "__module__", None) if callable(found) else None
    return f"{module or f'retnet_viz.{layer}'}.{name}"


def _is_at_hand(layer: str, name: str) -> bool:
    return name in rv.__all__ and getattr(rv, name) is value(layer, name)


# -- the command line -----------------------------------------------------------------------------


def command_line() -> str:
    """The subcommands of `retnet-viz` and their options, as its parser knows them."""
    parser = make_parser()
    listed = next(
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    said = {choice.dest: choice.help for choice in listed._choices_actions}
    parts = [f"# {COMMANDS}"]
    for name, command in listed.choices.items():
        parts += [f"## retnet-viz {name}", escaped(_sentence(str(said[name])))]
        if options := list(map(_option, _options(command))):
            parts.append("\n".join(options))
    return "\n\n".join(parts) + "\n"


def _options(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    yield from (action for action in command._actions if action.dest != "help")


def _option(action: argparse.Action) -> str:
    stands_for: Any = action.metavar or action.dest.upper()
    if action.choices:
        stands_for = "|".join(map(str, action.choices))
    if not action.option_strings:
        text = f"`{action.dest.upper()}`"
    elif action.nargs == 0:
        text = f"`{action.option_strings[0]}`"
    else:
        text = f"`{action.option_strings[0]} {stands_for}{' ...' if action.nargs == '+' else ''}`"
    said = (action.help or "").replace("(%(default)s)", "").strip()
    said = f" {escaped(said)}" if said else ""
    if action.required and action.option_strings:
        return f"- {text}{said}; must be given"
    if action.default in (None, "", argparse.SUPPRESS) or action.nargs == 0:
        return f"- {text}{said}"
    return f"- {text}{said}, usually `{action.default}`"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
