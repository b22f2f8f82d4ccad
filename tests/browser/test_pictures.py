"""Figures as pictures, drawn without a page: by kaleido in the tests' own Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import retnet_viz as rv
from retnet_viz.ui.export import PANELS, ImageError, Painter, View
from tests.support.chromium import find

TEXT = "the cat and the dog"


@pytest.fixture
def painter(chromium: None) -> Iterator[Painter]:
    with Painter() as painter:
        yield painter


@pytest.fixture(autouse=True)
def chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(find()))


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_a_figure_is_drawn_at_twice_its_size_or_as_an_svg(painter: Painter) -> None:
    spec = PANELS["retention"].spec(rv.trace(rv.load(), TEXT), View(layer=1))
    assert size(painter.image(spec, "png")) == (2000, 2 * spec["layout"]["height"])
    svg = painter.image(spec, "svg").decode()
    assert "<svg" in svg
    assert "Retention weights" in svg
    assert "head 3" in svg
    with pytest.raises(ValueError, match="png or an svg"):
        painter.image(spec, "exe")


def test_a_sheet_has_its_figures_below_each_other(painter: Painter, tmp_path: Path) -> None:
    trace = rv.trace(rv.load(), TEXT)
    specs = [PANELS[name].spec(trace, View()) for name in ("tokens", "decay")]
    heights = [spec["layout"]["height"] for spec in specs]
    svg = painter.sheet(specs, "svg").decode()
    assert f'height="{sum(heights)}"' in svg
    assert f'<svg y="{heights[0]}"' in svg
    assert "retains of each" in svg
    assert "Decay D" in svg
    assert size(painter.sheet(specs[:1], "png")) == (2000, 2 * heights[0])
    paths = rv.export(trace, tmp_path, ["svg"], ["decay"])
    assert [path.name for path in paths] == ["page.svg", "decay.svg"]


def test_without_a_browser_a_sentence_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chrome")
    spec = PANELS["tokens"].spec(rv.trace(rv.load(), TEXT), View())
    message = "BROWSER_PATH names /nowhere/chrome"
    with Painter() as painter, pytest.raises(ImageError, match=message):
        painter.image(spec, "svg")
