"""Muon: what its step is, which parameters it has, and that a run with it goes on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import arguments, log_of

from retnet_viz.baselines import Mamba, MambaConfig, Transformer, TransformerConfig
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.cli import main
from retnet_viz.model import RetNet
from retnet_viz.training.optimizer import Muon, make_optimizers, orthogonalize

ModelFactory = Callable[..., RetNet]


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
def test_the_update_has_the_directions_of_the_gradient_and_singular_values_near_one(
    shape: tuple[int, int],
) -> None:
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    actual = orthogonalize(gradient)
    assert actual.dtype == torch.float32
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    inner = u.T @ actual @ v.T  # diagonal, where the directions are the same
    assert (inner - inner.diag().diag()).abs().max() < 1e-3
    assert inner.diag().min() > 0.5
    assert inner.diag().max() < 1.4


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0.03), ("bfloat16", 0.02)])
def test_a_step_is_that_of_torch_but_for_the_rounding_of_bfloat16(
    precision: str, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(12, 20, generator=generator)
    ours, torch_weights = (torch.nn.Parameter(start.clone()) for _ in range(2))
    options = {"lr": 0.02, "weight_decay": 0.1}
    pair = (
        (ours, Muon([{"params": [ours], "n_matrices": 1}], precision=precision, **options)),
        (
            torch_weights,
            torch.optim.Muon([torch_weights], adjust_lr_fn="match_rms_adamw", **options),
        ),
    )
    for _ in range(4):
        gradient = torch.randn(12, 20, generator=generator)
        for parameter, optimizer in pair:
            parameter.grad = gradient.clone()
            optimizer.step()
    step_norm = (torch_weights - start).norm()
    assert (ours - torch_weights).norm() < tolerance * step_norm


def test_matrices_that_are_stacked_in_one_parameter_are_changed_one_by_one() -> None:
    start, gradient = torch.randn(2, 30, 12, generator=torch.Generator().manual_seed(3))
    whole = torch.nn.Parameter(start.clone())
    parts = [torch.nn.Parameter(part.clone()) for part in start.chunk(3)]
    for parameters, gradients, stacked in (
        ([whole], [gradient], 3),
        (parts, gradient.chunk(3), 1),
    ):
        muon = Muon([{"params": parameters, "n_matrices": stacked}], 0.02, 0.1, "float32")
        for parameter, each in zip(parameters, gradients, strict=True):
            parameter.grad = each.clone()
        muon.step()
    assert torch.equal(whole, torch.cat(parts))
    stacked = {
        len(group["params"]): group["n_matrices"]
        for model in (
            Transformer(TransformerConfig(vocab_size=40, d_model=8, n_layers=1, n_heads=2)),
        )
        for group in make_optimizers(model, "muon", 1e-3, 0.05)[1].param_groups
    }
    assert stacked == {1: 3, 3: 1}  # q, k and v; out_proj, up_proj and down_proj


def test_muon_has_the_matrices_within_and_adamw_the_rest(tiny_model: ModelFactory) -> None:
    for model in (tiny_model(), Mamba(MambaConfig(vocab_size=40, d_model=8, n_layers=1))):
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        adamw, muon = make_optimizers(model, "muon", 1e-3, 0.05)
        of_each = [
            {names[id(each)] for group in optimizer.param_groups for each in group["params"]}
            for optimizer in (adamw, muon)
        ]
        assert of_each[0] | of_each[1] == set(names.values())
        assert not of_each[0] & of_each[1]
        assert "embedding.weight" in of_each[0]
        matrices = {name for name, parameter in model.named_parameters() if parameter.dim() == 2}
        assert matrices - of_each[1] == {"embedding.weight"} | {
            name for name in matrices if name.endswith("A_log")
        }


@pytest.mark.slow
def test_a_run_with_muon_goes_on_bit_for_bit(stories: Path, tmp_path: Path) -> None:
    """In a stable schedule the first half does not know how long the run will be."""
    straight, parted = tmp_path / "straight", tmp_path / "parted"
    options = {
        "optimizer": "muon", "schedule": "stable", "decay_share": 0.25, "validate_every": 4,
        "recurring": 0.5, "recurring_end": 0.1, "recurring_steps": 3, "copy_steps": 3, "warmup": 2,
    }  # fmt: skip
    assert main(arguments(stories, straight, steps=8, **options)) == 0
    short = {**options, "decay_share": 0.0}
    assert main(arguments(stories, parted, steps=4, **short)) == 0
    assert main([*arguments(stories, parted, steps=8, **options), "--resume"]) == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        expected, actual = (
            dict(Weights([run / "checkpoint" / name])) for run in (straight, parted)
        )
        assert actual.keys() == expected.keys()
        for key in expected:
            assert torch.equal(actual[key], expected[key]), key
    assert log_of(parted)[-1]["loss"] == log_of(straight)[-1]["loss"]


@pytest.mark.slow
def test_the_length_of_a_stable_run_is_fixed_once_its_rate_falls(
    stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options = {"schedule": "stable", "decay_share": 0.5, "warmup": 0}
    assert main(arguments(stories, run, steps=4, **options)) == 0
    assert main([*arguments(stories, run, steps=8, **options), "--resume"]) == 2
    assert "steps 4, not 8" in capsys.readouterr().err


@pytest.mark.slow
def test_a_resume_with_another_optimizer_is_refused(
    stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(arguments(stories, run, steps=2)) == 0
    assert main([*arguments(stories, run, steps=2, optimizer="muon"), "--resume"]) == 2
    assert "optimizer adamw, not muon" in capsys.readouterr().err


@pytest.mark.slow
def test_minutes_end_a_run_with_its_schedule_done_and_a_model(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retnet_viz.training import loop

    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    clock, rates = Clock(), []
    step = loop._step

    def take_a_second(model, optimizers, *given):
        rates.append(optimizers[0].param_groups[0]["lr"])
        clock.now += 1.0
        return step(model, optimizers, *given)

    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop, "_step", take_a_second)
    run = tmp_path / "run"
    words = arguments(
        stories, run, steps=5000, minutes=0.5, schedule="stable", decay_share=0.3, warmup=0,
        validate_every=1000,
    )  # fmt: skip
    assert main(words) == 0
    assert log_of(run)[-1]["step"] == 30
    assert rates[:21] == [0.01] * 21
    assert rates[21:] == sorted(rates[21:], reverse=True)
    assert rates[-1] < 0.0015
    assert (run / "model" / "model.safetensors").exists()
    assert json.loads((run / "checkpoint" / "training.json").read_text())["progress"]["step"] == 30


@pytest.mark.slow
def test_what_a_long_run_did_is_kept_between_validations(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retnet_viz.training import loop

    saved: list[int] = []
    save_run = loop.save_run

    def note(model, optimizers, corpus, config, progress):
        saved.append(progress.step)
        save_run(model, optimizers, corpus, config, progress)

    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    monkeypatch.setattr(loop, "save_run", note)
    assert main(arguments(stories, tmp_path / "run", steps=6, validate_every=4)) == 0
    assert saved == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in log_of(tmp_path / "run")] == [4, 6]
