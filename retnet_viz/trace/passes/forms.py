"""The three forms of retention as a trace observes them: what each is called, computes and reads.

Shapes: T tokens, B tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """One form of retention, by the mode that runs it.

    label     the mode's name for people
    equation  what it computes for one head; equations 5, 6 and 7 of the paper
    cells     the cells (n, m) of the T x T plane that it computes: "all", "none", or "blocks",
              those inside the chunks
    stride    (T, B) -> the tokens that one step reads
    """

    label: str
    equation: str
    cells: str
    stride: Callable[[int, int], int]

    def steps(self, length: int, chunk_size: int) -> int:
        """How many steps a text of `length` tokens takes, one after the other."""
        return -(-length // self.stride(length, chunk_size))


FORMS = {
    "parallel": Form("Parallel", "O = (Q Kᵀ ⊙ D) V", "all", lambda length, chunk_size: length),
    "recurrent": Form(
        "Recurrent", "Sₙ = γ Sₙ₋₁ + kₙᵀ vₙ, oₙ = qₙ Sₙ", "none", lambda length, chunk_size: 1
    ),
    "chunkwise": Form(
        "Chunkwise",
        "Oᵢ = (Qᵢ Kᵢᵀ ⊙ D) Vᵢ + (Qᵢ Sᵢ₋₁) ⊙ ξ",
        "blocks",
        lambda length, chunk_size: chunk_size,
    ),
}
