"""Recall of several models, measured when asked for: by lag, and by the noise between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ipywidgets as w
import torch

from retnet_viz.figures.experiments.word_recall import recall_by_lag, recall_by_noise
from retnet_viz.model import LanguageModel
from retnet_viz.training.data import read_held_out
from retnet_viz.training.recall import LAGS, NOISES, NOISY_LAG, Story, WordRecall, word_recall
from retnet_viz.ui.core import messages
from retnet_viz.ui.core.app_page import bar
from retnet_viz.ui.core.background import LatestJob, OutdatedError
from retnet_viz.ui.panels.plots.plot import Plot

KIND = "thing"
SAMPLES = 8  # texts for each point


class RecallPanel:
    """Two plots, a button and a `note` (HTML); `lag_results` and `noise_results` are by model.

    `start` measures in a thread, `stop` ends that after the current text; its results stay.
    """

    def __init__(
        self,
        models: Mapping[str, LanguageModel[Any]],
        theme: Callable[[], str],
        note: str = "",
        samples: int = SAMPLES,
    ) -> None:
        self.models = dict(models)
        self.samples = samples
        self.lag_results: dict[str, list[WordRecall]] = {name: [] for name in models}
        self.noise_results: dict[str, list[WordRecall]] = {name: [] for name in models}
        self._theme = theme
        self._job = LatestJob(0.0)
        self._display_lock = threading.Lock()
        self.run = w.Button(tooltip="Ask all models for things told some tokens before")
        self.run.add_class("rv-run")
        self.progress = w.IntProgress(max=1, layout={"width": "160px"})
        self.activity = w.HTML()
        self.activity.add_class("rv-doing")
        self.by_lag, self.by_noise = Plot(), Plot()
        plots = w.HBox([self.by_lag, self.by_noise])
        plots.add_class("rv-recall-plots")
        head = bar(w.HTML("<b>What is recalled</b>"), self.run, self.progress, self.activity)
        self.box = w.VBox([head, *([w.HTML(note)] if note else []), plots])
        self.run.on_click(lambda _: self.stop("cancelled") if self.is_running else self.start())
        self._show_progress("")
        self.draw()

    @property
    def is_running(self) -> bool:
        """Whether the models are being asked."""
        return bool(self.run.description == "Cancel")

    def start(self) -> None:
        """Ask all models, in a thread."""
        with self._display_lock:
            for results in (self.lag_results, self.noise_results):
                results.update({name: [] for name in self.models})
            self._show_progress("starting", 0, 1)
        self._job.submit(self._measure)

    def stop(self, text: str = "") -> None:
        """End it; nothing of it comes after this."""
        with self._display_lock:
            self._job.cancel()
            self._show_progress(text)

    def settle(self, timeout: float = 60.0) -> None:
        """Wait until nothing is measured. For tests and scripts."""
        until = time.monotonic() + timeout
        while self.is_running and time.monotonic() < until:
            time.sleep(0.01)

    def draw(self) -> None:
        """Draw what is known."""
        theme = self._theme()
        self.by_lag.show(recall_by_lag.spec(self.lag_results, KIND, theme=theme))
        self.by_noise.show(recall_by_noise.spec(self.noise_results, theme=theme))

    def _tasks(self) -> Iterator[tuple[str, dict[str, list[WordRecall]], int, float]]:
        """What is asked, in turn of all models: the model, where it belongs, lag and noise."""
        for lag in LAGS:
            for name in self.models:
                yield name, self.lag_results, lag, 1.0
        for noise in NOISES:
            for name in self.models:
                yield name, self.noise_results, NOISY_LAG, noise

    def _measure(self, is_current: Callable[[], bool]) -> None:
        try:
            tokenizer = next(iter(self.models.values())).tokenizer
            story = Story(read_held_out(tokenizer)[0], tokenizer)
            points = list(self._tasks())
            for done, (name, results, lag, noise) in enumerate(points):
                with torch.inference_mode():
                    recall = word_recall(self.models[name], story, KIND, lag, self.samples, noise)
                with self._display_lock:
                    if not is_current():
                        raise OutdatedError
                    results[name] += [recall] if recall else []
                    self._show_progress(f"{name}, {lag} tokens back", done + 1, len(points))
                    self.draw()
            with self._display_lock:
                if is_current():
                    self._show_progress(
                        f"{self.samples} texts for each point, none of them trained on"
                    )
        except OutdatedError:
            return
        except Exception as error:
            # It runs in a thread, where nobody would see it.
            logging.getLogger(__name__).exception("recall could not be measured")
            with self._display_lock:
                if is_current():
                    self._show_progress("")
                    self.activity.value = messages.measurement_failure("Recall", error)

    def _show_progress(self, activity: str, done: int = 0, total: int = 0) -> None:
        """Say what is done, and how far; a `total` of 0 means that nothing is."""
        self.activity.value = messages.activity(activity)
        self.progress.max, self.progress.value = max(1, total), done
        self.progress.layout.visibility = "visible" if total else "hidden"
        self.run.description = "Cancel" if total else "Measure"
