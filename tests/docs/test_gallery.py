"""docs/gallery.md: a picture of every app and of every panel that there is, and none besides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import retnet_viz as rv
from docs import gallery
from docs.gallery import IMAGES, PAGE, image
from docs.gallery_panels import APPS, App
from retnet_viz.ui.core.app_page import AppPage
from retnet_viz.ui.panels.heatmap import Heatmap
from retnet_viz.ui.panels.plots.plot import Plot
from retnet_viz.ui.panels.steps.step_player import StepPlayer
from retnet_viz.ui.panels.tiled.long_text import LongText
from retnet_viz.ui.panels.timeline.mode_timeline import ModeTimeline
from retnet_viz.ui.panels.token_strip import TokenStrip

PANELS = (LongText, Heatmap, Plot, ModeTimeline, StepPlayer, TokenStrip)
MOST_BYTES = 100_000
NAMES = [app.name for app in APPS]


def pages(kind: type[AppPage] = AppPage) -> Iterator[type[AppPage]]:
    """The classes of pages that an app shows."""
    for each in kind.__subclasses__():
        if hasattr(each, "app"):
            yield each
        yield from pages(each)


@pytest.fixture(scope="module")
def model() -> rv.RetNet:
    return rv.load()


def test_the_gallery_is_what_the_script_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == gallery.page(), "run python -m docs.gallery"


def test_every_app_is_in_the_gallery() -> None:
    assert {page.app for page in pages()} == {f"{name}.ipynb" for name in NAMES}


@pytest.mark.parametrize("app", APPS, ids=NAMES)
def test_every_panel_of_an_app_is_in_the_gallery(app: App, model: rv.RetNet) -> None:
    widget = eval(app.call, {"rv": rv, "model": model})
    try:
        assert widget.app == f"{app.name}.ipynb"
        views = [
            part
            for part in vars(widget).values()
            if type(part).__module__.startswith("retnet_viz.ui.pages.")
        ]
        held = {name: part for owner in (widget, *views) for name, part in vars(owner).items()}
        panels = {name for name, part in held.items() if isinstance(part, PANELS)}
        if app.name in ("modes", "compare"):
            panels.remove("strip")  # of the explorer's kind; a column of Compare has its own
        shown = [panel.name for panel in app.panels]
        assert len(set(shown)) == len(shown)
        assert panels <= set(shown)
        assert set(shown) <= set(held)
    finally:
        widget.stop()
        widget.close_all()


def test_the_pictures_are_those_of_the_gallery() -> None:
    wanted = {image(app, panel) for app in APPS for panel in (None, *app.panels)}
    assert {path.name for path in IMAGES.iterdir()} == wanted
    for name in wanted:
        content = (IMAGES / name).read_bytes()
        assert content[:4] == b"RIFF"
        assert content[8:12] == b"WEBP"
        assert 2_000 < len(content) < MOST_BYTES, name


@pytest.mark.parametrize("app", APPS, ids=NAMES)
def test_the_code_beside_a_picture_gives_its_figure_or_its_page(app: App) -> None:
    """The examples of the figures, which stand there too, are run by test_examples.py."""
    for panel in app.panels:
        assert not panel.figure or panel.figure in rv.figures.__all__
        call = f"rv.figures.{panel.figure}(" if panel.figure else app.call.partition("(")[0] + "("
        assert gallery.code(app, panel).splitlines()[-1].startswith((call, ")")), panel.name
        assert call in gallery.code(app, panel)


@pytest.mark.parametrize("code", [panel.code for app in APPS for panel in app.panels if panel.code])
def test_code_that_is_no_example_of_a_figure_runs(code: str, model: rv.RetNet) -> None:
    *before, last = code.splitlines()
    held = {"rv": rv, "model": model, "trace": rv.trace(model, "Once upon a time there was")}
    exec("\n".join(before), held)
    made = eval(last, held)
    if isinstance(made, AppPage):
        made.stop()
        made.close_all()
    else:
        assert made.data
