"""The inputs that a conversion is checked on, chosen to meet every rule of the model's arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from byteformer_convert.corenet.options import CoreNetOptions

SEED = 2306_00238  # of the random bytes; fixed, so that a report can be repeated
PADDING = -1

# What one input may cost, in floating-point operations: under a second of one side on two cores. `tiny` stays far
# below it on all inputs; the larger modes get shorter ones.
COST_LIMIT = 4e10

TYPICAL_TOKENS = 1500
ODD_TOKENS = 611  # odd again after the first, third and fourth merge
BATCH_TOKENS = (300, 120, 1)


@dataclass(frozen=True)
class Case:
    """One input: some rows of bytes, padded to the longest with -1.

    Attributes:
        name: Short, unique.
        why: What it is for.
        rows: Byte ids of each row.
    """

    name: str
    why: str
    rows: tuple[np.ndarray, ...]

    @cached_property
    def ids(self) -> np.ndarray:
        """(rows, longest) int64, -1 for padding."""
        ids = np.full((len(self.rows), max(map(len, self.rows))), PADDING, dtype=np.int64)
        for target, row in zip(ids, self.rows, strict=True):
            target[: len(row)] = row
        return ids

    @property
    def lengths(self) -> tuple[int, ...]:
        """Bytes of each row."""
        return tuple(map(len, self.rows))


@dataclass(frozen=True, slots=True)
class Plan:
    """The inputs, and sentences on those that this model has no room for."""

    cases: tuple[Case, ...]
    left_out: tuple[str, ...]


def plan_cases(options: CoreNetOptions) -> Plan:
    """The inputs for a model with these options: fixed seeds, within its positions and the cost limit."""
    return _Planner(options).plan()


class _Planner:
    def __init__(self, options: CoreNetOptions) -> None:
        self.options = options
        self.random = np.random.RandomState(SEED % 2**32)
        self.limit = min(options.max_num_tokens, max(int(COST_LIMIT / cost_per_token(options)), 4))
        self.cases: list[Case] = []
        self.left_out: list[str] = []

    def plan(self) -> Plan:
        self._add("typical", "one file of a common length", [TYPICAL_TOKENS])
        self._add("odd", "an odd number of tokens, at many merges too", [ODD_TOKENS], extra=1)
        self._add_several_windows()
        self._add("padded batch", "files of unequal length, padded with -1", list(BATCH_TOKENS))
        self._add_axis_1_norm()
        self._add_real_file()
        return Plan(tuple(self.cases), tuple(self.left_out))

    def _add(self, name: str, why: str, tokens: list[int], extra: int = 0) -> None:
        rows = tuple(self._random_bytes(min(count, self.limit), extra) for count in tokens)
        self.cases.append(Case(name, why, rows))

    def _random_bytes(self, tokens: int, extra: int = 0) -> np.ndarray:
        # Bytes beyond the last whole token are dropped by the convolution: `extra` of them, where there is room.
        length = (tokens - 1) * self.options.stride + self.options.conv_kernel_size
        length += min(extra, self.options.stride - 1)
        return self.random.randint(0, self.options.vocab_size - 1, size=length)

    def _add_several_windows(self) -> None:
        tokens = tokens_for_several_windows(self.options)
        if tokens > self.limit:
            self.left_out.append(
                f"several windows after every merge would take {tokens} tokens; the longest input here has {self.limit}"
            )
        self._add("several windows", "more than one window in every layer, after every merge", [tokens])

    def _add_axis_1_norm(self) -> None:
        tokens = tokens_for_axis_1_norm(self.options)
        if tokens > self.limit:
            self.left_out.append(
                f"the axis-1 norm is met at {tokens} tokens, which is more than the {self.limit} that fit here"
            )
            return
        self._add("axis-1 norm", "exactly embed-dim tokens reach a norm, which then runs over the tokens", [tokens])

    def _add_real_file(self) -> None:
        if self.options.vocab_size < 257:
            self.left_out.append(f"real files need 256 byte values; the vocabulary has {self.options.vocab_size}")
            return
        name = "sample.jpg" if self.options.task == "image" else "sample.wav"
        content = np.frombuffer(sample_file(name), dtype=np.uint8).astype(np.int64)
        longest = (self.limit - 1) * self.options.stride + self.options.conv_kernel_size
        self.cases.append(Case("real file", f"the bytes of {name}, as they are", (content[:longest],)))


def sample_file(name: str) -> bytes:
    """A small real file that comes with the package: `sample.jpg` or `sample.wav`."""
    return resources.files("byteformer_convert").joinpath("data", name).read_bytes()


def cost_per_token(options: CoreNetOptions) -> float:
    """Floating-point operations of a forward pass per token of its first layer."""
    dim, ffn = options.embed_dim, options.ffn_dim
    share, total = 1.0, 0.0
    for window, merges in zip(options.window_sizes, options.downsample, strict=True):
        total += share * (2 * (4 * dim * dim + 2 * dim * ffn) + 4 * window * dim)
        share /= 2 if merges else 1
    return total


def tokens_for_several_windows(options: CoreNetOptions) -> int:
    """Tokens that leave one and a half windows or more in every layer."""
    merges, tokens = 0, 1
    for window, merged in zip(options.window_sizes, options.downsample, strict=True):
        tokens = max(tokens, (window + window // 2 + 1) << merges)
        merges += merged
    return tokens


def tokens_for_axis_1_norm(options: CoreNetOptions) -> int:
    """The fewest tokens of which exactly embed-dim ones reach a norm: that of the first merge, else the last one."""
    return options.embed_dim * (2 if any(options.downsample) else 1)
