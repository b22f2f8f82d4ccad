"""The precision that training has: the faster one here, told, and the same after a resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from runs import arguments

from retnet_viz.cli import main
from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.training import TrainingConfig, precision
from retnet_viz.training.precision import fastest_precision


@pytest.fixture
def model() -> RetNet:
    return RetNet(RetNetConfig(vocab_size=40, d_model=16, n_layers=1, n_heads=2))


def seconds(times: dict[str, float], calls: list[tuple[str, int]]):
    """In place of a clock: so long a row of each precision takes."""

    def measure(self: object, name: str, count: int) -> float:
        calls.append((name, count))
        return times[name] * count

    return measure


@pytest.mark.parametrize(
    ("times", "best", "reason"),
    [
        ({"float32": 0.02, "bfloat16": 0.01}, "bfloat16", "float32 takes 2.0 times as long here"),
        ({"float32": 0.02, "bfloat16": 0.025}, "float32", "bfloat16 takes 1.2 times as long here"),
        ({"float32": 0.02, "bfloat16": 9.0}, "float32", "bfloat16 takes 450.0 times as long here"),
    ],
)
def test_auto_is_the_faster_one_and_what_is_hopeless_is_read_once(
    model: RetNet, monkeypatch: pytest.MonkeyPatch, times: dict[str, float], best: str, reason: str
) -> None:
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(precision._Probe, "_time_step", seconds(times, calls))
    pace = fastest_precision(model, TrainingConfig("d", "o", context=100))
    assert pace.precision == best
    assert reason in pace.reason
    assert pace.tokens_per_second == pytest.approx(100 / times[best])
    if times["bfloat16"] > 1:
        assert calls.count(("bfloat16", 1)) == 1
        assert ("bfloat16", precision.ROWS) not in calls


def test_what_is_asked_for_is_kept(model: RetNet) -> None:
    for name in ("float32", "bfloat16"):
        assert fastest_precision(model, TrainingConfig("d", "o", precision=name)).precision == name


def test_measuring_leaves_the_model_and_the_random_numbers_as_they_were(model: RetNet) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    model.eval()
    assert fastest_precision(model, TrainingConfig("d", "o")).tokens_per_second > 0
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_a_run_says_its_precision_and_its_speed_first_and_goes_on_with_it(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    slow = {"float32": 0.001, "bfloat16": 0.1}
    monkeypatch.setattr(precision._Probe, "_time_step", seconds(slow, []))
    words = arguments(stories, tmp_path / "run", precision="auto", steps=2, validate_every=1)
    assert main(words) == 0
    output = capsys.readouterr().out
    assert "training in float32: bfloat16 takes 100.0 times as long here; about 24,000 tokens" in (
        output
    )
    assert "to the end" in output
    saved = json.loads((tmp_path / "run" / "checkpoint" / "training.json").read_text())
    assert saved["training"]["precision"] == "float32"
    # On another machine the run keeps the precision that it began with.
    monkeypatch.setattr(
        precision._Probe, "_time_step", seconds({"float32": 0.1, "bfloat16": 0.001}, [])
    )
    assert main([*words, "--resume"]) == 0
    assert "training in float32;" in capsys.readouterr().out
