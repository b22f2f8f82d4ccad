"""The public functions, called as people call them at first: it works, or one sentence says how."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

import retnet_viz as rv
from retnet_viz.checkpoints import load_model, shipped

TEXT = "Once upon a time"


@pytest.fixture(scope="module")
def transformer() -> Any:
    return load_model(shipped()["transformer"])


@pytest.mark.parametrize("open_page", [rv.explore, rv.modes])
def test_a_text_alone_is_read_by_the_shipped_model(open_page: Any, opened: Any) -> None:
    page = opened(open_page(TEXT))
    assert page.state.text == TEXT
    assert torch.equal(page.trace.logits, rv.trace(rv.load(), TEXT, page.state.mode).logits)


def test_a_path_alone_is_opened(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(TEXT)
    assert opened(rv.explore(tmp_path / "story.txt")).state.text == TEXT


@pytest.mark.parametrize("open_page", [rv.explore, rv.modes])
def test_what_is_no_model_is_refused_with_a_sentence(open_page: Any, transformer: Any) -> None:
    with pytest.raises(ValueError, match=r"a RetNet or a text comes first, not a Transformer"):
        open_page(transformer)
    with pytest.raises(ValueError, match="a RetNet or a text comes first, not a int"):
        open_page(5)
    with pytest.raises(ValueError, match="two texts are given"):
        open_page(TEXT, TEXT)


def test_models_in_a_list_are_named_by_their_kinds(
    opened: Any, shipped_model: Any, transformer: Any
) -> None:
    page = opened(rv.compare(TEXT, [shipped_model, transformer, shipped_model]))
    assert [column.name for column in page.columns] == ["RetNet 1", "Transformer", "RetNet 2"]
    for none in ([], {}):
        with pytest.raises(ValueError, match="no model to compare"):
            rv.compare(TEXT, none)


@pytest.mark.parametrize("open_page", [rv.explore, rv.modes, rv.compare])
def test_one_panel_to_hide_may_stand_alone(open_page: Any, opened: Any) -> None:
    assert opened(open_page(hide="text")).look.hide == ("text",)


def test_one_format_and_one_panel_may_stand_alone(tmp_path: Path, shipped_model: Any) -> None:
    trace = rv.trace(shipped_model, TEXT)
    (path,) = rv.export(trace, tmp_path, "json")
    assert path.suffix == ".json"
    assert [path.suffix for path in rv.export(trace, tmp_path, "csv", "retention")] == [".csv"]


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
def test_a_number_format_may_be_named(name: str) -> None:
    assert rv.load(dtype=name).dtype == getattr(torch, name)


@pytest.mark.parametrize("dtype", ["float17", "int64", torch.int8, "load", None])
def test_what_is_no_number_format_is_refused(dtype: Any) -> None:
    with pytest.raises(ValueError, match="dtype must be a floating point format"):
        rv.load(dtype=dtype)


def test_a_number_of_layers_is_told_that_it_is_a_slice() -> None:
    with pytest.raises(ValueError, match=r"layers must be a slice, such as slice\(0, 2\), not 2"):
        rv.load(layers=2)  # type: ignore[arg-type]
    assert rv.load(layers=slice(0, 2)).config.n_layers == 2


def test_one_head_of_a_figure_may_stand_alone(shipped_model: Any) -> None:
    trace = rv.trace(shipped_model, TEXT)
    one, several = (rv.figures.retention(trace, 0, heads=heads) for heads in (1, [1]))
    assert one.to_json() == several.to_json()
    with pytest.raises(IndexError, match=r"head 4 is outside 0 \.\. 3"):
        rv.figures.retention(trace, 0, heads=4)


def test_a_figure_says_what_it_takes(shipped_model: Any) -> None:
    trace = rv.trace(shipped_model, TEXT)
    with pytest.raises(TypeError, match=r"retention: .*'colour'; it takes trace, layer, heads"):
        rv.figures.retention(trace, 0, colour="red")
    parameters = inspect.signature(rv.figures.retention).parameters
    assert {"trace", "layer", "heads", "theme"} <= set(parameters)
    assert inspect.signature(rv.figures.retention).return_annotation == "go.Figure"


def test_the_package_lists_its_public_names_and_nothing_else() -> None:
    assert dir(rv) == sorted(rv.__all__)
    assert all(hasattr(rv, name) for name in dir(rv))
