"""Files to keep: what a reader of them finds is what the trace says."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from plotly.offline import get_plotlyjs

import retnet_viz as rv
from retnet_viz.trace import Trace
from retnet_viz.ui.export import PANELS, View, arrays, csv_text, html_page, npz

TEXT = 'the "cat", the dog =1+1 and the cat'


@pytest.fixture(scope="module", params=["parallel", "recurrent", "chunkwise"])
def trace(request, shipped_model) -> Trace:
    return rv.trace(shipped_model, TEXT, request.param, 5)


def rows_of(trace: Trace, panel: str, view: View) -> list[dict[str, str]]:
    text = csv_text(PANELS[panel].rows(trace, view))
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_weights_are_read_back_to_the_bit(trace):
    rows = rows_of(trace, "retention", View(layer=1, heads=(0, 2)))
    assert len(rows) == 2 * trace.length * (trace.length + 1) // 2
    for row in rows:
        head, n, m = (int(row[key]) for key in ("head", "n", "m"))
        window = (slice(n, n + 1), slice(0, n + 1))  # a derived window is rounded as a whole
        for name, plane in (
            ("weight", trace.retention(1, *window)),
            ("score", trace.scores(1, *window)),
            ("decay", trace.decay(1, *window)),
        ):
            assert np.float32(row[name]) == plane[head, 0, m].item()
        for key, position in (("token_n", n), ("token_m", m)):
            # a token that a spreadsheet would take for a formula has a mark before it
            assert row[key] in (trace.tokens[position], f"'{trace.tokens[position]}")


def test_no_cell_is_taken_for_a_formula():
    text = csv_text([("token", "x"), ("=1+1", -2.5), ("@a", 3), ("-", 1e-9)])
    assert text.splitlines()[1:] == ["'=1+1,-2.5", "'@a,3", "'-,1e-09"]


def test_norms_tokens_and_next_tokens(trace):
    view = View(layer=2, heads=(3,), token=4)
    norms = [np.float32(row["norm_head_3"]) for row in rows_of(trace, "state_norm", view)]
    assert norms == trace.state_norm(2)[3].tolist()
    tokens = rows_of(trace, "tokens", view)
    assert [int(row["id"]) for row in tokens] == trace.ids.tolist()
    weights = [np.float32(row["weight_head_3"]) for row in tokens]
    assert weights == trace.retention(2, slice(4, 5))[3, 0].tolist()
    following = rows_of(trace, "next_token", view)
    probabilities = np.array([float(row["probability"]) for row in following])
    assert len(following) == trace.config.vocab_size
    assert probabilities.sum() == pytest.approx(1, abs=1e-6)
    assert int(following[0]["id"]) == int(trace.logits_after(4).argmax())
    assert [int(row["rank"]) for row in following] == list(range(1, len(following) + 1))


def test_the_steps_terms_add_up(trace):
    rows = rows_of(trace, "stage", View(layer=1, head=2, token=6))
    terms: dict[str, dict[tuple[int, int], float]] = {}
    for row in rows:
        place = int(row["row"]), int(row["column"])
        terms.setdefault(row["term"], {})[place] = float(row["value"])
    output = trace.head_output(1)[2, 6].double()
    if trace.mode == "recurrent":
        state = trace.state(1, 6)[2]
        assert all(
            np.float32(value) == state[place].item() for place, value in terms["state"].items()
        )
        for place, value in terms["state"].items():
            assert value == pytest.approx(terms["faded"][place] + terms["added"][place], abs=1e-3)
    output_row = [terms["output"][6, j] for j in range(len(output))]
    assert torch.allclose(torch.tensor(output_row, dtype=torch.float64), output, atol=1e-6)


def test_cost_and_agreement_name_the_modes(trace):
    assert [row["mode"] for row in rows_of(trace, "cost", View())] == list(rv.model.retention.MODES)
    rows = rows_of(trace, "agreement", View())
    assert {row["mode"] for row in rows} == {trace.mode}
    assert len(rows) == 2
    assert all(float(row["outputs"]) < 1e-2 for row in rows)


def test_arrays_are_the_traces_tensors(trace):
    with np.load(io.BytesIO(npz(trace)), allow_pickle=False) as saved:
        for name in ("q", "k", "v", "scores", "decay", "retention", "state_norm", "head_output"):
            for layer in range(trace.n_layers):
                assert np.array_equal(saved[name][layer], getattr(trace, name)(layer).numpy())
        assert np.array_equal(saved["logits"], trace.logits.numpy())
        assert saved["tokens"].tolist() == trace.tokens
        assert saved["ids"].tolist() == trace.ids.tolist()
        assert np.array_equal(saved["last_state"][1], trace.state(1, -1).numpy())
        about = json.loads(str(saved["about"]))
    assert (about["mode"], about["chunk_size"]) == (trace.mode, 5)
    assert about["config"]["n_layers"] == trace.n_layers


def test_arrays_of_a_long_text_are_refused_with_another_way(trace, monkeypatch):
    planes = 3 * trace.n_layers * trace.n_heads * trace.length**2 * 4
    monkeypatch.setattr(arrays, "MOST_BYTES", planes)
    assert npz(trace)
    monkeypatch.setattr(arrays, "MOST_BYTES", planes - 1)
    with pytest.raises(ValueError, match="as safetensors"):
        npz(trace)


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_has_a_figure_that_is_a_page_of_its_own(trace, panel):
    spec = PANELS[panel].spec(trace, View(layer=1, theme="dark"))
    page = html_page(spec)
    assert page.count("<html") == 1
    assert "</html>" in page
    assert 'src="' not in page.replace(get_plotlyjs(), "")
    assert spec["layout"]["meta"]["sentence"]
