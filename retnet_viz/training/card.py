"""The finished model of a run: 16-bit weights and a card that says where they come from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from retnet_viz.checkpoints import load_model
from retnet_viz.checkpoints.files import replaced_folder
from retnet_viz.checkpoints.native import kind_of, write_model
from retnet_viz.model import LanguageModel, RetNetConfig
from retnet_viz.training.data import Corpus, Dataset
from retnet_viz.training.evaluation import Evaluation, evaluate
from retnet_viz.training.recall import PATTERNS, Recall, measure_recall

TITLES = {
    "retnet": "A RetNet language model (Sun et al. 2023, arXiv:2307.08621)",
    "transformer": "A decoder Transformer language model (Vaswani et al. 2017, arXiv:1706.03762)",
    "mamba": "A Mamba language model (Gu and Dao 2023, arXiv:2312.00752)",
}
SUBJECTS = {
    "retnet": "retention works",
    "transformer": "softmax attention works",
    "mamba": "a selective state space works",
}
NAME = "MODEL_CARD.md"
RECURRING = "rows in which something comes again"


@dataclass(frozen=True)
class Provenance:
    """The facts of a run for its card. `options` are those of `retnet-viz train`, without paths.

    `recurring` says which share of the rows had something that recurs.
    """

    about: str
    options: dict[str, str]
    steps: int
    tokens: int
    context: int
    recurring: str
    weights_license: str = ""


def ship(
    model: LanguageModel[Any],
    folder: Path,
    dataset: Dataset,
    corpus: Corpus,
    provenance: Provenance,
) -> Evaluation:
    """Write model and card into `folder`; the card's figures are those of the stored weights."""
    with replaced_folder(folder) as scratch:
        write_model(model, scratch, torch.float16)
        bytes_per_token = dataset.validation_bytes / len(dataset.validation)
        stored = load_model(scratch)
        result = evaluate(stored, dataset.validation, bytes_per_token, provenance.context)
        recall = measure_recall(stored, dataset.validation)
        text = card(model, dataset, corpus, provenance, result, recall)
        (scratch / NAME).write_text(text, encoding="utf-8")
    return result


def card(
    model: LanguageModel[Any],
    dataset: Dataset,
    corpus: Corpus,
    provenance: Provenance,
    result: Evaluation,
    recall: Recall,
) -> str:
    """The card as Markdown."""
    config = model.config
    options = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(value)}"
        for name, value in provenance.options.items()
    )
    kind = kind_of(config)
    command = f"retnet-viz train --data {shlex.quote(corpus.name)} --out runs/{kind} {options}"
    shape = {
        name.removeprefix("n_").replace("d_model", "width"): value
        for name, value in config.to_dict().items()
        if name in ("n_layers", "n_heads", "d_model", "state_size")
    }
    weights_license = (
        f"| licence of the weights | {provenance.weights_license} |\n"
        if provenance.weights_license
        else ""
    )
    decay = f"| decay | {config.decay} |\n" if isinstance(config, RetNetConfig) else ""
    return f"""# Model card

{TITLES[kind]}, small enough to watch.

| | |
|---|---|
| parameters | {model.n_parameters:,} |
| {", ".join(shape)} | {", ".join(map(str, shape.values()))} |
{decay}| vocabulary | {config.vocab_size:,} byte-level BPE tokens, learned on all texts |
| weights | float16 |
{weights_license}| data | {corpus.name}: {provenance.about} |
| texts | {len(corpus.texts):,}, every 50th held out |
| SHA-256 of the text | {corpus.sha256} |
| tokens in the training part | {len(dataset.train):,} |
| tokens seen | {provenance.tokens:,} |
| steps | {provenance.steps:,} |
| context in training | {provenance.context} tokens |
| {RECURRING} | {provenance.recurring} |
| validation loss | {result.loss:.4f} nats per token, over {result.tokens:,} held-out tokens |
| bits per byte | {result.bits_per_byte:.4f} |
{_recall_rows(recall)}

To train it again:

    {command}

It continues the kind of text that it was trained on. It knows nothing, and what it writes can be
false or offensive. It is meant for looking at how {SUBJECTS[kind]}.
"""


def _recall_rows(recall: Recall) -> str:
    """The rows of the card's table about recall."""
    lengths = ", ".join(str(figure.length) for figure in recall.copies)
    copy_accuracies = ", ".join(f"{100 * figure.second:.0f} %" for figure in recall.copies)
    rows = [f"| rows of {lengths} random tokens, copied in the second pass | {copy_accuracies} |"]
    for kind in PATTERNS:
        words = [figure for figure in recall.words if figure.kind == kind]
        if words:
            lags = ", ".join(str(figure.lag) for figure in words)
            accuracies = ", ".join(f"{100 * figure.accuracy:.0f} %" for figure in words)
            rows.append(f"| a {kind} told {lags} tokens before, recalled | {accuracies} |")
    rows.append(
        f"| loss of a passage read again, less at first | {recall.second_reading:+.3f} nats |"
    )
    return "\n".join(rows)
