"""docs/api.md: it says what the docstrings say, of every public name, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import retnet_viz as rv
from docs import api_reference
from docs.api_reference import LAYERS, PAGE, full_name, markdown_of, names, source
from retnet_viz.cli import main

PUBLIC = [(layer, name) for layer in LAYERS for name in names(layer)]
HEADINGS = re.findall(r"(?m)^### (.*)$", PAGE.read_text(encoding="utf-8"))


def rendered(markdown: str) -> str:
    """What a reader sees, without spaces."""
    words = []
    for block in MarkdownIt().parse(markdown):
        assert block.type not in ("heading_open", "html_block", "blockquote_open")
        if block.type == "fence":
            words.append(block.content)
        for part in block.children or []:
            assert part.type in ("text", "softbreak", "code_inline"), part
            words.append(part.content)
    return "".join("".join(words).split())


def bare(docstring: str) -> str:
    return "".join(docstring.replace("`", "").split())


def test_the_page_is_made_of_the_docstrings_as_they_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == api_reference.page(), (
        "docs/api.md is not what the docstrings say now: run python -m docs.api_reference"
    )


def test_the_page_has_every_public_name_once() -> None:
    here = [name for name in HEADINGS if not name.startswith("retnet-viz ")]
    assert sorted(here) == sorted({full_name(*each) for each in PUBLIC})
    at_hand = {f"rv.{name}" for name in rv.__all__} - {"rv.figures"}
    assert at_hand == {name for name in here if name.count(".") == 1}
    assert {f"rv.figures.{name}" for name in rv.figures.__all__} <= set(here)


def value(layer: str, name: str) -> object:
    return getattr(importlib.import_module(f"retnet_viz.{layer}"), name)


@pytest.mark.parametrize(("layer", "name"), [each for each in PUBLIC if callable(value(*each))])
def test_a_public_name_is_documented(layer: str, name: str) -> None:
    """Each function and class has a docstring that the reader sees word by word."""
    docstring = inspect.getdoc(value(layer, name))
    assert docstring
    assert source(layer, name).docstring.value.strip() == docstring
    assert rendered(markdown_of(docstring)) == bare(docstring)


words = st.text("ab_*<`[]() -0", min_size=1).filter(lambda text: text.count("`") % 2 == 0)


@given(words)
@example("an [array](here) ![of](it) &amp; <b>more</b>")
def test_no_sign_of_a_docstring_is_taken_for_markup(said: str) -> None:
    docstring = "begins " + re.sub(r"`\s*`", "", " ".join(said.split()))
    assert rendered(markdown_of(docstring)) == bare(docstring)


def test_lists_and_formulas_stay_what_they_are() -> None:
    markdown = markdown_of(
        "The parts.\n\nname    what it is called,\n        in full\nq, k    (T, d_k)  two\n\n"
        "    S_n = γ * S_{n-1}\n\nTwo  spaces in\na sentence."
    )
    assert markdown == (
        "The parts.\n\n- `name` what it is called, in full\n- `q, k` (T, d_k)  two\n\n"
        "```text\nS_n = γ * S_{n-1}\n```\n\nTwo  spaces in\na sentence."
    )


def test_every_subcommand_has_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    commands = [name for name in HEADINGS if name.startswith("retnet-viz ")]
    assert "retnet-viz explore" in commands
    for command in commands:
        with pytest.raises(SystemExit):
            main([command.split()[1], "--help"])
        options = set(re.findall(r"(?<![\w-])--[\w-]+", capsys.readouterr().out)) - {"--help"}
        part = page.split(f"### {command}\n")[1].split("\n### ")[0]
        assert options == set(re.findall(r"`(--[\w-]+)", part))


def test_every_link_of_the_contents_leads_to_a_heading() -> None:
    page = PAGE.read_text(encoding="utf-8")
    links = re.findall(r"(?m)^- \[(.*)\]\(#(.*)\)$", page)
    assert [text for text, _ in links] == re.findall(r"(?m)^## (.*)$", page)
    for text, anchor in links:
        assert anchor == text.lower().replace(" ", "-")
