"""The processes of a run: one, or those that torchrun started, over torch.distributed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many; each takes its share of the rows of a step."""

    rank: int = 0
    size: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    def print(self, text: str) -> None:
        """Print a line, once for all processes."""
        if self.is_leader:
            print(text, flush=True)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass gives every process the mean of all gradients."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def mean(self, value: float) -> float:
        """The mean of a number over all processes, the same in each."""
        return self._all_reduce(value, distributed.ReduceOp.SUM) / self.size

    def any(self, value: bool) -> bool:
        """Whether it is true in one of the processes."""
        return bool(self._all_reduce(float(value), distributed.ReduceOp.MAX))

    def broadcast(self, value: Any) -> Any:
        """The value of the leader, in every process."""
        if self.size > 1:
            objects = [value]
            distributed.broadcast_object_list(objects)
            value = objects[0]
        return value

    def _all_reduce(self, value: float, operation: Any) -> float:
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(tensor, operation)
        return tensor.item()


@contextmanager
def join_processes() -> Iterator[Processes]:
    """The processes that torchrun started, joined by gloo; one where it did not start this."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes()
        return
    distributed.init_process_group("gloo")
    try:
        yield Processes(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
