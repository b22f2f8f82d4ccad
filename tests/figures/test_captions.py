"""The sentences that describe the panels: their numbers, their grammar, their tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from retnet_viz import figures
from retnet_viz.checkpoints import Tokenizer
from retnet_viz.experiments.ablations import ablate
from retnet_viz.figures.base import captions
from retnet_viz.figures.reading.gate import gate
from retnet_viz.figures.reading.mode_costs import cost_bars
from retnet_viz.figures.reading.normalization import normalization
from retnet_viz.figures.reading.phase import phase
from retnet_viz.figures.states.singular_values import singular_values
from retnet_viz.figures.states.state import state
from retnet_viz.figures.states.token_memory import recall
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Agreement, Cost, Trace, trace
from tests.support.figures import sentence_of

ModelFactory = Callable[..., RetNet]
GAMMAS = (0.5, 0.9, 0.99, 1.0)
TEXT = "Once <b>\n& upon"


@pytest.fixture(scope="module")
def sample(model: RetNet) -> Trace:
    return trace(model, TEXT, "chunkwise", 4)


def make_trace(tiny_model: ModelFactory, *gammas: float) -> Trace:
    model = tiny_model(n_heads=len(gammas), d_model=8 * len(gammas), decay=gammas)
    return trace(model, torch.tensor([1, 2, 3]))


def token(sample: Trace, n: int) -> str:
    text = sample.tokens[n].replace(" ", "·").replace("\n", "⏎")
    return f"token {n} “{text}”"


# -- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.4123, "0.412"),
        (-0.5, "-0.5"),
        (1, "1"),
        (0.99999, "1"),
        (12.345, "12.3"),
        (999.9, "1,000"),
        (56057.2, "56,100"),
        (0.00123, "0.00123"),
        (3.14e-7, "3.1e-07"),
        (2e7, "2e+07"),
        (math.inf, "not finite"),
        (math.nan, "not finite"),
    ],
)
def test_numbers_have_three_digits_at_most(value: float, text: str) -> None:
    assert captions.number(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1 kB"),
        (524_288, "524 kB"),
        (13.3e6, "13.3 MB"),
        (999_600_000, "1 GB"),
        (2.5e9, "2.5 GB"),
        (7e12, "7 TB"),
    ],
)
def test_an_amount_of_bytes_has_the_largest_unit_that_it_fills(count: float, text: str) -> None:
    assert captions.data_size(count) == text


# -- the T x T plane --------------------------------------------------------------------------


def test_decay_names_the_fastest_and_the_slowest_shown_head(sample: Trace) -> None:
    assert captions.decay(sample, 0) == ("Head 0 forgets half of a token in 1 token, head 3 never.")
    assert captions.decay(sample, 0, [2, 1]) == (
        "Head 1 forgets half of a token in 6.6 tokens, head 2 in 69."
    )
    assert captions.decay(sample, 0, [2]) == "Head 2 forgets half of a token in 69 tokens."
    assert captions.decay(sample, 0, [3]) == "Head 3 never forgets."


def test_decay_of_heads_that_forget_alike(tiny_model: ModelFactory) -> None:
    assert captions.decay(make_trace(tiny_model, 0.9, 0.9), 0) == (
        "Each of the shown heads forgets half of a token in 6.6 tokens."
    )
    assert captions.decay(make_trace(tiny_model, 1.0, 1.0), 0) == "None of the shown heads forgets."


@pytest.mark.parametrize("heads", [None, [1], [3, 0]])
@pytest.mark.parametrize(
    ("say", "plane"), [(captions.weights, "retention"), (captions.scores, "scores")]
)
def test_the_strongest_cell_of_a_row_is_named(
    say: Callable[..., str], plane: str, heads: list[int] | None, sample: Trace
) -> None:
    for n in range(sample.length):
        row = getattr(sample, plane)(1)[:, n, : n + 1].numpy()
        cells = [(abs(row[h, m]), h, m) for h in heads or range(4) for m in range(n + 1)]
        _, head, m = max(cells)
        sentence = say(sample, 1, heads, n)
        assert token(sample, n) in sentence[0].lower() + sentence[1:]
        assert f"in head {head} (" in sentence
        assert ("itself" if m == n else token(sample, m)) in sentence
        assert captions.number(row[head, m]) in sentence


def test_the_planes_tell_about_the_last_token(sample: Trace) -> None:
    last = sample.length - 1
    assert sentence_of(figures.decay(sample, 1, heads=[1, 2])) == captions.decay(sample, 1, [1, 2])
    assert sentence_of(figures.scores(sample, 1)) == captions.scores(sample, 1, None, last)
    assert sentence_of(figures.retention(sample, 1, heads=[2])) == captions.weights(
        sample, 1, [2], last
    )


# -- the state --------------------------------------------------------------------------------


def test_the_state_is_told_by_its_norm_and_its_largest_number(sample: Trace) -> None:
    values = sample.state(1, 5)[2].numpy()
    i, j = np.unravel_index(np.abs(values).argmax(), values.shape)
    assert sentence_of(state(sample, 1, 2, 5)) == (
        f"The state of head 2 after {token(sample, 5)} has 8 rows, 16 columns and norm "
        f"{captions.number(np.linalg.norm(values))}; its largest number is "
        f"{captions.number(values[i, j])}, in row {i}, column {j}."
    )
    change = values - sample.state(1, 1)[2].numpy()
    sentence = sentence_of(state(sample, 1, 2, 5, compare=1))
    assert sentence.startswith(
        f"The change in the state of head 2 from {token(sample, 1)} to {token(sample, 5)} has "
    )
    assert f"norm {captions.number(np.linalg.norm(change))};" in sentence
    assert sentence_of(state(sample, 1, 2, 1, compare=1)).endswith("is zero everywhere.")


def test_one_row_is_singular(tiny_model: ModelFactory) -> None:
    model = tiny_model(d_model=4, n_heads=4, value_factor=1.0, rotation="none")
    text = trace(model, torch.tensor([1, 2]))
    assert "has 1 row, 1 column and norm" in sentence_of(state(text, 0, 0, 1))


def test_norms_name_the_largest_and_the_smallest_state(sample: Trace) -> None:
    norms = sample.state_norm(1)[:, 3].numpy()
    most, least = norms.argmax(), norms.argmin()
    sentence = captions.state_norm(sample, 1, n=3)
    assert sentence == (
        f"After {token(sample, 3)} head {most} holds the largest state (norm "
        f"{captions.number(norms[most])}), head {least} the smallest "
        f"({captions.number(norms[least])})."
    )
    assert sentence_of(figures.state_norm(sample, 1, selected=3)) == sentence
    assert sentence_of(figures.state_norm(sample, 1)) == captions.state_norm(
        sample, 1, n=sample.length - 1
    )
    assert captions.state_norm(sample, 1, [2], 3) == (
        f"After {token(sample, 3)} the state of head 2 has norm {captions.number(norms[2])}."
    )


def test_norms_tell_how_close_they_come_to_a_bound(sample: Trace) -> None:
    k, v = sample.k(1).numpy(), sample.v(1).numpy()
    largest = (np.linalg.norm(k, axis=-1) * np.linalg.norm(v, axis=-1)).max(-1)
    bounds = largest[:3] / (1 - np.array(GAMMAS[:3]))
    shares = sample.state_norm(1)[:3].amax(-1).numpy() / bounds
    near = shares.argmax()
    sentence = sentence_of(figures.state_norm(sample, 1, bound=True))
    assert sentence.endswith(
        f" Head {near} comes closest to its bound: {captions.number(100 * shares[near])} % of "
        f"{captions.number(bounds[near])}."
    )
    alone = sentence_of(figures.state_norm(sample, 1, heads=[1], bound=True))
    assert alone.endswith(
        f" Head 1 reaches {captions.number(100 * shares[1])} % of its bound, "
        f"{captions.number(bounds[1])}."
    )
    endless = sentence_of(figures.state_norm(sample, 1, heads=[3], bound=True))
    assert endless.endswith(" Where γ is 1 nothing bounds it.")


def test_singular_values_tell_the_ranks(sample: Trace) -> None:
    ranks = []
    for head in range(4):
        values = np.linalg.svd(sample.state(1, 5)[head].numpy(), compute_uv=False)
        shares = values / values.sum()
        ranks.append(np.exp(-(shares * np.log(shares)).sum()))
    most, least = np.argmax(ranks), np.argmin(ranks)
    assert sentence_of(singular_values(sample, 1, 5)) == (
        f"After {token(sample, 5)} the state of head {most} has the largest effective rank, "
        f"{ranks[most]:.1f} of at most 8, that of head {least} the smallest, {ranks[least]:.1f}."
    )
    assert sentence_of(singular_values(sample, 1, 5, heads=[2])) == (
        f"After {token(sample, 5)} the state of head 2 has effective rank {ranks[2]:.1f} of at "
        "most 8."
    )


def test_recall_names_the_best_and_the_worst_token(sample: Trace) -> None:
    figure = recall(sample, 1, 2, 6)
    cosines = figure.data[0].y
    best, worst = int(np.argmax(cosines)), int(np.argmin(cosines))
    assert sentence_of(figure) == (
        f"After {token(sample, 6)} the state of head 2 remembers {token(sample, best)} best "
        f"(cosine {captions.number(cosines[best])}) and {token(sample, worst)} worst "
        f"({captions.number(cosines[worst])})."
    )
    assert sentence_of(recall(sample, 1, 2, 0)) == (
        f"After {token(sample, 0)} the state of head 2 remembers {token(sample, 0)} (cosine 1)."
    )


# -- the output -------------------------------------------------------------------------------


def test_normalisation_tells_the_range_before_and_after(sample: Trace) -> None:
    before = sample.head_output(1).square().mean(-1).sqrt()
    sentence = sentence_of(normalization(sample, 1))
    assert sentence.startswith(
        "Before the normalisation the heads' outputs have RMS values from "
        f"{captions.number(before.min().item())} to {captions.number(before.max().item())}, "
        "after it "
    )
    assert "Weights times 10 change the normalised output by at most " in sentence_of(
        normalization(sample, 1, factor=10)
    )


def test_equal_values_after_the_normalisation_are_told_once() -> None:
    before, after = torch.tensor([[1.0, 20.0]]), torch.ones(1, 2)
    assert captions.normalization(before, after, 1.0, 0.0) == (
        "Before the normalisation the heads' outputs have RMS values from 1 to 20, after it 1 "
        "throughout."
    )


def test_the_gate_names_the_token_that_opens_it_most(sample: Trace) -> None:
    openings = sample.gate(1).reshape(sample.length, 4, 16).abs().mean(-1).numpy()
    n, head = np.unravel_index(openings.argmax(), openings.shape)
    low_n, low_head = np.unravel_index(openings.argmin(), openings.shape)
    assert low_n != n
    sentence = sentence_of(gate(sample, 1))
    assert sentence == (
        f"T{token(sample, n)[1:]} opens the gate most, in head {head} "
        f"({captions.number(openings[n, head])}), {token(sample, low_n)} least, in head {low_head} "
        f"({captions.number(openings[low_n, low_head])})."
    )


def test_the_gate_of_one_token(model: RetNet) -> None:
    one = trace(model, "O")
    assert re.fullmatch(
        r"Token 0 “O” opens the gate, in head 1 \([\d.]+\)\.", sentence_of(gate(one, 0, heads=[1]))
    )
    assert re.fullmatch(
        r"Token 0 “O” opens the gate most, in head \d \([\d.]+\) and least in head \d "
        r"\([\d.]+\)\.",
        sentence_of(gate(one, 0)),
    )


def test_phase_tells_where_the_rotation_changes_a_weight_most(sample: Trace, model: RetNet) -> None:
    bare = trace(ablate(model, rotation="none"), TEXT)
    n = sample.length - 1
    a, b = (x.retention(0)[2, n].numpy() for x in (sample, bare))
    m = int(np.abs(a - b).argmax())
    sentence = sentence_of(phase(sample, bare, 0, 2, n))
    assert sentence == (
        f"In head 2 {token(sample, n)} reads {token(sample, m)}, {n - m} "
        f"token{'' if n - m == 1 else 's'} back, with weight {captions.number(a[m])}, without the "
        f"rotation with {captions.number(b[m])}: the largest difference over {n + 1} tokens, "
        f"{captions.number(abs(a[m] - b[m]))}."
    )


def test_phase_of_one_token_and_of_equal_weights(sample: Trace) -> None:
    assert captions.phase(sample, 0, 0, [0.5], [0.5]) == (
        f"In head 0 {token(sample, 0)} reads every token with the same weight without the rotation "
        "as with it."
    )
    assert "reads itself with weight 0.5, without" in captions.phase(sample, 0, 0, [0.5], [0.4])
    back = captions.phase(sample, 0, 1, [0.5, 0.2], [0.4, 0.2])
    assert f"reads {token(sample, 0)}, 1 token back, with weight 0.5" in back


def test_next_token_names_the_three_likeliest(sample: Trace, tiny_tokenizer: Tokenizer) -> None:
    logits = sample.logits[2].numpy()
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    first, second, third = np.argsort(-shares)[:3]

    def likely(token_id: int) -> str:
        text = figures.next_token(sample, 2).data[0].customdata
        rank = [first, second, third].index(token_id)
        plain = text[rank].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return f"“{plain}” ({100 * shares[token_id]:.1f} %)"

    assert sentence_of(figures.next_token(sample, 2)) == (
        f"After {token(sample, 2)} the model expects {likely(first)}, then {likely(second)} and "
        f"{likely(third)}."
    )
    assert captions.next_token(sample, -1).startswith(f"After {token(sample, sample.length - 1)} ")


def test_a_vocabulary_of_one_or_two(tiny_model: ModelFactory) -> None:
    one = trace(tiny_model(vocab_size=1), torch.tensor([0, 0]))
    assert captions.next_token(one) == "After token 1 “0” the model expects “0” (100.0 %)."
    two = trace(tiny_model(vocab_size=2), torch.tensor([0, 1]))
    assert re.fullmatch(
        r"After token 1 “1” the model expects “\d” \([\d.]+ %\), then “\d” \([\d.]+ %\)\.",
        captions.next_token(two),
    )


# -- the modes --------------------------------------------------------------------------------


def test_cost_names_the_fastest_mode_and_the_smallest() -> None:
    costs = {
        "parallel": Cost(1.5, 2_000_000, 64_000, 4096, 1),
        "recurrent": Cost(12.25, 1_000_000, 8_000, 4096, 64),
        "chunkwise": Cost(3.0, 1_500_000, 16_000, 4096, 8),
    }
    assert sentence_of(cost_bars(costs, "recurrent")) == (
        "Parallel mode is fastest (1.5 ms), and recurrent mode is smallest in memory (8 kB at the "
        "peak)."
    )


def test_modes_that_cost_the_same_are_all_named() -> None:
    costs = {mode: Cost(2.0, 1, 5_000, 1, 1) for mode in MODES}
    assert captions.cost_bars(costs) == (
        "Parallel, recurrent and chunkwise modes are fastest (2 ms), and parallel, recurrent and "
        "chunkwise modes are smallest in memory (5 kB at the peak)."
    )


def test_agreement_tells_the_largest_difference() -> None:
    sample = Agreement(
        logits={"recurrent": 3.14e-7, "chunkwise": 2e-8},
        outputs={"recurrent": 1e-7, "chunkwise": 2.5e-6},
        scale=12.34,
    )
    assert captions.agreement(sample) == (
        "Between the three modes the logits differ by at most 3.1e-07 and the layers' outputs by "
        "at most 2.5e-06; the logits reach 12.3."
    )


# -- all of them ------------------------------------------------------------------------------


def test_sentences_are_plain_text_of_one_line(model: RetNet) -> None:
    for text in ("<b>&\n</b>", "<", "\n", "&\u202e"):
        text, bare = (trace(m, text) for m in (model, ablate(model, rotation="none")))
        last = text.length - 1
        sentences = [
            sentence_of(figures.decay(text, 0)),
            sentence_of(figures.scores(text, 0)),
            sentence_of(figures.retention(text, 0)),
            sentence_of(figures.state_norm(text, 0, bound=True)),
            sentence_of(figures.next_token(text)),
            sentence_of(figures.cost(text)),
            sentence_of(state(text, 0, 0, last)),
            sentence_of(state(text, 0, 0, last, compare=0)),
            sentence_of(singular_values(text, 0, last)),
            sentence_of(recall(text, 0, 0, last)),
            sentence_of(normalization(text, 0, factor=10)),
            sentence_of(gate(text, 0)),
            sentence_of(phase(text, bare, 0, 0, last)),
            captions.agreement(text.agreement()),
        ]
        for sentence in sentences:
            assert sentence.endswith(".")
            assert sentence[0].isupper()
            assert "\n" not in sentence
            assert "\u202e" not in sentence
            assert "&lt;" not in sentence, "it is text, not HTML"
            assert "<sub>" not in sentence
            assert "  " not in sentence
            assert "nan" not in sentence
            assert len(sentence) < 260
    assert "“<”" in captions.next_token(trace(model, "<"))
