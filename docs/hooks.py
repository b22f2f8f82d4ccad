"""What mkdocs asks for while it builds the site: pages that are made, links that lead to them."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs import notebook_pages, reference

ROOT = Path(__file__).parents[1]
MODEL_CARD = "retnet_viz/checkpoints/default/MODEL_CARD.md"
_LINK = re.compile(r"(?<=\]\()\.\./[^)\s#]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of notebooks, of docstrings and of the model card."""
    made: dict[str, str | bytes] = {
        f"reference/{name}": content for name, content in reference.pages().items()
    }
    for notebook in notebook_pages.notebooks():
        made |= notebook_pages.page(notebook)
    made["model_card.md"] = (ROOT / MODEL_CARD).read_text(encoding="utf-8")
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links that leave docs/, for readers of the repository, to the pages of the site."""
    if "/" in page.file.src_uri:
        return markdown  # a page that is made, with links as they are to be
    return _LINK.sub(lambda link: page_of(link[0]), markdown)


def page_of(link: str) -> str:
    """The page of the site that is made of a file outside of docs/; `link` itself for another."""
    path = Path(link.removeprefix("../"))
    if path == Path(MODEL_CARD):
        return "model_card.md"
    if path.parts[0] == "notebooks":
        return f"notebooks/{path.stem}.md"
    if path.parts[0] == "retnet_viz" and path.parts[1] in reference.LAYERS:
        return f"reference/{path.parts[1]}.md"
    return link
