"""The text goes on by itself: the explorer without a browser, in whose place the test paints."""

import pytest
import torch

import retnet_viz as rv
from retnet_viz.checkpoints import Tokenizer
from retnet_viz.ui.pages.explorer import continuation as continuation_module
from retnet_viz.ui.panels.go_on import Sampling, read_settings

TEXT = "The old man said to the boy, and the boy said"


def tell(page, what, **fields):
    """Say to the kernel what the browser says."""
    page.continuation.controls._handle_custom_msg({"do": what, **fields}, [])


def paint(page, times=1):
    """Have the newest token painted, so that the next one may come."""
    for _ in range(times):
        tell(page, "painted", number=page.continuation.controls.number)


def go_on(page, count):
    """Let the model write so many tokens."""
    tell(page, "go on")
    paint(page, count - 1)


def added(page):
    assert page.state.text.startswith(TEXT)
    return page.state.text[len(TEXT) :]


def script(monkeypatch, *ids):
    """Have these tokens drawn, whatever the model predicts."""
    left = list(ids)
    monkeypatch.setattr(
        continuation_module, "sample", lambda *_arguments: torch.tensor([left.pop(0)])
    )


@pytest.mark.parametrize("mode", ["parallel", "recurrent", "chunkwise"])
def test_one_token_is_the_likeliest(explorer, shipped_model, mode):
    explorer.mode.value = mode
    tell(explorer, "one")
    assert added(explorer) == rv.generate(shipped_model, TEXT, 1)
    assert explorer.trace.mode == mode
    assert not explorer.continuation.is_on
    tell(explorer, "one")
    assert added(explorer) == rv.generate(shipped_model, TEXT, 2)


@pytest.mark.parametrize("mode", ["parallel", "recurrent"])
def test_it_goes_on_as_generate_does_until_it_is_stopped(explorer, shipped_model, mode):
    explorer.mode.value = mode
    go_on(explorer, 10)
    assert added(explorer) == rv.generate(shipped_model, TEXT, 10)
    assert explorer.continuation.controls.running
    assert torch.equal(explorer.trace.ids, rv.trace(shipped_model, explorer.state.text).ids)
    tell(explorer, "stop")
    assert not explorer.continuation.controls.running
    assert explorer.continuation.controls.status.startswith("10 tokens written")
    paint(explorer)
    assert added(explorer) == rv.generate(shipped_model, TEXT, 10)


@pytest.mark.parametrize("mode", ["parallel", "recurrent"])
def test_what_is_changed_of_the_model_stays_changed(shipped_model, opened, mode):
    edits = tuple(rv.edits.silence(head=head) for head in (2, 3))
    page = opened(rv.explore(shipped_model, TEXT, mode=mode, edits=edits))
    go_on(page, 6)
    text = TEXT
    for _ in range(6):
        trace = rv.trace(shipped_model, text, edits=edits)
        text += trace.piece(int(trace.logits[-1].argmax()))
    assert page.state.text == text != TEXT + rv.generate(shipped_model, TEXT, 6)
    assert page.state.edits == edits
    tell(page, "stop")
    page.history.undo()
    assert (page.state.text, page.state.edits) == (TEXT, edits)


def test_no_token_comes_before_the_last_one_is_painted(explorer):
    go_on(explorer, 3)
    number, text = explorer.continuation.controls.number, explorer.state.text
    tell(explorer, "painted", number=number - 1)
    assert explorer.state.text == text
    tell(explorer, "painted", number=number)
    tell(explorer, "painted", number=number)  # a second view of the page
    assert len(explorer.trace.ids) == len(rv.trace(explorer.model, TEXT).ids) + 4


def test_an_appended_token_continues_from_the_carried_state(explorer):
    explorer.mode.value = "recurrent"
    go_on(explorer, 4)
    assert explorer._recomputed.tokens == 1


def test_a_run_is_one_step_of_undo_and_each_single_token_too(explorer):
    go_on(explorer, 5)
    tell(explorer, "stop")
    first = explorer.state.text
    go_on(explorer, 3)
    tell(explorer, "stop")
    tell(explorer, "one")
    tell(explorer, "one")
    for expected in (None, None, first, TEXT):
        explorer.history.undo()
        assert expected is None or explorer.state.text == expected
    assert explorer.state.written == ()
    assert explorer.strip.written == []
    explorer.history.redo()
    assert explorer.state.text == first
    assert explorer.state.written == ((len(TEXT), len(first)),)


def test_with_a_seed_the_same_text_goes_on_the_same_way(explorer, shipped_model):
    def run(seed, count=8):
        explorer.continuation.controls.settings = {
            "temperature": "1.2", "top_k": "50", "top_p": "0.95", "seed": seed
        }  # fmt: skip
        go_on(explorer, count)
        tell(explorer, "stop")
        text = added(explorer)
        explorer.history.undo()
        return text

    options = {"temperature": 1.2, "top_k": 50, "top_p": 0.95, "seed": 4}
    assert run("4") == run("4") == rv.generate(shipped_model, TEXT, 8, **options)
    assert len({run(seed) for seed in ("4", "5", "6")}) == 3
    assert len({run("") for _ in range(4)}) > 1


def test_what_the_model_wrote_is_marked_and_stays_marked_while_the_rest_is_edited(explorer):
    length = explorer.trace.length
    go_on(explorer, 4)
    tell(explorer, "stop")
    assert explorer.state.written == ((len(TEXT), len(explorer.state.text)),)
    assert explorer.strip.written == [(length, length + 4)]
    explorer.text.value += " he said"
    assert explorer.strip.written == [(length, length + 4)]
    explorer.text.value = "Yes. " + explorer.text.value
    shift = explorer.trace.length - length - 4 - 2
    assert shift > 0
    assert explorer.strip.written == [(length + shift, length + shift + 4)]
    tell(explorer, "one")
    assert explorer.strip.written[-1] == (explorer.trace.length - 1, explorer.trace.length)
    explorer.text.value = "Something else"
    assert explorer.strip.written == []


def test_marks_go_with_a_link(explorer, shipped_model, opened):
    go_on(explorer, 4)
    tell(explorer, "stop")
    other = opened(rv.explore(shipped_model, ""))
    other.open_link(explorer.shared_link()[0])
    assert other.state.text == explorer.state.text
    assert other.strip.written == explorer.strip.written != []


def test_typing_ends_it(explorer):
    go_on(explorer, 3)
    explorer.text.value = TEXT + " no"
    assert not explorer.continuation.controls.running
    paint(explorer)
    assert explorer.state.text == TEXT + " no"


def test_undo_and_another_text_end_it(explorer):
    go_on(explorer, 3)
    explorer.history.undo()
    paint(explorer)
    assert explorer.state.text == TEXT
    go_on(explorer, 3)
    explorer.open_text("Something else")
    paint(explorer)
    assert explorer.state.text == "Something else"
    assert explorer.state.written == ()
    assert not explorer.continuation.is_on


def test_another_layer_or_mode_does_not_end_it(explorer, shipped_model):
    go_on(explorer, 3)
    explorer.layer.value = 2
    explorer.mode.value = "chunkwise"
    explorer.strip.selected = 1
    paint(explorer, 3)
    assert added(explorer) == rv.generate(shipped_model, TEXT, 6)
    assert explorer.selected == explorer.trace.length - 1


def test_it_ends_at_the_limit_and_says_so(explorer, monkeypatch):
    monkeypatch.setattr(continuation_module, "MOST", 3)
    go_on(explorer, 5)
    assert explorer.strip.written[0][1] - explorer.strip.written[0][0] == 3
    assert "Stopped after 3 tokens" in explorer.notice.value
    assert not explorer.continuation.controls.running


def test_no_text_grows_beyond_what_is_shown(explorer, monkeypatch):
    monkeypatch.setattr(type(explorer), "max_tokens", explorer.trace.length + 2)
    go_on(explorer, 5)
    assert explorer.trace.length == explorer.max_tokens
    assert "is shown" in explorer.notice.value


def test_an_error_ends_it_and_is_said(explorer, monkeypatch):
    go_on(explorer, 2)
    text = explorer.state.text

    def broken(*_arguments):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(continuation_module, "sample", broken)
    paint(explorer)
    assert explorer.state.text == text
    assert "no such luck" in explorer.notice.value
    assert not explorer.continuation.controls.running


def test_a_failed_reading_ends_it(explorer, monkeypatch):
    go_on(explorer, 2)

    def broken(*_arguments, **_options):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(explorer._traces, "prepare", broken)
    paint(explorer)
    assert "no such luck" in explorer.notice.value
    assert not explorer.continuation.controls.running


def test_a_long_text_is_read_in_a_thread_and_goes_on(explorer):
    text = " ".join([TEXT] * 5)
    explorer.text.value = text
    explorer._traces._quick = 20  # bytes
    explorer.mode.value = "parallel"
    explorer.settle()
    go_on(explorer, 1)
    explorer.settle()
    paint(explorer)
    explorer.settle()
    assert explorer.strip.written[0][1] - explorer.strip.written[0][0] == 2


def test_a_character_of_several_tokens_is_waited_for(tiny_model, opened, monkeypatch):
    model = tiny_model(vocab_size=256, dtype=torch.float32)
    model.tokenizer = Tokenizer.of_bytes()
    page = opened(rv.explore(model, TEXT))
    script(monkeypatch, *"é".encode(), *"🦊".encode())
    tell(page, "one")
    assert added(page) == "é"
    tell(page, "one")
    assert added(page) == "é🦊"
    assert page.strip.written == [(len(TEXT), len(TEXT) + 6)]
    script(monkeypatch, *[0x80] * 20)
    tell(page, "one")
    assert added(page) == "é🦊"
    assert "no whole character" in page.notice.value
    assert not page.continuation.is_on


def test_the_parts_of_a_character_are_read_before_the_next_one_is_drawn(tiny_model, opened):
    model = tiny_model(vocab_size=256, dtype=torch.float32)
    model.tokenizer = Tokenizer.of_bytes()
    page = opened(rv.explore(model, TEXT))
    seen = []

    def sample(logits, *_rest):
        seen.append(logits[0])
        return torch.tensor([[*"é".encode()][len(seen) - 1]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(continuation_module, "sample", sample)
        tell(page, "one")
    expected = rv.trace(model, TEXT + "é").logits
    assert torch.allclose(seen[0], expected[-3], atol=1e-4)
    assert torch.allclose(seen[1], expected[-2], atol=1e-4)


def test_a_predicted_word_is_taken(explorer):
    choices = explorer.next.figure["layout"]["meta"]["choices"]
    top = explorer.trace.logits[-1].topk(10).indices.tolist()
    assert [choice[0] for choice in choices] == top
    assert explorer.next.offers
    explorer.next.chosen = top[2]
    assert explorer.trace.ids[-1] == top[2]
    assert explorer.next.chosen == -1
    assert explorer.strip.written == [(explorer.trace.length - 1, explorer.trace.length)]
    explorer.next.chosen = top[2]  # once more, although the value is the same
    assert added(explorer) == 2 * explorer.trace.piece(top[2])
    explorer.strip.selected = 3  # what is predicted there does not follow the text
    text = explorer.state.text
    assert not explorer.next.offers
    explorer.next.chosen = top[1]
    assert explorer.state.text == text
    explorer.history.undo()


def test_a_part_of_a_character_cannot_be_taken(tiny_model, opened):
    model = tiny_model(vocab_size=256, dtype=torch.float32)
    model.tokenizer = Tokenizer.of_bytes()
    page = opened(rv.explore(model, TEXT))
    page.next.chosen = 0xC3
    assert page.state.text == TEXT
    assert "part of a character" in page.notice.value


def test_bad_settings_are_told_beside_the_control_and_nothing_is_written(explorer):
    controls = explorer.continuation.controls
    controls.settings = {"temperature": "3", "top_k": "0", "top_p": "nan", "seed": "x" * 99}
    assert set(controls.problems) == {"temperature", "top_k", "top_p", "seed"}
    assert "whole number of 1 or more" in controls.problems["top_k"]
    tell(explorer, "one")
    assert explorer.state.text == TEXT
    assert "Top-k" in explorer.notice.value
    controls.settings = {"temperature": "0.5", "top_k": "", "top_p": " 0.9 "}
    assert controls.problems == {}
    assert controls.sampling == Sampling(0.5, None, 0.9, None)
    tell(explorer, "one")
    assert explorer.state.text != TEXT


@pytest.mark.parametrize(
    ("name", "text"),
    [("temperature", "-0.1"), ("temperature", "inf"), ("top_k", "2.5"), ("top_k", "9" * 5000),
     ("top_p", "0"), ("top_p", "1.1"), ("seed", "-1"), ("seed", None)],
)  # fmt: skip
def test_a_setting_out_of_range_is_left_at_its_default(name, text):
    sampling, problems = read_settings({name: text})
    assert sampling == Sampling()
    assert list(problems) == [name]
    assert len(problems[name]) < 120


def test_without_a_text_there_is_nothing_to_go_on_from(explorer):
    explorer.text.value = ""
    assert not explorer.continuation.controls.ready
    tell(explorer, "go on")
    assert explorer.state.text == ""
    assert not explorer.continuation.is_on
    explorer.text.value = TEXT
    assert explorer.continuation.controls.ready


def test_nonsense_from_a_page_is_harmless(explorer):
    for content in ("go on", {"do": "nothing"}, {"do": ["stop"]}, {"painted": 1}, None):
        explorer.continuation.controls._handle_custom_msg(content, [])
    assert explorer.state.text == TEXT


def test_the_predictions_of_a_fixed_trace_cannot_be_taken(tiny_model, opened):
    page = opened(rv.explore(rv.trace(tiny_model(), torch.arange(5))))
    assert page.text.disabled
    assert not page.next.offers
