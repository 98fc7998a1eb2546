"""What repeats a model beside it, told by structure: a subtree with the paths and shapes of the model's own.

Optimizer states hold such subtrees of moments, and training states such of other weights: a target network, the best
ones, an average. They follow the model's parameters. Where two models stand side by side, such as actor and critic,
both are models. Names decide only between subtrees that are equal.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Set
from functools import cache
from itertools import takewhile

from last_cli.formats import Key, Leaf

PARAMS = "params"
VALUE = "value"
"""Below each variable of an NNX state, its array."""

MOMENTS = {"mu", "nu", "trace", "v_row", "v_col", "acc_grads", "param_states"}
# Words that tell which of two equal subtrees is not the model: state of an optimizer, and weights of another time.
OPTIMIZER = {
    *("opt", "optim", "optimizer", "optimiser", "tx", "adam", "adamw", "sgd", "lion", "adafactor", "inner", "updater"),
    *("moment", "moments", "momentum", "mu", "nu", "m", "v", "trace", "velocity", "grad", "grads", "gradient"),
    *("gradients", "acc", "accum", "accumulator", "hessian", "fisher"),
}
AGAIN = {
    *("target", "targets", "ema", "avg", "average", "averaged", "mean", "polyak", "swa", "shadow", "slow", "lookahead"),
    *("best", "init", "initial", "start", "old", "prev", "previous", "teacher", "frozen", "anchor", "ref", "reference"),
    *("copy", "backup", "snapshot", "saved", "lagged", "delayed"),
}
AVERAGE = {"ema", "avg", "average", "averaged", "mean", "polyak", "swa", "shadow"}
STAND_IN = {(), (0,), (1,)}  # shapes of what stands for a moment that is not kept


def variable(key: Key) -> Key:
    """The path of a leaf as its model names it."""
    return key[:-1] if len(key) > 1 and key[-1] == VALUE else key


def below_params(key: Key) -> Key:
    """The part of a path after the last `params`, or all of it."""
    return key[len(collection(key)) :]


def collection(key: Key) -> Key:
    """The part of a path up to its last `params`; () where there is none."""
    return key[: len(key) - key[::-1].index(PARAMS)] if PARAMS in key else ()


@cache
def is_moment(key: Key) -> bool:
    """Whether a path leads through the state of an optimizer, by names that no model has there.

    Below `params` a module may have the name of a moment, such as the head `mu` of a variational model.
    """
    own = len(collection(key))
    return any(
        _words(part) >= {"opt", "state"}
        or (part.lower() in MOMENTS and (not own or i < own or any(map(_is_of_state, key[own:i]))))
        for i, part in enumerate(key)
    )


def is_state(key: Key) -> bool:
    """Whether a path in a tree without `params` is that of an optimizer's state, by any of its names."""
    return is_moment(key) or any(map(_is_of_optimizer, key))


def is_optimizer(root: Key, of: Key) -> bool:
    """Whether a copy at `root` of what is at `of` is state of an optimizer, and no other set of weights."""
    _, other = _apart(of, root)
    if is_moment(root) and is_moment(other):
        return True
    return PARAMS not in root[: _start(of, root)] and any(_words(part) & OPTIMIZER for part in other)


def is_average(root: Key, of: Key) -> bool:
    """Whether the name of a copy says that it is an average over time."""
    return any(_words(part) & AVERAGE for part in _apart(of, root)[1])


def roots(parameter: Key, key: Key) -> tuple[Key, Key]:
    """Where the subtrees of two paths with the same end begin."""
    shared, most = 0, min(len(parameter), len(key))
    while shared < most and parameter[~shared] == key[~shared]:
        shared += 1
    shared -= len(collection(key[len(key) - shared :]))
    return parameter[: len(parameter) - shared], key[: len(key) - shared]


def is_inside(of: Key, root: Key, pairs: Set[tuple[Key, Key]]) -> bool:
    """Whether two roots are unlike parts of two subtrees of these pairs, such as the first layer and the second."""
    return any((of[:n], root[:m]) in pairs for n in range(len(of)) for m in range(len(root))) if pairs else False


def closeness(parameter: Key, key: Key) -> tuple[int, int, int]:
    """How much the roots of two paths have in common: at the start, place by place, and in words."""
    own, other = _apart(*roots(parameter, key))
    start = _start(parameter, key)
    words = set().union(*map(_words, own)) & set().union(*map(_words, other)) - {PARAMS, "state", "opt"}
    return start, sum(a == b for a, b in zip(own, other, strict=False)), len(words)


class Structure:
    """The arrays of a tree by path, and what lies below each root."""

    def __init__(self, leaves: Mapping[Key, Leaf]) -> None:
        self.shapes = {variable(key): leaf.shape for key, leaf in leaves.items() if leaf.kind == "array"}
        self._sorted = sorted(self.shapes)
        self._below: dict[Key, dict[Key, tuple[int, ...]]] = {}
        self._copies: dict[tuple[Key, Key], bool] = {}
        self._repeats: dict[tuple[Key, Structure, Key], bool] = {}

    def below(self, root: Key) -> Mapping[Key, tuple[int, ...]]:
        """Shapes of the arrays below a root, by their paths there."""
        if root not in self._below:
            n, first = len(root), bisect_left(self._sorted, root)
            rest = takewhile(lambda key: key[:n] == root, (self._sorted[i] for i in range(first, len(self._sorted))))
            self._below[root] = {key[n:]: self.shapes[key] for key in rest}
        return self._below[root]

    def repeats(self, root: Key, model: Structure, of: Key) -> bool:
        """Whether every array below `root` has one of the model's, below `of`, that it can stand beside."""
        if (root, model, of) not in self._repeats:
            own = model.below(of)
            self._repeats[root, model, of] = all(
                (path in own and alike(shape, own[path])) or (path[:-1] in own and alike(shape, own[path[:-1]]))
                for path, shape in self.below(root).items()
            )
        return self._repeats[root, model, of]

    def is_copy(self, root: Key, of: Key) -> bool:
        """Whether what is at `root` repeats the model at `of`, and is no model itself."""
        if (root, of) not in self._copies:
            self._copies[root, of] = self._is_copy(root, of)
        return self._copies[root, of]

    def _is_copy(self, root: Key, of: Key) -> bool:
        own, other = _apart(of, root)
        if is_moment(root) and is_moment(other):
            return True
        if not other or (is_moment(of) and is_moment(own)) or _numbered_apart(own, other):
            return False
        if PARAMS in root[: _start(of, root)]:  # Both are parameters of one model, unless one is named after the other.
            return _named_after(other, own) and self.repeats(root, self, of)
        if of == root[: len(of)]:  # One lies inside of the other.
            named = any(_words(part) & (AGAIN | OPTIMIZER) for part in other)
            return self.repeats(root, self, of) and (named or self._covers(root, of))
        ranks = _rank(other), _rank(own)
        later = ranks[0] == ranks[1] and ranks[0][1] and other > own
        return (ranks[0] > ranks[1] or later) and self.repeats(root, self, of)

    def _covers(self, root: Key, of: Key) -> bool:
        """Whether `root`, inside of `of`, has all of what else is there."""
        inside, copy = root[len(of) :], self.below(root)
        return all(path in copy for path, shape in self.below(of).items() if shape and path[: len(inside)] != inside)


def models(nodes: Iterable[Key], structure: Structure) -> list[Key]:
    """Those of the nodes that stand in a model: no moments, and no copies of others."""
    nodes = [node for node in nodes if not is_moment(node)]
    ends: dict[Key, list[Key]] = {}
    for node in nodes:
        for start in range(len(node)):
            ends.setdefault(node[start:], []).append(node)
    return [node for node in nodes if not any(structure.is_copy(*pair) for pair in _pairs(node, ends))]


def alike(shape: tuple[int, ...], parameter: tuple[int, ...]) -> bool:
    """Whether an array can be a moment of a parameter: of its shape, of its shape less one axis, or a stand-in."""
    return shape == parameter or shape in STAND_IN or bool(axes_left_out(shape, parameter))


def axes_left_out(shape: tuple[int, ...], parameter: tuple[int, ...]) -> list[int]:
    """Each axis of a parameter without which it has this shape."""
    if len(shape) != len(parameter) - 1 or not shape:
        return []
    return [axis for axis in range(len(parameter)) if shape == (*parameter[:axis], *parameter[axis + 1 :])]


def _pairs(node: Key, ends: Mapping[Key, list[Key]]) -> Iterable[tuple[Key, Key]]:
    """The roots of a node and of every other that ends like it, the likest first."""
    seen: set[tuple[Key, Key]] = set()
    for start in range(len(node)):
        for other in ends[node[start:]]:
            of, root = roots(other, node)
            if other != node and not is_inside(of, root, seen):
                seen.add((of, root))
                yield root, of


def _apart(of: Key, root: Key) -> tuple[Key, Key]:
    """Two roots without what they share at the start and at the end."""
    start = _start(of, root)
    own, other = of[start:], root[start:]
    end, most = 0, min(len(own), len(other))
    while end < most and own[~end] == other[~end]:
        end += 1
    return own[: len(own) - end], other[: len(other) - end]


def _rank(parts: Key) -> tuple[bool, bool, int]:
    """The lower, the more it is the model: below `params`, named like none of its copies, then close to the top."""
    named = any(_words(part) & (AGAIN | OPTIMIZER) for part in parts)
    return bool(parts) and PARAMS not in parts, named, 0 if set(parts) <= {PARAMS} else len(parts)


def _named_after(other: Key, own: Key) -> bool:
    """Whether a name says "another of these": target beside online, q_target beside q, but no target_encoder alone."""
    words, of = set().union(*map(_words, other)), set().union(*map(_words, own))
    words -= {"mean"}  # The head for a mean, beside one for a deviation, is a module.
    return bool(words & AGAIN) and not of & AGAIN and (words - AGAIN) in (set(), of)


def _numbered_apart(own: Key, other: Key) -> bool:
    """Whether two roots end in different numbers of one stack: the second layer of a model is no copy of the first."""
    if not own or not other or own[-1] == other[-1]:
        return False
    return bool(re.search(r"\d", own[-1])) and re.sub(r"\d+", "#", own[-1]) == re.sub(r"\d+", "#", other[-1])


def _start(one: Key, other: Key) -> int:
    """How many parts two paths share at the start."""
    shared, most = 0, min(len(one), len(other))
    while shared < most and one[shared] == other[shared]:
        shared += 1
    return shared


def _is_of_state(part: str) -> bool:
    """Whether a part of a path can lie above a moment: an entry of a tuple, or what is named like an optimizer."""
    return part.isdigit() or _is_of_optimizer(part)


def _is_of_optimizer(part: str) -> bool:
    return bool(_words(part) & OPTIMIZER)


@cache
def _words(part: str) -> frozenset[str]:
    """The words of a name, in lower case; what an optimizer's state may be called is "opt", "state"."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", part)
    same = {"optimizer": "opt", "optimiser": "opt", "optim": "opt", "states": "state"}
    return frozenset(same.get(word, word) for word in map(str.lower, words))
