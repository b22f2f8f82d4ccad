"""One example of a task: its tokens, what the selected one asks for, and what each head reads."""

from __future__ import annotations

from typing import Any

import ipywidgets as w
import numpy as np

from retnet_viz.experiments import Report, TinyTraining
from retnet_viz.experiments.learning.tiny_training import HEADS, gamma_of
from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.figures.base.theme import DIVERGING, color_table, head_color
from retnet_viz.ui.pages.training import training_messages
from retnet_viz.ui.panels.heatmap import Cell, Heatmap, Table
from retnet_viz.ui.panels.token_strip import TokenStrip


class ExampleView:
    """The strip, the question below it and the weights, of the model that is training.

    `token` is the selected one. `begin` takes the example of a run, `draw` what the model does.
    """

    def __init__(self) -> None:
        colors = color_table(DIVERGING).tobytes()
        self.strip = TokenStrip(colors=colors)
        self.question = w.HTML()
        self.question.add_class("rv-question")
        self.matrix = Heatmap(self._describe, self._tables, colors=colors)
        self.token = 0
        self._practice: TinyTraining
        self._report: Report
        self._layer = 0
        self._symbols: list[str] = []

    def begin(self, practice: TinyTraining) -> None:
        """Take the example of a run; its last question is selected."""
        self._practice = practice
        example, symbols = practice.example, practice.task.symbols
        self._symbols = [symbols[i] for i in example.ids[0].tolist()]
        questions = example.is_query[0].nonzero().flatten().tolist()
        self.token = questions[-1] if questions else 0

    def draw(self, report: Report, layer: int) -> None:
        """The example's tokens, and the retention weights of a layer."""
        self._report, self._layer = report, layer
        n, symbols = self.token, self._symbols
        weights = report.weights[layer].float().numpy()
        length = weights.shape[-1]
        causal = np.tri(length, dtype=bool)
        scale = color_scale(weights, "arcsinh", signed=True)
        row = weights[:, n, : n + 1].mean(0)
        with self.matrix.hold_sync(), self.strip.hold_sync():
            self.matrix.cells = raster(weights, scale, mask=causal).tobytes()
            self.matrix.meta = {
                "title": f"Retention weights QKᵀ ⊙ D, layer {layer}",
                "origin": "of the example above, computed",
                "summary": f"{length} by {length} weights of each head",
                "sentence": self._row_sentence(),
                "computed": "all",
                "block": length,
                "length": length,
                "signed": True,
                "ticks": scale.ticks(),
                "heads": [
                    {"index": head, "label": f"head {head}", "color": head_color(head)}
                    for head in range(HEADS)
                ],
            }
            self.matrix.selected = self.strip.selected = n
            self.strip.tokens, self.strip.first, self.strip.length = symbols, 0, length
            self.strip.shades = raster(row, color_scale(row, "arcsinh", signed=True)).tobytes()
            self.strip.weights = row.tobytes()
            self.strip.title = f"Example, never trained on: what n = {n} “{symbols[n]}” retains"
            self.strip.note = f"mean weight of all heads, layer {layer}"
        self.question.value = training_messages.question(self._question())

    def _question(self) -> str:
        """What the selected token asks for, and what the model says."""
        task, example = self._practice.task, self._practice.example
        n, symbols, answers = self.token, self._symbols, self._report.answers
        lag = int(example.lags[0, n])
        best = int(answers[n].argmax())
        if lag < 0:
            return f"n = {n} “{symbols[n]}” asks for nothing."
        answer = int(example.targets[0, n])
        right = "right" if best == answer else "wrong"
        return (
            f"n = {n} “{symbols[n]}” asks for “{task.symbols[answer]}”, whose source is n = "
            f"{n - lag} “{symbols[n - lag]}”, lag {lag}. The model says “{task.symbols[best]}” "
            f"({100 * answers[n, best].item():.0f} %): {right}."
        )

    def _row_sentence(self) -> str:
        n, symbols = self.token, self._symbols
        row = self._report.weights[self._layer][:, n, : n + 1]
        head, m = divmod(int(row.abs().argmax()), n + 1)
        return (
            f"n = {n} “{symbols[n]}” reads m = {m} “{symbols[m]}” most, in head {head}: "
            f"{row[head, m].item():.3g}. Point at a cell for its weight."
        )

    def _describe(self, cell: Cell) -> str:
        head, n, m = cell
        weights, symbols = self._report.weights[self._layer], self._symbols
        if not (0 <= head < weights.shape[0] and 0 <= m < weights.shape[1] > n >= 0):
            return ""
        if m > n:
            return f"head {head}: n = {n} “{symbols[n]}” cannot read m = {m}, which comes later"
        gamma = gamma_of(self._report.half_lives[head])
        return (
            f"head {head}, n {n} “{symbols[n]}” reads m {m} “{symbols[m]}”: weight "
            f"{weights[head, n, m].item():.3g}, decay γ^{n - m} = {gamma ** (n - m):.3g}"
        )

    def _tables(self) -> list[Table]:
        """What the selected token reads in each head."""
        n, symbols = self.token, self._symbols
        columns: list[Any] = self._report.weights[self._layer][:, n, : n + 1].T.tolist()
        return [
            (
                f"Retention weights of n = {n} “{symbols[n]}”, layer {self._layer}: computed",
                ["m", "token", *(f"head {head}" for head in range(HEADS))],
                [
                    [str(m), symbols[m], *(f"{value:.4g}" for value in values)]
                    for m, values in enumerate(columns)
                ],
            )
        ]
