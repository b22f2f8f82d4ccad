"""The reference says what the docstrings say, word by word, of every public name."""

from __future__ import annotations

import inspect
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown import markdown

import retnet_viz as rv
from docs.plain_text import markdown_of
from docs.reference import LAYERS, command_line, full_name, names, page, value
from retnet_viz.cli import main

PUBLIC = [(layer, name) for layer in LAYERS for name in names(layer)]
EXTENSIONS = ["attr_list", "md_in_html", "tables", "pymdownx.superfences"]  # as in mkdocs.yml
PLAIN = {"p", "ul", "li", "code", "pre", "div", "span", "a"}


class Text(HTMLParser):
    """What a reader sees; no docstring makes a heading, a picture or a link."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in PLAIN, tag
        assert "href" not in dict(attrs)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def rendered(text: str) -> str:
    """What a reader sees, without spaces."""
    return "".join("".join(Text(markdown(text, extensions=EXTENSIONS)).words).split())


def bare(docstring: str) -> str:
    return "".join(docstring.replace("`", "").split())


def test_every_name_of_the_package_is_in_the_reference() -> None:
    here = [full_name(*each) for each in PUBLIC]
    assert len(set(here)) == len(here)
    at_hand = {f"rv.{name}" for name in rv.__all__} - {"rv.figures", "rv.edits"}
    assert at_hand == {name for name in here if name.count(".") == 1}
    assert {full_name("figures", name) for name in rv.figures.__all__} <= set(here)
    for layer in LAYERS:
        assert re.findall(r"\{#(\S+)\}", page(layer)) == [
            full_name(layer, name) for name in names(layer)
        ]


@pytest.mark.parametrize(("layer", "name"), [each for each in PUBLIC if callable(value(*each))])
def test_a_public_name_is_documented(layer: str, name: str) -> None:
    """Each function and class has a docstring that the reader sees word by word."""
    docstring = inspect.getdoc(value(layer, name))
    assert docstring
    assert rendered(markdown_of(docstring)) == bare(docstring)


words = st.text("ab_*<`[]() -0", min_size=1).filter(lambda text: text.count("`") % 2 == 0)


@given(words)
@example("an [array](here) ![of](it) &amp; <b>more</b>")
def test_no_sign_of_a_docstring_is_taken_for_markup(said: str) -> None:
    docstring = "begins " + re.sub(r"`\s*`", "", " ".join(said.split()))
    assert rendered(markdown_of(docstring)) == bare(docstring)


def test_lists_and_formulas_stay_what_they_are() -> None:
    said = markdown_of(
        "The parts.\n\nname    what it is called,\n        in full\nq, k    (T, d_k)  two\n\n"
        "    S_n = γ * S_{n-1}\n\nTwo  spaces in\na sentence."
    )
    assert said == (
        "The parts.\n\n- `name` what it is called, in full\n- `q, k` (T, d_k)  two\n\n"
        "```text\nS_n = γ * S_{n-1}\n```\n\nTwo  spaces in\na sentence."
    )


def test_every_subcommand_has_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    said = command_line()
    commands = re.findall(r"(?m)^## (retnet-viz .*)$", said)
    assert "retnet-viz explore" in commands
    for command in commands:
        with pytest.raises(SystemExit):
            main([command.split()[1], "--help"])
        options = set(re.findall(r"(?<![\w-])--[\w-]+", capsys.readouterr().out)) - {"--help"}
        part = said.split(f"## {command}\n")[1].split("\n## ")[0]
        assert options == set(re.findall(r"`(--[\w-]+)", part))
