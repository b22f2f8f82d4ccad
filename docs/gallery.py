"""Take a picture of every app and of every panel, and write docs/gallery.md, which shows them.

make test                                # once: it installs what this needs
.venv/bin/python -m docs.gallery         # or some apps alone: -m docs.gallery cost compare

What there is to show stands in docs/gallery_panels.py.
"""

from __future__ import annotations

import base64
import sys
from itertools import takewhile
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from docs.examples import START, all_examples, code_of
from docs.gallery_panels import APPS, PATIENT, App, Panel
from tests.support.chromium import launch
from tests.support.serving import serving

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gallery.md"
IMAGES = ROOT / "docs" / "images" / "gallery"
SHARPNESS = 1.5  # pixels of a picture per pixel of the page
WIDEST = 840  # pixels
QUALITY = 0.8  # of 1
ABOUT = """\
# Gallery

Every app and every panel in it, as they are drawn in a browser; the pictures were taken by
`docs/gallery.py`. Beside each stands the code that draws it in a notebook: where there is one, its
[figure](../retnet_viz/figures/__init__.py) alone, which a paper can use too, else the page.
All of it begins after

```python
{start}```
"""
PANEL = """\
<div class="panel" markdown>

![{title}: {name}](images/gallery/{image})

<div markdown>

{says}

```python
{code}
```

</div>

</div>
"""


def image(app: App, panel: Panel | None = None) -> str:
    """The file name of a picture."""
    name = app.name if panel is None else f"{app.name}-{panel.name}"
    return f"{name.replace('_', '-')}.webp"


def code(app: App, panel: Panel) -> str:
    """The code beside a picture; its last line gives what a notebook shows."""
    if panel.code or not panel.figure:
        return _spaced(panel.code or app.call)
    example = code_of(all_examples()[f"rv.figures.{panel.figure}"])
    return _spaced(example.replace("figure = rv.", "rv.").strip())


def _spaced(statements: str) -> str:
    """Statements in the style of the code: an empty line after the imports."""
    lines = statements.splitlines()
    imports = list(takewhile(lambda line: line.startswith(("import ", "from ")), lines))
    return "\n".join([*imports, *([""] if imports else []), *lines[len(imports) :]])


def page() -> str:
    """The gallery as Markdown."""
    parts = [ABOUT.format(start=START)]
    for app in APPS:
        parts.append(f"## {app.title}\n")
        parts.append(f"{app.says} In a notebook: `{app.call}`.\n")
        parts.append(f"![The page {app.title}](images/gallery/{image(app)})\n")
        parts += [
            PANEL.format(
                title=app.title,
                name=panel.name.replace("_", " "),
                image=image(app, panel),
                says=panel.says,
                code=code(app, panel),
            )
            for panel in app.panels
        ]
    return "\n".join(parts)


def take(browser: Browser, url: str, app: App) -> None:
    """The pictures of an app."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, device_scale_factor=SHARPNESS
    )
    shown = context.new_page()
    shown.set_default_timeout(PATIENT)
    shown.goto(f"{url}voila/render/{app.name}.ipynb")
    app.ready(shown)
    _shoot(shown, image(app))
    for panel in app.panels:
        panel.before(shown)
        found = shown.locator(".rv-explorer").locator(panel.where).first
        _shoot(shown, image(app, panel), found)
    context.close()


def _shoot(shown: Page, name: str, panel: Locator | None = None) -> None:
    """Write the picture of the page, or of a panel."""
    shown.mouse.move(0, 0)
    shown.evaluate("document.activeElement?.blur()")
    taken = (panel or shown).screenshot()
    (IMAGES / name).write_bytes(_small(shown.context, taken))
    print(f"docs/images/gallery/{name}")


def _small(context: BrowserContext, png: bytes) -> bytes:
    """A picture as WebP, no wider than WIDEST: a browser can do that too."""
    blank = context.new_page()
    made = blank.evaluate(
        """async ([png, widest, quality]) => {
            const image = new Image();
            image.src = png;
            await image.decode();
            const scale = Math.min(1, widest / image.width);
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.width * scale, image.height * scale];
            const context = canvas.getContext("2d");
            context.imageSmoothingQuality = "high";
            context.drawImage(image, 0, 0, canvas.width, canvas.height);
            return canvas.toDataURL("image/webp", quality).split(",")[1];
        }""",
        [f"data:image/png;base64,{base64.b64encode(png).decode()}", WIDEST, QUALITY],
    )
    blank.close()
    return base64.b64decode(made)


def main(chosen: list[str]) -> None:
    """Take the pictures of all apps, or of those that are chosen, and write the page."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENT)
    with serving("explore", "--no-browser", "--port", "0") as url, sync_playwright() as playwright:
        browser = launch(playwright)
        for app in APPS:
            if not chosen or app.name in chosen:
                take(browser, url, app)
        browser.close()
    PAGE.write_text(page(), encoding="utf-8")
    print("docs/gallery.md")


if __name__ == "__main__":
    main(sys.argv[1:])
