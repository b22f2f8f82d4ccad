"""This machine as a card of the calculator."""

from __future__ import annotations

import psutil
import pytest

from retnet_viz.lab import machine
from retnet_viz.lab.cost_model import PRECISIONS, SIZES, estimate


def test_it_is_described_as_a_card_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SIDE", 256)
    monkeypatch.setattr(machine, "_PRODUCT", 32)
    card = machine.measured_card(repeats=1)
    assert card.memory == psutil.virtual_memory().total
    assert min(card.bandwidth, card.flops, card.flops32) > 0
    size = SIZES["1.3B"]
    for config in size.configs.values():
        assert estimate(config, 2048, 1, PRECISIONS["bfloat16"], card).seconds > 0


def test_no_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats must be 1 or more"):
        machine.measured_card(repeats=0)
