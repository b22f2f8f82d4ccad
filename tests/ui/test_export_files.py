"""Files to keep: what a reader of them finds is what the trace says."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch

import retnet_viz as rv
from retnet_viz.trace import Trace
from retnet_viz.ui.export import PANELS, View, csv_text, html_page, npz

TEXT = 'the "cat", the dog =1+1 and the cat'


@pytest.fixture(scope="module", params=["parallel", "recurrent", "chunkwise"])
def shown(request, shipped_model) -> Trace:
    return rv.trace(shipped_model, TEXT, request.param, 5)


def read(trace: Trace, panel: str, view: View) -> list[dict[str, str]]:
    text = csv_text(PANELS[panel].rows(trace, view))
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_weights_are_read_back_to_the_bit(shown):
    rows = read(shown, "retention", View(layer=1, heads=(0, 2)))
    assert len(rows) == 2 * shown.length * (shown.length + 1) // 2
    for row in rows:
        head, n, m = (int(row[key]) for key in ("head", "n", "m"))
        window = (slice(n, n + 1), slice(0, n + 1))  # a derived window is rounded as a whole
        for name, plane in (
            ("weight", shown.retention(1, *window)),
            ("score", shown.scores(1, *window)),
            ("decay", shown.decay(1, *window)),
        ):
            assert np.float32(row[name]) == plane[head, 0, m].item()
    assert {row["token_n"].lstrip("'") for row in rows} == set(shown.tokens)


def test_no_cell_is_taken_for_a_formula():
    text = csv_text([("token", "x"), ("=1+1", -2.5), ("@a", 3), ("-", 1e-9)])
    assert text.splitlines()[1:] == ["'=1+1,-2.5", "'@a,3", "'-,1e-09"]


def test_norms_tokens_and_next_tokens(shown):
    view = View(layer=2, heads=(3,), token=4)
    norms = [np.float32(row["norm_head_3"]) for row in read(shown, "state_norm", view)]
    assert norms == shown.state_norm(2)[3].tolist()
    tokens = read(shown, "tokens", view)
    assert [int(row["id"]) for row in tokens] == shown.ids.tolist()
    weights = [np.float32(row["weight_head_3"]) for row in tokens]
    assert weights == shown.retention(2, slice(4, 5))[3, 0].tolist()
    following = read(shown, "next_token", view)
    found = np.array([float(row["probability"]) for row in following])
    assert len(following) == shown.config.vocab_size
    assert found.sum() == pytest.approx(1, abs=1e-6)
    assert int(following[0]["id"]) == int(shown.logits_after(4).argmax())


def test_the_steps_terms_add_up(shown):
    rows = read(shown, "stage", View(layer=1, head=2, token=6))
    terms: dict[str, dict[tuple[int, int], float]] = {}
    for row in rows:
        place = int(row["row"]), int(row["column"])
        terms.setdefault(row["term"], {})[place] = float(row["value"])
    output = shown.head_output(1)[2, 6].double()
    if shown.mode == "recurrent":
        state = shown.state(1, 6)[2]
        assert all(
            np.float32(value) == state[place].item() for place, value in terms["state"].items()
        )
        for place, value in terms["state"].items():
            assert value == pytest.approx(terms["faded"][place] + terms["added"][place], abs=1e-3)
    found = [terms["output"][6, j] for j in range(len(output))]
    assert torch.allclose(torch.tensor(found, dtype=torch.float64), output, atol=1e-6)


def test_cost_and_agreement_name_the_modes(shown):
    assert [row["mode"] for row in read(shown, "cost", View())] == list(rv.model.retention.MODES)
    rows = read(shown, "agreement", View())
    assert {row["mode"] for row in rows} == {shown.mode}
    assert len(rows) == 2
    assert all(float(row["outputs"]) < 1e-2 for row in rows)


def test_arrays_are_the_traces_tensors(shown):
    with np.load(io.BytesIO(npz(shown)), allow_pickle=False) as kept:
        for name in ("q", "k", "v", "scores", "decay", "retention", "state_norm", "head_output"):
            for layer in range(shown.n_layers):
                assert np.array_equal(kept[name][layer], getattr(shown, name)(layer).numpy())
        assert np.array_equal(kept["logits"], shown.logits.numpy())
        assert kept["tokens"].tolist() == shown.tokens
        assert kept["ids"].tolist() == shown.ids.tolist()
        assert np.array_equal(kept["last_state"][1], shown.state(1, -1).numpy())
        about = json.loads(str(kept["about"]))
    assert (about["mode"], about["chunk_size"]) == (shown.mode, 5)
    assert about["config"]["n_layers"] == shown.n_layers


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_has_a_figure_that_is_a_page_of_its_own(shown, panel):
    spec = PANELS[panel].spec(shown, View(layer=1, theme="dark"))
    page = html_page(spec)
    assert page.count("<html") == 1
    assert "</html>" in page
    assert 'src="http' not in page
    assert spec["layout"]["meta"]["sentence"]
