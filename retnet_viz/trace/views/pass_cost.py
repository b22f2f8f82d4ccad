"""What a forward pass costs, measured: time, arithmetic, memory, sequential steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass over one text.

    milliseconds  wall-clock time of the pass, without recording: the median of three passes, or of
                  as many as fit into a tenth of a second
    flops         floating-point operations: 2 per multiply-add of a matrix product, 1 per element
                  of every elementwise result
    peak_bytes    most bytes of tensors alive at once, beyond the weights
    state_bytes   bytes of the recurrent state that the pass hands on
    steps         steps that had to run one after the other (states written per layer)
    """

    milliseconds: float
    flops: int
    peak_bytes: int
    state_bytes: int
    steps: int


class Meter(TorchDispatchMode):
    """Counts the operations that run under it, and the bytes of the tensors that stay alive."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.peak_bytes = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._live_bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler, for seconds, to keep it away from what is below."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        outputs = _tensors(result)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        elif torch.Tag.pointwise in func.tags:
            self.flops += sum(output.numel() for output in outputs if output.is_floating_point())
        if not func.is_view:
            input_ids = {_storage_id(tensor) for tensor in _tensors(args)}
            for output in outputs:
                self._track(output, input_ids)
        return result

    def _track(self, output: Tensor, input_ids: set[int]) -> None:
        key = _storage_id(output)
        if key in input_ids:  # written in place: no new memory
            return
        storage = output.untyped_storage()
        if key in self._live:  # the address of a storage that has died
            self._live_bytes -= self._live.pop(key)[1]
        self._live[key] = (StorageWeakRef(storage), storage.nbytes())
        self._live_bytes += storage.nbytes()
        if self._live_bytes > self.peak_bytes:  # only now the dead ones matter
            self._sweep()
            self.peak_bytes = max(self.peak_bytes, self._live_bytes)

    def _sweep(self) -> None:
        for key in [key for key, (reference, _) in self._live.items() if reference.expired()]:
            self._live_bytes -= self._live.pop(key)[1]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _storage_id(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def median_milliseconds(run: Callable[[], Any]) -> float:
    """How long `run()` takes: the median of three runs, of fewer where they take long."""
    times: list[float] = []
    with torch.no_grad():
        while len(times) < 3 and sum(times) < 0.1:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def measure(run: Callable[[], Any]) -> tuple[int, int]:
    """(flops, peak_bytes) of `run()`."""
    with torch.no_grad(), Meter() as meter:
        run()
    return meter.flops, meter.peak_bytes
