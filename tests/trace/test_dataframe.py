"""A trace as a table: each row against the network written out by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from literal import literal

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, live, trace
from retnet_viz.trace.notebook import dataframe

ModelFactory = Callable[..., RetNet]
IDS = [5, 3, 8, 13, 3, 250]


@pytest.mark.parametrize("mode", MODES)
def test_a_row_is_one_head_of_one_layer_at_one_token(mode: str, tiny_model: ModelFactory) -> None:
    model = tiny_model(n_layers=2, n_heads=2, decay=(0.9, 1.0), value_factor=2.0)
    by_hand = literal(model, IDS).layers
    sample = trace(model, IDS, mode, 4)
    frame = sample.to_pandas()
    keys = frame[["layer", "head", "position"]].to_numpy().tolist()
    assert keys == [[layer, head, n] for layer in range(2) for head in range(2) for n in range(6)]
    for row in frame.to_dict("records"):
        layer, head, n = by_hand[row["layer"]], row["head"], row["position"]
        assert row["token"] == sample.tokens[n]
        assert row["gamma"] == pytest.approx([0.9, 1.0][head])
        half_life = [math.log(0.5) / math.log(0.9), math.inf][head]
        assert row["half_life"] == pytest.approx(half_life)
        state = layer.states[n, head]
        assert row["state_norm"] == pytest.approx(np.sqrt((state**2).sum()))
        for name in ("q", "k", "v", "head_output"):
            values = getattr(layer, name)[head, n]
            assert row[f"{name}_norm"] == pytest.approx(np.sqrt((values**2).sum())), name
    assert set(frame.columns) == {
        *("layer", "head", "position", "token", "gamma", "half_life", "state_norm"),
        *("q_norm", "k_norm", "v_norm", "head_output_norm"),
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_row_per_token_says_what_came_and_what_was_expected(
    mode: str, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    sample = trace(model, IDS, mode, 4)
    frame = sample.to_pandas("tokens")
    assert frame["position"].tolist() == list(range(6))
    assert frame["id"].tolist() == IDS
    assert frame["token"].tolist() == sample.tokens
    exponentials = np.exp(literal(model, IDS).logits)
    chances = exponentials / exponentials.sum(1, keepdims=True)
    assert math.isnan(frame["loss"][0])
    assert frame["loss"][1:].tolist() == pytest.approx(
        [-math.log(chances[n, token_id]) for n, token_id in enumerate(IDS[1:])]
    )
    assert frame["next_id"].tolist() == chances.argmax(1).tolist()
    assert frame["next_token"].tolist() == [tiny_tokenizer.piece(i) for i in chances.argmax(1)]
    assert frame["next_probability"].tolist() == pytest.approx(chances.max(1).tolist())
    entropy = -(chances * np.log(chances)).sum(1)
    assert frame["next_entropy"].tolist() == pytest.approx(entropy.tolist())


@pytest.mark.parametrize("mode", MODES)
def test_the_table_says_in_which_mode_and_what_was_computed(
    mode: str, tiny_model: ModelFactory
) -> None:
    sample = trace(tiny_model(), IDS, mode, 4)
    for rows in ("heads", "tokens"):
        attrs = sample.to_pandas(rows).attrs
        assert (attrs["mode"], attrs["chunk_size"]) == (mode, 4)
    origin = sample.to_pandas().attrs["origin"]
    assert origin["state_norm"] == sample.origin("state_norm")
    assert origin["head_output_norm"] == "computed"
    assert origin["half_life"] == "derived"
    assert sample.to_pandas("tokens").attrs["origin"]["loss"] == "computed"


def test_many_tokens_are_read_in_parts_that_change_nothing(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = trace(tiny_model(), list(range(11)))
    whole = sample.to_pandas("tokens")
    monkeypatch.setattr(dataframe, "_AT_ONCE", 4)
    assert sample.to_pandas("tokens").equals(whole)


def test_a_trace_of_tensors_predicts_nothing_and_its_gammas_are_given() -> None:
    q = torch.arange(12.0).reshape(1, 3, 4)
    names = ["a\0", "\ud800", "<b>"]
    sample = Trace.from_tensors(q, q, q, 0.5, tokens=names)
    frame = sample.to_pandas("tokens")
    assert frame.columns.tolist() == ["position", "id", "token"]
    assert frame["token"].tolist() == names
    heads = sample.to_pandas()
    assert heads["token"].tolist() == names
    assert heads["q_norm"].tolist() == pytest.approx([14**0.5, 126**0.5, 366**0.5])
    assert heads.attrs["origin"]["gamma"] == heads.attrs["origin"]["q_norm"] == "given"


def test_numbers_of_16_bits_are_told_in_32(tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(dtype=torch.bfloat16), IDS)
    frame = sample.to_pandas()
    expected = sample.v(1).float().norm(dim=-1).flatten().numpy()
    assert np.allclose(frame["v_norm"][frame["layer"] == 1], expected, rtol=1e-6)
    assert sample.to_pandas("tokens")["loss"][1:].tolist() == sample.loss.tolist()


def test_a_table_is_a_copy(tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(), IDS)
    frame = sample.to_pandas("tokens")
    frame.loc[:, "id"] = 0
    assert sample.ids.tolist() == IDS


def test_other_rows_and_logits_that_were_not_kept_are_refused_with_a_way_to_go(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    sample = live(model, "Once there was a fox", "recurrent", keep_logits=2).trace
    assert sample is not None
    with pytest.raises(ValueError, match="rows must be one of heads, tokens, not 'layers'"):
        sample.to_pandas("layers")
    assert len(sample.to_pandas()) == 4 * sample.length
    with pytest.raises(RuntimeError, match="keep_logits=None"):
        sample.to_pandas("tokens")


@pytest.mark.parametrize(
    ("library", "method"), [("pandas", Trace.to_pandas), ("xarray", Trace.to_xarray)]
)
def test_a_library_that_is_missing_is_named_with_the_command(
    library: str,
    method: Callable[[Trace], object],
    tiny_model: ModelFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = trace(tiny_model(), IDS)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError) as caught:
        method(sample)
    command = "pip install 'retnet-viz[frames]'"
    assert str(caught.value) == f"to_{library} needs {library}: {command}"


def test_a_library_that_lacks_something_of_its_own_says_so_itself(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> object:
        raise ModuleNotFoundError("No module named 'dateutil'", name="dateutil")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="dateutil"):
        trace(tiny_model(), IDS).to_pandas()


@pytest.mark.slow
def test_neither_library_is_imported_before_it_is_asked_for() -> None:
    code = """
import sys
import torch
import retnet_viz as rv

q = torch.ones(1, 2, 2)
rv.Trace.from_tensors(q, q, q, 0.5)._repr_html_()
print([name for name in ("pandas", "xarray") if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
