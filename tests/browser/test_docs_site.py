"""The documentation as pages: whole, without a warning, and loading nothing from elsewhere.

They are built once, for the tests that read the files and for those that open them in a browser.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from docs.reference import LAYERS, full_name, names, value
from tests.support.checkout import ROOT
from tests.support.observed import observed_page
from tests.support.site import build

# The attributes of a page that make a browser load something.
LOADED = {"src", "srcset", "poster", "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


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


# -- in a browser, opened as files ----------------------------------------------------------------


def test_the_search_of_a_page_that_is_a_file_leads_to_a_function(
    browser: Browser, site: Path
) -> None:
    with observed_page(browser) as (page, observed):
        page.goto((site / "index.html").as_uri())
        box = page.get_by_role("textbox", name="Search")
        box.click()
        box.press_sequentially("state_norm")  # it listens to keys
        page.locator(".md-search-result__link", has_text="rv.figures.state_norm").first.click()
        heading = page.get_by_role("heading", name="rv.figures.state_norm")
        expect(heading).to_be_in_viewport()
        assert observed.errors == []
        assert {url.partition(":")[0] for url in observed.requests} <= {"file", "data", "about"}


@pytest.mark.parametrize("name", ["gallery", "reference/figures", "notebooks/02_three_modes"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_is_no_wider_than_its_window(
    browser: Browser, site: Path, name: str, width: int
) -> None:
    with observed_page(browser, width=width) as (page, _):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
