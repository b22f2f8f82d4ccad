"""Logged runs: read as written, compared by hand-made numbers, refused where they are none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from retnet_viz.experiments.learning.training_runs import (
    ABLATIONS,
    PAPER,
    RECALL_COLUMNS,
    ablation_results,
    agreement_with_paper,
    read_runs,
    seed_changes,
    tokens_until,
)
from retnet_viz.figures.experiments.training_runs import ablations, losses, recall_over_tokens

HEADER = (
    "run,options,parameters,step,tokens,seconds,train_loss,loss,bits_per_byte,validation_tokens"
)
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two validations of each run; the second one's perplexity is 20, 21, 22, ... in this order."""
    names = ["retnet", "retnet-seed-1", "retnet-seed-2", *ABLATIONS]
    lines = [HEADER]
    for i, name in enumerate(names):
        for step, perplexity in ((100, 90 + i), (200, 20 + i)):
            loss = math.log(perplexity)
            lines.append(
                f'{name},"--seed {i}",{1000 + i},{step},{step * 64},{step / 4},5.5,{loss},1.25,4096'
            )
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_log_is_read_as_it_was_written(log: Path) -> None:
    runs = read_runs(log)
    assert list(runs)[:3] == ["retnet", "retnet-seed-1", "retnet-seed-2"]
    run = runs["no-gate"]
    assert (run.options, run.parameters, run.tokens) == ("--seed 3", 1003, (6400, 12800))
    assert run.perplexity == pytest.approx(23)
    assert run.tokens_per_second == pytest.approx(256)


def test_ablations_are_held_against_the_whole_and_ordered_by_harm(log: Path) -> None:
    runs = read_runs(log)
    results = ablation_results(runs)
    assert [a.label for a in results] == [label for label, _ in reversed(ABLATIONS.values())]
    assert [a.change for a in results] == pytest.approx([35.0, 30.0, 25.0, 20.0, 15.0])
    assert results[0].paper_change == pytest.approx(100 * (27.68 / PAPER - 1))
    assert seed_changes(runs) == pytest.approx([0.0, 5.0, 10.0])
    # Here 27.68 > 27.02 > 27.86 > 27.54 > 27.84; counted by hand: four pairs stand as they should.
    assert agreement_with_paper(results) == (4, 10)
    assert agreement_with_paper(sorted(results, key=lambda a: -a.paper_change)) == (4, 10)


def test_the_figures_hold_the_numbers_of_the_runs(log: Path) -> None:
    runs = read_runs(log)
    figure = losses(runs)
    assert [line.name for line in figure.data] == list(runs)
    assert list(figure.data[3].x) == [6400, 12800]
    assert list(figure.data[3].y) == pytest.approx([math.log(93), math.log(23)])
    assert "retnet ends lowest, at 2.9957" in figure.layout.meta["sentence"]

    figure = ablations(runs, theme="dark")
    ours, paper = figure.data
    assert list(ours.y) == list(paper.y) == [a.label for a in ablation_results(runs)]
    assert list(ours.x) == pytest.approx([35.0, 30.0, 25.0, 20.0, 15.0])
    assert list(paper.x)[-1] == pytest.approx(100 * (27.84 / PAPER - 1))
    band = figure.layout.shapes[0]
    assert (band.x0, band.x1) == pytest.approx((0.0, 10.0))
    assert "4 of 10 pairs" in figure.layout.meta["sentence"]


def test_recall_is_read_and_drawn_and_said_when_it_appears(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    lines = [f"{HEADER},{','.join(RECALL_COLUMNS)}"]
    for name, shares in (("quick", (0.1, 0.5, 0.9)), ("never", (0.0, 0.1, 0.2))):
        for i, share in enumerate(shares):
            recalled = [share, share, share / 2, 0.25, 0]  # in the order of RECALL_COLUMNS
            lines.append(f"{name},,9,{i},{1000 * (i + 1)},1,5,5,1,9,{','.join(map(str, recalled))}")
    path.write_text("\n".join(lines) + "\n")
    runs = read_runs(path)
    assert runs["quick"].recall["copy_64"] == (0.05, 0.25, 0.45)
    assert tokens_until(runs["quick"], "copy_32") == 2000
    assert tokens_until(runs["quick"], "copy_64") is None

    figure = recall_over_tokens(runs, ("copy_32", "names"))
    assert len(figure.data) == 4
    copies, names = figure.data[:2]
    assert (copies.name, names.name) == (
        "quick, rows of 32 random tokens copied",
        "quick, invented names recalled",
    )
    assert list(copies.x) == [1000, 2000, 3000]
    assert list(copies.y) == [10, 50, 90]
    assert list(names.y) == [25, 25, 25]
    assert copies.line.color == names.line.color != figure.data[2].line.color
    assert copies.line.dash != names.line.dash
    assert figure.layout.meta["sentence"] == (
        "quick: half of rows of 32 random tokens copied after 2,000 tokens. "
        "never: at most 20 % of rows of 32 random tokens copied."
    )


def test_a_log_without_recall_is_not_drawn_as_one_of_no_recall(log: Path) -> None:
    with pytest.raises(ValueError, match="the log of retnet has no recall"):
        recall_over_tokens(read_runs(log))


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", f"{HEADER}\nretnet,x,many,1,2,3,4,5,6,7\n"])
def test_what_is_no_log_is_refused_with_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"runs\.csv is not a log of runs"):
        read_runs(path)
    with pytest.raises(ValueError, match=r"nowhere\.csv is not a log of runs"):
        read_runs(tmp_path / "nowhere.csv")


# Runs that end before they read a story.
COPYING_ALONE = ("transformer-copy-1500", "transformer-copy-1500-base-100")


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.csv")), ids=lambda path: path.stem)
def test_the_committed_logs_are_read(path: Path) -> None:
    for name, run in read_runs(path).items():
        assert list(run.tokens) == sorted(run.tokens)
        if name in COPYING_ALONE:
            assert run.recall["copy_32"][-1] > 0.9 > run.recall["copy_32"][0]
        else:
            assert run.losses[-1] < run.losses[0]
