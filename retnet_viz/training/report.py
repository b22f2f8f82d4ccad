"""The report of `retnet-viz evaluate` on trained models: loss and recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from retnet_viz.checkpoints import CheckpointError, load_model
from retnet_viz.checkpoints.native import shipped
from retnet_viz.training.data import read_corpus, read_held_out, tokenize
from retnet_viz.training.evaluation import Evaluation, evaluate
from retnet_viz.training.recall import EARLY, LATE, Recall, measure_recall


@dataclass(frozen=True)
class Report:
    """The figures of one model."""

    name: str
    parameters: int
    evaluation: Evaluation
    recall: Recall

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON holds them."""
        return asdict(self)


def evaluate_folder(
    folder: Path, data: str | None = None, samples: int = 32, context: int = 512
) -> Report:
    """Read a checkpoint and measure it, with a progress bar.

    `data` is a corpus of which the texts held out from training are read; without it the stories
    that ship, which are held out too. Raises CheckpointError where there is no tokenizer, DataError
    on text that cannot be read, ValueError on a number below 1.
    """
    for name, value in (("samples", samples), ("context", context)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value}")
    model = load_model(folder)
    if model.tokenizer is None:
        raise CheckpointError(f"{folder} has no tokenizer, so that no text can be read with it")
    if data is None:
        ids, size = read_held_out(model.tokenizer)
    else:
        dataset = tokenize(read_corpus(Path(data)), model.tokenizer)
        ids, size = dataset.validation, dataset.validation_bytes
    name = next((kind for kind, path in shipped().items() if path == folder), folder.name)
    with tqdm(
        total=100, desc=name, bar_format="{desc} {percentage:3.0f} %|{bar}|", leave=False
    ) as bar:

        def report(activity: str, share: float) -> None:
            bar.set_description(f"{name}: {activity}", refresh=False)
            bar.update(round(100 * share) - bar.n)

        report("loss", 0.0)
        evaluation = evaluate(model, ids, size / len(ids), context)
        recall = measure_recall(
            model, ids, samples, lambda activity, share: report(activity, 0.2 + 0.8 * share)
        )
    return Report(name, model.n_parameters, evaluation, recall)


def report_table(reports: Sequence[Report]) -> str:
    """The figures of all models side by side, in plain text."""
    columns = [_figures(report) for report in reports]
    labels = list(dict.fromkeys(label for column in columns for label in column))
    label_width = max(map(len, labels))
    widths = [max(map(len, column.values())) for column in columns]
    return "\n".join(
        "  ".join(
            [
                label.ljust(label_width),
                *(
                    column.get(label, "-").rjust(width)
                    for column, width in zip(columns, widths, strict=True)
                ),
            ]
        )
        for label in labels
    )


def _figures(report: Report) -> dict[str, str]:
    """The formatted figures of a model, by label."""
    recall, evaluation = report.recall, report.evaluation
    figures = {
        "": report.name,
        "parameters": f"{report.parameters:,}",
        "loss, nats per token": f"{evaluation.loss:.4f}",
        "bits per byte": f"{evaluation.bits_per_byte:.4f}",
        "held-out tokens": f"{evaluation.tokens:,}",
    }
    for copy in recall.copies:
        label = f"rows of {copy.length} random tokens: copied in the 2nd, 3rd pass"
        figures[label] = f"{_percent(copy.second)}, {_percent(copy.third)}"
    for word in recall.words:
        subject = f"a {word.kind} told {word.lag} tokens before"
        figures[f"{subject}: recalled (control)"] = _pair(word.accuracy, word.control_accuracy)
        figures[f"{subject}: probability (control)"] = _pair(
            word.probability, word.control_probability
        )
    figures["loss of a passage read again, less at first"] = f"{recall.second_reading:+.3f}"
    late = "text too short" if recall.late is None else f"{recall.late:+.3f}"
    figures[f"loss at token {LATE} less at token {EARLY}"] = late
    return figures


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if 0 < share < 0.0995 else f"{100 * share:.0f} %"


def _pair(share: float, control: float) -> str:
    return f"{_percent(share)} ({_percent(control)})"
