"""The cost of generating a token, from a model's shape alone: memory, bytes moved, arithmetic.

Formulas for the three kinds of models, and their published sizes. A step reads every weight once
for all rows of the batch, and the state of each row; it writes a whole recurrent state back, or
adds one token to a cache. A step cannot be faster than the card moves those bytes or does that
arithmetic. A real step is slower, for reasons left out here: activations, the launch of kernels,
transfers below the card's peak.

Shapes: L layers, H heads, d = d_model, f = ffn_dim, V = vocab_size; Mamba: d_inner, N = state_size,
W = conv_width, R = delta_rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from retnet_viz.baselines import MambaConfig, TransformerConfig
from retnet_viz.model import RetNetConfig
from retnet_viz.model.variant import GATE_ACTIVATIONS

Config = RetNetConfig | TransformerConfig | MambaConfig
RETNET, TRANSFORMER, MAMBA = KINDS = ("RetNet", "Transformer", "Mamba")


@dataclass(frozen=True)
class Counts:
    """How many numbers a model has and works on; those of the state are of one row of a batch.

    parameters         weights, tied ones counted once
    matrix_parameters  those of matrices that multiply every token, with the head's
    read_parameters    those that a step reads: all but an untied embedding, of which it reads a row
    recurrent          numbers of a state that is rewritten at every token: S, or Mamba's h
    buffered           past inputs of Mamba's convolution, also rewritten
    cached             keys and values per token read
    state_flops        floating-point operations on the recurrent state and the buffer, per token
    flops_per_cached   operations on each token in the cache, per token
    """

    parameters: int
    matrix_parameters: int
    read_parameters: int
    recurrent: int = 0
    buffered: int = 0
    cached: int = 0
    state_flops: int = 0
    flops_per_cached: int = 0

    def flops(self, context: int) -> int:
        """Operations for one more token behind `context`; without norms and activations."""
        # The token that is read attends to itself too.
        return (
            2 * self.matrix_parameters
            + self.state_flops
            + self.flops_per_cached * (context + bool(context))
        )


def counts(config: Config) -> Counts:
    """The numbers in a model of this config."""
    if isinstance(config, RetNetConfig):
        return _retnet(config)
    return _transformer(config) if isinstance(config, TransformerConfig) else _mamba(config)


def _retnet(config: RetNetConfig) -> Counts:
    d, layers, values = config.d_model, config.n_layers, config.n_heads * config.value_dim
    gates = 1 if config.gate == "swish" else 0
    queries, shared = config.n_heads * config.head_dim, config.key_heads / config.n_heads
    retention = d * queries + int(d * (queries + values) * shared) + (1 + gates) * d * values
    ffn = (3 if config.variant.feed_forward in GATE_ACTIVATIONS else 2) * d * config.ffn_dim
    norm = 2 * d if config.variant.norm == "layer" else d
    state = layers * config.n_heads * config.head_dim * config.value_dim
    return _make_counts(
        config,
        layers * (retention + ffn),
        (2 * layers + 1) * norm,
        recurrent=state,
        # γS, plus kᵀv, is 3 operations per number of S; q S another 2 (equation 6).
        state_flops=5 * state,
    )


def _transformer(config: TransformerConfig) -> Counts:
    d, layers = config.d_model, config.n_layers
    return _make_counts(
        config,
        layers * (4 * d * d + 2 * d * config.ffn_dim),
        (2 * layers + 1) * 2 * d,
        cached=2 * layers * d,
        flops_per_cached=4 * layers * d,  # q·k, and the weight times v
    )


def _mamba(config: MambaConfig) -> Counts:
    d, layers, inner = config.d_model, config.n_layers, config.d_inner
    n, rank, width = config.state_size, config.delta_rank, config.conv_width
    matrices = 3 * d * inner + inner * (rank + 2 * n) + rank * inner
    others = inner * n + inner * (width + 1) + 2 * inner + d  # A, convolution, Δ's bias and D, norm
    return _make_counts(
        config,
        layers * matrices,
        layers * others + d,
        recurrent=layers * inner * n,
        buffered=layers * inner * (width - 1),
        # exp(ΔA), times h, plus Δx B, is 5 operations per number of h; h C another 2.
        state_flops=layers * inner * (7 * n + 2 * width),
    )


def _make_counts(config: Config, matrices: int, others: int, **state: int) -> Counts:
    table = config.vocab_size * config.d_model
    read_parameters = matrices + others + table  # of a tied table the head reads all
    return Counts(
        parameters=read_parameters if config.tie_embeddings else read_parameters + table,
        matrix_parameters=matrices + table,
        read_parameters=read_parameters,
        **state,
    )


@dataclass(frozen=True)
class Precision:
    """Bytes of a number: of a weight, of what is cached or buffered, of a recurrent state."""

    name: str
    weights: int
    cached: int
    recurrent: int


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("bfloat16", 2, 2, 2),
        Precision("bfloat16, S and h in float32", 2, 2, 4),
        Precision("float32", 4, 4, 4),
        Precision("int8 weights, bfloat16 state", 1, 2, 2),
    )
}


def precision_of(dtype: torch.dtype) -> Precision:
    """How the models of this package keep their numbers: a recurrent state has 32 bits at least."""
    size = dtype.itemsize
    return Precision(str(dtype).removeprefix("torch."), size, size, max(4, size))


def state_bytes(config: Config, context: int, precision: Precision) -> int:
    """Bytes of the state of one row behind `context` tokens, at least 1."""
    count = counts(config)
    cached_numbers = count.buffered + count.cached * context
    return count.recurrent * precision.recurrent + cached_numbers * precision.cached


def bytes_crossover(growing: Config, steady: Config, precision: Precision) -> int:
    """The first context whose keys and values take more bytes than the `steady` model's state.

    Raises ValueError where `growing` has no cache.
    """
    per_token = counts(growing).cached * precision.cached
    if not per_token:
        raise ValueError("a model without a cache does not grow")
    return state_bytes(steady, 1, precision) // per_token + 1


# -- sizes ---------------------------------------------------------------------------------------

VOCABULARY = 50_280  # that of the published Mambas; the RetNet paper does not name its own


@dataclass(frozen=True)
class Size:
    """Three models of one size, by kind; `note` says what is not as published."""

    name: str
    configs: dict[str, Config]
    note: str = ""


def _published_size(name: str, d: int, layers: int, note: str = "") -> Size:
    """Table 2 of the RetNet paper; a Mamba has two blocks per block of a Transformer.

    Heads are 256 wide in RetNet (section 3.1) and 128 in the Transformer; their number changes no
    byte of a cache.
    """
    return Size(
        name,
        {
            RETNET: RetNetConfig(VOCABULARY, d, layers, d // 256, decay="torchscale"),
            TRANSFORMER: TransformerConfig(VOCABULARY, d, layers, d // 128),
            MAMBA: MambaConfig(VOCABULARY, d, 2 * layers),
        },
        note,
    )


SIZES = {
    size.name: size
    for size in (
        _published_size("1.3B", 2048, 24),
        _published_size("2.7B", 2560, 32),
        _published_size(
            "6.7B", 4096, 32, "No Mamba of 6.7B was published: this one is extrapolated, 64 layers."
        ),
    )
}


# -- cards ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """What a device can do at most.

    bandwidth  bytes a second from and to its memory
    memory     bytes of it
    flops      operations a second of dense matrix products in 16 bits; `flops32` in float32
    """

    name: str
    bandwidth: float
    memory: float
    flops: float
    flops32: float


# NVIDIA's data sheets, dense; float32 as TF32.
CARDS = {
    card.name: card
    for card in (
        Card("A100 80 GB", 2039e9, 80e9, 312e12, 156e12),
        Card("H100 80 GB", 3350e9, 80e9, 989e12, 494e12),
        Card("H200 141 GB", 4800e9, 141e9, 989e12, 494e12),
        Card("RTX 4090 24 GB", 1008e9, 24e9, 165e12, 82.6e12),
        Card("L4 24 GB", 300e9, 24e9, 121e12, 60e12),
    )
}


# -- estimates -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """What a step of a whole batch takes, one token for each row.

    weight_bytes, state_bytes  held, the state of all rows
    moved_bytes                read and written in a step
    flops                      per token
    seconds                    of a step, at the least
    limit                      what bounds it: "memory" or "arithmetic"
    fits                       whether weights and states fit into the card's memory
    """

    batch: int
    parameters: int
    weight_bytes: int
    state_bytes: int
    moved_bytes: int
    flops: int
    seconds: float
    limit: str
    fits: bool

    @property
    def held_bytes(self) -> int:
        """Bytes of weights and states."""
        return self.weight_bytes + self.state_bytes

    @property
    def weight_share(self) -> float:
        """The weights' share of the bytes held."""
        return self.weight_bytes / self.held_bytes

    @property
    def tokens_second(self) -> float:
        """Tokens a second of all rows together, at the most."""
        return self.batch / self.seconds


def estimate(
    config: Config, context: int, batch: int, precision: Precision, card: Card
) -> Estimate:
    """The cost of a step of `batch` rows that have each read `context` tokens.

    Raises ValueError where `context` or `batch` is below 1.
    """
    if context < 1 or batch < 1:
        raise ValueError(f"context and batch must be 1 or more, not {context} and {batch}")
    count = counts(config)
    row_bytes = state_bytes(config, context, precision)
    rewritten_bytes = count.recurrent * precision.recurrent + count.buffered * precision.cached
    written_bytes = rewritten_bytes + count.cached * precision.cached
    moved_bytes = count.read_parameters * precision.weights + batch * (row_bytes + written_bytes)
    flops = count.flops(context)
    peak = card.flops32 if precision.weights == 4 else card.flops
    by_memory, by_arithmetic = moved_bytes / card.bandwidth, batch * flops / peak
    weights = count.parameters * precision.weights
    return Estimate(
        batch=batch,
        parameters=count.parameters,
        weight_bytes=weights,
        state_bytes=batch * row_bytes,
        moved_bytes=moved_bytes,
        flops=flops,
        seconds=max(by_memory, by_arithmetic),
        limit="memory" if by_memory >= by_arithmetic else "arithmetic",
        fits=weights + batch * row_bytes <= card.memory,
    )


def largest_batch(config: Config, context: int, precision: Precision, card: Card) -> int:
    """How many rows of `context` tokens fit beside the weights; 0 where not even one does."""
    free = card.memory - counts(config).parameters * precision.weights
    return max(0, math.floor(free / state_bytes(config, context, precision)))


# -- the paper's claims --------------------------------------------------------------------------

CLAIM_SIZE, CLAIM_CONTEXT, CLAIM_CARD = "6.7B", 8192, "A100 80 GB"
CLAIM_FASTER, CLAIM_SAVED = 8.4, 0.70  # section 1: "decodes 8.4x faster and saves 70% of memory"
CLAIM_BESIDE = 0.03  # of RetNet's memory that is not weights, "about 3%" (section 3.4)
CLAIM_BATCH = 8  # where the axis of figure 6c ends; figures 6a and 6b do not name theirs
CLAIM_WORDS_SECOND = 300  # of RetNet, about, read off figure 6b


@dataclass(frozen=True)
class Comparison:
    """A RetNet beside a Transformer at the same context on the same card, each with its batch."""

    retnet: Estimate
    transformer: Estimate

    @property
    def speedup(self) -> float:
        """RetNet's tokens a second divided by the Transformer's."""
        return self.retnet.tokens_second / self.transformer.tokens_second

    @property
    def memory_saving(self) -> float:
        """The share of the Transformer's memory that RetNet saves."""
        return 1 - self.retnet.held_bytes / self.transformer.held_bytes


def compare(
    size: Size, context: int, batch: int | None, precision: Precision, card: Card
) -> Comparison:
    """The two at a batch, or each at its largest one that fits where `batch` is None.

    Raises ValueError where not even one row fits.
    """
    retnet, transformer = (
        estimate(
            size.configs[kind],
            context,
            largest_batch(size.configs[kind], context, precision, card) if batch is None else batch,
            precision,
            card,
        )
        for kind in (RETNET, TRANSFORMER)
    )
    return Comparison(retnet, transformer)


def batch_that_saves(share: float, size: Size, context: int, precision: Precision) -> float:
    """The batch at which RetNet saves this `share` of the Transformer's memory.

    Solves (w + b s) / (W + b S) = 1 - share for b. Raises ValueError where no batch does.
    """
    (w, s), (W, S) = (
        (
            counts(size.configs[kind]).parameters * precision.weights,
            state_bytes(size.configs[kind], context, precision),
        )
        for kind in (RETNET, TRANSFORMER)
    )
    saving_per_row = (1 - share) * S - s
    if saving_per_row <= 0:
        raise ValueError(f"at {context} tokens no batch saves {share:.0%} of the memory")
    return (w - (1 - share) * W) / saving_per_row
