"""The ListOps grammar of Long Range Arena: random expressions like `[MAX 2 9 [MIN 4 7 X X` and their values.

The distribution is that of google-research/long-range-arena, lra_benchmarks/data/listops.py: a node above the
maximum depth is an operator with probability 1/4, with 2 to 10 arguments, else a digit; trees outside the range
of lengths and duplicates are thrown away. Trees are grown side by side, one level at a time, so that all
arithmetic is on arrays, and a tree is dropped as soon as it must become too long.

The random numbers are the top 53 bits of PCG64's raw output, a stream that NumPy guarantees never to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from last_cli.base.annotations import Bool, Float, Int, Int8
from last_cli.base.errors import UsageError

MAX_DEPTH = 10
MAX_ARGUMENTS = 10
OPERATOR_PROBABILITY = 0.25

TOKENS = (*"0123456789", "[MAX", "[MED", "[MIN", "[SM", "X")
"""What the codes of generated tokens stand for: a digit's code is the digit, X closes an operator."""
MAX, MED, MIN, SM, END = range(10, 15)

# Part of what defines the stream, as the order of draws depends on it.
BATCH = 2048
# With so many batches in a row that bring nothing new, the range of lengths holds too few expressions.
PATIENCE = 200

Draw = Callable[[int], Float[np.ndarray, " n"]]


@dataclass(frozen=True, eq=False)
class Expressions:
    """Tokens of all expressions one after the other (codes of TOKENS), the length and the value of each."""

    tokens: Int8[np.ndarray, " total"]
    lengths: Int[np.ndarray, " n"]
    values: Int8[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class _Level:
    """The nodes of one depth of many trees, from left to right: the tree of each and its number of arguments.

    A digit has none. The next level holds the arguments of the first node, then those of the second etc.
    """

    tree: Int[np.ndarray, " nodes"]
    arguments: Int[np.ndarray, " nodes"]

    @property
    def is_operator(self) -> Bool[np.ndarray, " nodes"]:
        return self.arguments > 0

    @property
    def first(self) -> Int[np.ndarray, " nodes"]:
        """Where on the next level the arguments of each node start."""
        return np.cumsum(self.arguments) - self.arguments


def generate(
    count: int,
    min_length: int,
    max_length: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Expressions:
    """The first `count` different expressions of the stream of `seed` with min_length to max_length tokens.

    Lengths count digits, operators and closing brackets. Asking for more expressions only appends to fewer.

    Raises:
        UsageError: the range of lengths does not hold, or practically never yields, that many expressions.
    """
    parts: list[bytes] = []
    values: list[int] = []
    seen: set[bytes] = set()
    batches = _batches(min_length, max_length, seed)
    idle = 0
    while len(parts) < count:
        batch = next(batches)
        idle += 1
        raw = batch.tokens.tobytes()
        ends = accumulate(batch.lengths.tolist(), initial=0)
        for (start, end), value in zip(pairwise(ends), batch.values.tolist(), strict=True):
            if (tokens := raw[start:end]) not in seen:
                idle = 0
                seen.add(tokens)
                parts.append(tokens)
                values.append(value)
        if idle > PATIENCE:
            raise UsageError(
                f"found only {len(parts):,} different ListOps expressions of {min_length} to {max_length} "
                f"tokens, expected {count:,}",
                "widen the range of lengths, or ask for fewer sequences",
            )
        progress(min(len(parts), count))
    parts = parts[:count]
    return Expressions(
        np.frombuffer(b"".join(parts), np.int8),
        np.array([len(part) for part in parts], np.int32),
        np.array(values[:count], np.int8),
    )


def _batches(min_length: int, max_length: int, seed: int) -> Iterator[Expressions]:
    bits = np.random.PCG64(seed)

    def draw(n: int) -> Float[np.ndarray, " n"]:
        return (bits.random_raw(n) >> np.uint64(11)) * 2.0**-53

    while True:
        yield _write_out(_grow(draw, min_length, max_length), draw)


def _grow(draw: Draw, min_length: int, max_length: int) -> list[_Level]:
    """The levels, root first, of those of BATCH random trees that are neither too long nor too short."""
    tree = np.arange(BATCH)
    length = np.zeros(BATCH, np.int64)
    levels: list[_Level] = []
    for depth in range(1, MAX_DEPTH + 1):
        u = draw(len(tree))
        if depth == 1 and min_length > 1:
            u *= OPERATOR_PROBABILITY  # a digit as root is too short: spare rejecting three trees in four
        is_operator = (u < OPERATOR_PROBABILITY) & (depth < MAX_DEPTH)
        uniform = u / OPERATOR_PROBABILITY  # given that the node is an operator
        arguments = np.where(is_operator, 2 + (uniform * (MAX_ARGUMENTS - 1)).astype(np.int64), 0)
        levels.append(_Level(tree, arguments))
        children = np.repeat(tree, arguments)
        length += np.bincount(tree, minlength=BATCH) + np.bincount(tree[is_operator], minlength=BATCH)
        # Every child adds at least one token, so this many are certain already.
        length[length + np.bincount(children, minlength=BATCH) > max_length] = max_length + 1
        tree = children[length[children] <= max_length]
    accepted = (length >= min_length) & (length <= max_length)
    return [_Level(level.tree[keep], level.arguments[keep]) for level in levels for keep in [accepted[level.tree]]]


def _write_out(levels: list[_Level], draw: Draw) -> Expressions:
    """Fill trees with random operators and digits, evaluate them and write them as tokens, left to right."""
    codes = [_random_codes(level, draw(len(level.tree))) for level in levels]
    sizes = _sizes(levels)
    tokens = np.empty(int(sizes[0].sum()), np.int8)
    start = _before(sizes[0])[:-1]
    for depth, level in enumerate(levels):
        tokens[start] = codes[depth]
        tokens[(start + sizes[depth] - 1)[level.is_operator]] = END
        if depth + 1 < len(levels):
            before = _before(sizes[depth + 1])
            start = np.repeat(start + 1 - before[level.first], level.arguments) + before[:-1]
    return Expressions(tokens, sizes[0].astype(np.int32), _values(levels, codes).astype(np.int8))


def _random_codes(level: _Level, u: Float[np.ndarray, " nodes"]) -> Int[np.ndarray, " nodes"]:
    return np.where(level.is_operator, MAX + (u * 4).astype(np.int64), (u * 10).astype(np.int64))


def _sizes(levels: list[_Level]) -> list[Int[np.ndarray, " _"]]:
    """The number of tokens below and at each node, for every level."""
    sizes = [np.ones(len(levels[-1].tree), np.int64)]
    for level in levels[-2::-1]:
        before = _before(sizes[0])
        sizes.insert(0, 1 + level.is_operator + before[level.first + level.arguments] - before[level.first])
    return sizes


def _values(levels: list[_Level], codes: list[Int[np.ndarray, " _"]]) -> Int[np.ndarray, " trees"]:
    """The value of every tree, computed from the deepest level up."""
    values = codes[-1]
    for level, code in zip(levels[-2::-1], codes[-2::-1], strict=True):
        below, values = values, code.copy()
        if len(below) > 0:
            operator = level.is_operator
            values[operator] = _apply(code[operator], below, level.first[operator], level.arguments[operator])
    return values


def _apply(
    operator: Int[np.ndarray, " n"],
    arguments: Int[np.ndarray, " total"],
    first: Int[np.ndarray, " n"],
    count: Int[np.ndarray, " n"],
) -> Int[np.ndarray, " n"]:
    """Each operator's value on its `count` arguments, which start at `first`. A median is rounded down."""
    owner = np.repeat(np.arange(len(operator)), count)
    ordered = np.sort(owner * 10 + arguments) % 10
    middle = (ordered[first + (count - 1) // 2] + ordered[first + count // 2]) // 2
    return np.select(
        [operator == MAX, operator == MED, operator == MIN],
        [ordered[first + count - 1], middle, ordered[first]],
        default=np.add.reduceat(arguments, first) % 10,
    )


def _before(sizes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n+1"]:
    """How many tokens lie left of each node, and in all."""
    return np.concatenate([[0], np.cumsum(sizes)])
