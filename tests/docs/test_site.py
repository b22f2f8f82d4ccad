"""The documentation as pages: whole, without a warning, and loading nothing from elsewhere."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from docs import notebook_pages
from docs.hooks import page_of
from docs.reference import LAYERS, full_name, names, value
from tests.support.checkout import ROOT
from tests.support.site import build

PIXEL = base64.b64encode(b"\x89PNG and so on").decode()
# The attributes of a page that make a browser load something.
LOADED = {"src", "srcset", "poster", "data"}


@dataclass
class Html(HTMLParser):
    """What a page names: the places in it, what it loads, and where its links lead."""

    ids: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: text or "" for name, text in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.loads += [given[name] for name in LOADED & given.keys()]
        if "href" in given:
            (self.links if tag == "a" else self.loads).append(given["href"])

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(path: Path) -> Html:
    html = Html()
    html.feed(path.read_text(encoding="utf-8"))
    return html


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    return build(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    return {path: read(path) for path in site.rglob("*.html")}


def test_every_document_is_a_page(pages: dict[Path, Html], site: Path) -> None:
    made = {str(path.relative_to(site).with_suffix("")) for path in pages}
    written = {path.stem for path in (ROOT / "docs").glob("*.md")}
    notebooks = {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    reference = {f"reference/{name}" for name in (*LAYERS, "command_line")}
    assert made == {"404", "model_card"} | written | notebooks | reference


def test_no_page_loads_anything_from_another_host(pages: dict[Path, Html], site: Path) -> None:
    for path, html in pages.items():
        outside = [each for each in html.loads if urlsplit(each).netloc]
        assert not outside, f"{path.name}: {outside}"
    for path in site.rglob("*.css"):
        said = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
        loads = re.findall(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", said)
        assert not [each for pair in loads for each in pair if re.match(r"(https?:)?//", each)]


def test_every_link_between_pages_leads_somewhere(pages: dict[Path, Html], site: Path) -> None:
    for path, html in pages.items():
        if path.name == "404.html":
            continue  # its links begin at the root of a server
        for link in {*html.links, *html.loads}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target.suffix == ".html":
                place = unquote(parts.fragment)
                assert place in pages[target].ids, f"{path.relative_to(site)}: {link}"


@pytest.mark.parametrize("layer", LAYERS)
def test_every_public_name_has_its_place_and_its_words(
    layer: str, pages: dict[Path, Html], site: Path
) -> None:
    html = pages[site / "reference" / f"{layer}.html"]
    said = "".join("".join(html.words).split())
    for name in names(layer):
        assert full_name(layer, name) in html.ids
        docstring = value(layer, name).__doc__ if callable(value(layer, name)) else None
        if docstring:
            first = docstring.strip().split("\n\n")[0]
            assert "".join(first.replace("`", "").split()) in said, name


def test_the_search_finds_public_names_notebooks_and_guides(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    titles = {re.sub(r"<[^>]*>", "", entry["title"]) for entry in index["docs"]}
    assert {"rv.load", "rv.figures.retention", "retnet_viz.model.recurrent"} <= titles
    assert {"Three modes, one answer", "Add a panel", "retnet-viz explore"} <= titles
    as_script = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert json.loads(as_script.partition("=")[2]) == index  # for pages opened as files


# -- links for readers of the repository ----------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_a_link_out_of_docs_is_one_in_the_repository_and_one_in_the_site(path: Path) -> None:
    for link in re.findall(r"\]\((\.\./[^)\s#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link
        assert page_of(link) != link, link


# -- notebooks ------------------------------------------------------------------------------------


def notebook_of(folder: Path, *cells: nbformat.NotebookNode) -> dict[str, str | bytes]:
    path = folder / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# One\n\nText."), *cells]), path)
    return notebook_pages.page(path)


def shown(data: dict[str, str]) -> nbformat.NotebookNode:
    return new_output("display_data", data=data)


def test_a_notebook_shows_its_text_its_code_and_its_results(tmp_path: Path) -> None:
    text = "```\nprint('a & b')"
    made = notebook_of(
        tmp_path,
        new_code_cell(text, outputs=[new_output("stream", text="a & b\n")]),
        new_code_cell(
            "draw()",
            outputs=[shown({"image/png": PIXEL, "text/plain": "<Figure [1]>"})] * 2,
        ),
        new_code_cell("table()", outputs=[shown({"text/html": "<table>\n <tr>1</tr>\n</table>"})]),
        new_markdown_cell("See [this](../docs/checkpoints.md)."),
    )
    page = made.pop("notebooks/one.md")
    assert isinstance(page, str)
    assert page.startswith("# One\n\n*This page shows `notebooks/one.ipynb`")
    assert f"````python\n{text}\n````" in page
    assert '<pre class="cell-result">a &amp; b</pre>' in page
    assert list(made) == ["notebooks/one-0.png", "notebooks/one-1.png"]
    assert all(isinstance(each, bytes) and each[1:4] == b"PNG" for each in made.values())
    assert "![Figure 1](one-1.png)" in page
    assert '<div class="cell-result"><table> <tr>1</tr> </table></div>' in page
    assert "See [this](../checkpoints.md)." in page


def test_a_widget_and_a_script_are_left_out(tmp_path: Path) -> None:
    widget = {"application/vnd.jupyter.widget-view+json": "{}", "text/plain": "Explorer()"}
    script = {"text/html": "<script>alert(1)</script>", "text/plain": "Figure"}
    page = notebook_of(tmp_path, new_code_cell("show()", outputs=[shown(widget), shown(script)]))
    content = page["notebooks/one.md"]
    assert isinstance(content, str)
    assert "Explorer()" not in content
    assert "alert" not in content
    assert '<pre class="cell-result">Figure</pre>' in content
