from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from last_cli.base.errors import UsageError
from last_cli.tasks.listops_grammar import TOKENS, Expressions, generate

Tree = int | tuple[str, list["Tree"]]
OPERATORS = {"[MAX": max, "[MIN": min, "[MED": lambda a: int(statistics.median(a)), "[SM": lambda a: sum(a) % 10}


def texts(expressions: Expressions) -> list[list[str]]:
    pieces = np.split(expressions.tokens, np.cumsum(expressions.lengths)[:-1])
    return [[TOKENS[code] for code in piece] for piece in pieces]


def parse(tokens: Sequence[str]) -> Tree:
    """A tree by recursive descent, or a failure on anything that is not in the grammar."""
    rest = list(reversed(tokens))

    def node() -> Tree:
        token = rest.pop()
        if token.isdigit():
            return int(token)
        arguments = []
        while rest[-1] != "X":
            arguments.append(node())
        rest.pop()
        assert 2 <= len(arguments) <= 10
        return token, arguments

    tree = node()
    assert not rest
    return tree


def value(tree: Tree) -> int:
    return tree if isinstance(tree, int) else OPERATORS[tree[0]]([value(child) for child in tree[1]])


def depth(tree: Tree) -> int:
    return 1 if isinstance(tree, int) else 1 + max(depth(child) for child in tree[1])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(0, 60), st.integers(1, 300), st.integers(0, 2**40))
def test_expressions_are_well_formed_with_the_right_values(low: int, width: int, count: int, seed: int) -> None:
    high = max(low + width, 4)  # up to three tokens there are only the ten digits
    found = generate(count, low, high, seed)
    expressions = texts(found)
    assert len({tuple(tokens) for tokens in expressions}) == count
    assert [len(tokens) for tokens in expressions] == found.lengths.tolist()
    assert low <= found.lengths.min() and found.lengths.max() <= high
    assert [value(parse(tokens)) for tokens in expressions] == found.values.tolist()


def test_long_expressions_have_the_right_values_and_reach_the_full_depth() -> None:
    found = generate(100, 501, 1999, 1)
    trees = [parse(tokens) for tokens in texts(found)]
    assert [value(tree) for tree in trees] == found.values.tolist()
    assert max(depth(tree) for tree in trees) == 10


def test_asking_for_more_appends() -> None:
    few, many = generate(50, 16, 64, 3), generate(3000, 16, 64, 3)
    assert texts(few) == texts(many)[:50]
    assert few.values.tolist() == many.values[:50].tolist()


def test_the_stream_is_fixed() -> None:
    # Samples were trained on this stream: a change here needs a new version of the task.
    found = generate(2, 16, 64, 0)
    assert " ".join(texts(found)[0]) == "[SM 2 [MAX 4 7 [MIN [SM 3 0 7 3 0 4 2 X 8 4 X 3 0 7 1 X X"
    assert found.values.tolist() == [9, 6]
    assert texts(generate(2, 16, 64, 1)) != texts(found)


def test_too_narrow_a_range_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"found only 10 different .* of 1 to 3 tokens, expected 11"):
        generate(11, 1, 3, 0)


def slow_tree(rng: random.Random, most: int, depth: int = 1) -> list[str] | None:
    """The generator of Long Range Arena, as it stands there, without parentheses; None as soon as it is too long."""
    if depth == 10 or rng.random() > 0.25:
        return [str(rng.randrange(10))]
    tokens = [rng.choice(sorted(OPERATORS))]
    for _ in range(rng.randint(2, 10)):
        argument = slow_tree(rng, most - len(tokens) - 1, depth + 1)
        if argument is None or len(tokens) + len(argument) >= most:
            return None
        tokens += argument
    return [*tokens, "X"]


@cache
def by_rejection() -> list[list[str]]:
    rng = random.Random(0)
    kept: dict[tuple[str, ...], None] = {}
    while len(kept) < 2500:
        tree = slow_tree(rng, 40)
        if tree is not None and len(tree) >= 8:
            kept[tuple(tree)] = None
    return [list(tokens) for tokens in kept]


@cache
def by_generating() -> list[list[str]]:
    return texts(generate(20_000, 8, 40, 0))


def root_arguments(tokens: Sequence[str]) -> int:
    tree = parse(tokens)
    assert not isinstance(tree, int)
    return len(tree[1])


STATISTICS = {
    "length": len,
    "operators": lambda tokens: tokens.count("X"),
    "depth": lambda tokens: depth(parse(tokens)),
    "arguments of the root": root_arguments,
    "medians": lambda tokens: tokens.count("[MED"),
    "value": lambda tokens: value(parse(tokens)),
    "first argument nested": lambda tokens: tokens[1].startswith("["),
    "last argument nested": lambda tokens: tokens[-2] == "X",
}


@pytest.mark.parametrize("name", STATISTICS)
def test_distribution_is_that_of_plain_rejection(name: str) -> None:
    statistic = STATISTICS[name]
    expected = np.array([statistic(tokens) for tokens in by_rejection()], float)
    found = np.array([statistic(tokens) for tokens in by_generating()], float)
    for power in (1, 2):
        a, b = expected**power, found**power
        z = (a.mean() - b.mean()) / np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(z) < 4, f"{name}^{power}: {a.mean():.4f} by rejection, {b.mean():.4f} here"
