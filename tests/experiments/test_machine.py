"""This machine as a card of the calculator."""

from __future__ import annotations

import psutil
import pytest
import torch

from retnet_viz.experiments.cost_model import PRECISIONS, SIZES, estimate
from retnet_viz.experiments.speed import machine


def test_it_is_described_as_a_card_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SIDE", 256)
    monkeypatch.setattr(machine, "_PRODUCT", 32)
    card = machine.measured_card(repeats=1)
    assert card.memory == psutil.virtual_memory().total
    assert min(card.bandwidth, card.flops, card.flops32) > 0
    size = SIZES["1.3B"]
    for config in size.configs.values():
        assert estimate(config, 2048, 1, PRECISIONS["bfloat16"], card).seconds > 0


def test_products_are_measured_in_seconds_whatever_multiplies(monkeypatch) -> None:
    """A product of 2,048 x 2,048 numbers of 16 bits takes 20 s where it is emulated."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    def slow(a, b):
        clock.now += (len(a) / 2048) ** 3 * slowest

    clock = Clock()
    monkeypatch.setattr(machine, "time", clock)
    monkeypatch.setattr(torch, "matmul", slow)
    slowest = 20.0
    assert machine.product_flops(torch.bfloat16) == (pytest.approx(2 * 2048**3 / 20), 512)
    assert clock.now < 3
    slowest = 0.1
    assert machine.product_flops(torch.float32) == (pytest.approx(2 * 2048**3 / 0.1), 2048)
    assert machine.product_flops(torch.float32, largest=1024)[1] == 1024


def test_no_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats must be 1 or more"):
        machine.measured_card(repeats=0)
