"""What the pages of the documentation make of links and notebooks; tests/browser has them built."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from docs import notebook_pages
from docs.hooks import page_of
from tests.support.checkout import ROOT

PIXEL = base64.b64encode(b"\x89PNG and so on").decode()


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
