"""Taking units from leaves of every layout, silencing them, and telling padding from units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_layers import KINDS, fixed

from last_cli.base import registry
from last_cli.families.find import layer_of
from last_cli.families.target import Role, Segment, Units, cut_shape, live_units, put, take, zero

ALONE = Segment(-1)


def one_system(*units: int) -> np.ndarray:
    return np.array([units])


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_units_are_taken_along_their_axis(axis: int) -> None:
    leaf = np.arange(4 * 4 * 4).reshape(4, 4, 4)
    found = take(leaf, [Segment(axis)], one_system(2, 0), 4)
    np.testing.assert_array_equal(found, leaf.take([2, 0], axis=axis))


def test_a_readout_of_two_directions_is_taken_in_both_halves() -> None:
    leaf = np.arange(2 * 6 * 2).reshape(2, 6, 2)
    found = take(leaf, [Segment(-2, repeat=2)], one_system(0, 2), 3)
    np.testing.assert_array_equal(found, leaf[:, [0, 2, 3, 5]])


def test_every_channel_takes_its_own_units_and_minus_one_gives_zeros() -> None:
    leaf = np.arange(1.0, 7.0, dtype=np.float32).reshape(3, 2)  # (states, channels)
    found = take(leaf, [Segment(-2, group_axis=-1)], np.array([[2, 0], [1, -1]]), 3)
    np.testing.assert_array_equal(found, [[5, 4], [1, 0]])
    assert found.dtype == np.float32


def test_axes_beside_channel_and_unit_are_left_in_place() -> None:
    leaf = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)  # (directions, channels, states, parts)
    index = np.array([[3, 1], [0, -1], [2, 3]])
    found = take(leaf, [Segment(-2, group_axis=-3)], index, 4)
    assert found.shape == (2, 3, 2, 2)
    for channel, row in enumerate(index):
        for place, state in enumerate(row):
            np.testing.assert_array_equal(found[:, channel, place], leaf[:, channel, state] if state >= 0 else 0)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16", "int8"])
def test_types_and_bits_are_kept(dtype: str) -> None:
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    leaf = np.frombuffer(np.arange(12 * kind.itemsize, dtype=np.uint8).tobytes(), kind).reshape(6, 2)
    index = np.array([[5, 0], [3, 3]])
    found = take(leaf, [Segment(-2, group_axis=-1)], index, 6)
    assert found.dtype == kind
    assert found.tobytes() == np.array([leaf[5, 0], leaf[3, 1], leaf[0, 0], leaf[3, 1]], kind).tobytes()


def test_heads_of_several_entries_are_taken_whole_from_between_others() -> None:
    """As in the in_proj of Mamba-2: a gate and an input of 2 entries a head, B and C of no head, a step a head."""
    heads, width, state = 3, 2, 4
    segments = (
        Segment(-2, block=width),
        Segment(-2, start=heads * width, block=width),
        Segment(-2, start=2 * heads * width + 2 * state),
    )
    leaf = np.arange((2 * heads * width + 2 * state + heads) * 5).reshape(-1, 5)
    found = take(leaf, segments, one_system(2, 0), heads)
    rows = [4, 5, 0, 1, 10, 11, 6, 7, *range(12, 20), 22, 20]
    np.testing.assert_array_equal(found, leaf[rows])
    assert found.shape == cut_shape(leaf.shape, segments, (1, heads), 2)


def test_states_of_groups_in_one_run_are_taken_group_by_group() -> None:
    """The same in_proj, of two groups with states of their own in B and in C."""
    groups, states, before = 2, 3, 4
    segments = [
        Segment(-1, start=before, role="input"),
        Segment(-1, start=before + groups * states, role="readout"),
    ]
    leaf = np.arange(1, before + 2 * groups * states + 3)
    index = np.array([[2, 0], [1, -1]])
    found = take(leaf, segments, index, states)
    assert found.tolist() == [1, 2, 3, 4, 7, 5, 9, 0, 13, 11, 15, 0, 17, 18]
    removed = np.array([[False, True, False], [True, False, True]])
    assert np.flatnonzero(zero(leaf, segments, removed) == 0).tolist() == [5, 7, 9, 11, 13, 15]
    units = Units(groups, states, {"in_proj": tuple(segments)})
    np.testing.assert_array_equal(live_units(units, {"in_proj": zero(leaf, segments, removed)}), ~removed)


def test_segments_need_not_be_listed_in_their_order() -> None:
    leaf, segments = np.arange(7), [Segment(-1, start=5), Segment(-1, start=1, block=2)]
    assert take(leaf, segments, one_system(1), 2).tolist() == [0, 3, 4, 6]
    assert take(leaf, segments[::-1], one_system(1), 2).tolist() == [0, 3, 4, 6]


@dataclass(frozen=True)
class Layout:
    """A leaf, where it carries units, and by hand whose each entry of the axis is."""

    leaf: np.ndarray
    segments: tuple[Segment, ...]
    groups: int
    count: int
    owners: list[list[tuple[int, int] | None]]  # of each entry, one row or, with a group axis, one a group

    @property
    def entries(self) -> np.ndarray:
        """The leaf as (rows of owners, entries along the axis, all else)."""
        segment = self.segments[0]
        if segment.group_axis is None:
            return np.moveaxis(self.leaf, segment.axis, 0).reshape(1, self.leaf.shape[segment.axis], -1)
        moved = np.moveaxis(self.leaf, segment.axes, (0, 1))
        return moved.reshape(*moved.shape[:2], -1)

    def as_entries(self, other: np.ndarray) -> np.ndarray:
        """The same of another leaf with these axes."""
        return Layout(other, self.segments, self.groups, self.count, self.owners).entries

    def owned(self, units: np.ndarray, segments: Iterable[Segment] | None = None) -> np.ndarray:
        """Which entries these units (G, N) own, (rows, entries)."""
        owners = self.owners if segments is None else owners_of(self, tuple(segments))
        return np.array([[one is not None and bool(units[one]) for one in row] for row in owners])


def owners_of(layout: Layout, segments: tuple[Segment, ...]) -> list[list[tuple[int, int] | None]]:
    """Whose each entry is, segment by segment and unit by unit."""
    size = layout.leaf.shape[layout.segments[0].axis]
    grouped = layout.segments[0].group_axis is not None
    rows: list[list[tuple[int, int] | None]] = [[None] * size for _ in range(layout.groups if grouped else 1)]
    for segment in segments:
        for row, entries in enumerate(rows):
            at = segment.start
            for _ in range(segment.repeat):
                for group in [row] if grouped else range(layout.groups):
                    for unit in range(layout.count):
                        for _ in range(segment.block):
                            entries[at] = (group, unit)
                            at += 1
    return rows


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Leaves with one to three segments, other entries before, between and behind them, and other axes around."""
    groups, count, grouped = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.booleans())
    ndim = draw(st.integers(2 if grouped else 1, 4))
    axis, *others = draw(st.permutations(range(-ndim, 0)))
    group_axis = others[0] if grouped else None
    at, segments = 0, []
    for _ in range(draw(st.integers(1, 3))):
        start, block, repeat = at + draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        role: Role = draw(st.sampled_from(["dynamics", "input", "readout"]))
        segments.append(Segment(axis, start, block, repeat, group_axis, role))
        at = start + repeat * block * count * (1 if grouped else groups)
    shape = [draw(st.integers(1, 2)) for _ in range(ndim)]
    shape[axis] = at + draw(st.integers(0, 2))
    if group_axis is not None:
        shape[group_axis] = groups
    leaf = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape).astype(np.float32)
    layout = Layout(leaf, tuple(draw(st.permutations(segments))), groups, count, [])
    return Layout(leaf, layout.segments, groups, count, owners_of(layout, layout.segments))


def masks(layout: Layout) -> st.SearchStrategy[np.ndarray]:
    size = layout.groups * layout.count
    flat = st.lists(st.booleans(), min_size=size, max_size=size)
    return flat.map(lambda units: np.array(units).reshape(layout.groups, layout.count))


@fixed
@given(layouts())
def test_taking_all_units_is_the_identity(layout: Layout) -> None:
    index = np.tile(np.arange(layout.count), (layout.groups, 1))
    same = take(layout.leaf, layout.segments, index, layout.count)
    assert (same.dtype, same.shape) == (layout.leaf.dtype, layout.leaf.shape)
    assert same.tobytes() == layout.leaf.tobytes()
    assert cut_shape(layout.leaf.shape, layout.segments, (layout.groups, layout.count), layout.count) == same.shape


@fixed
@given(st.data())
def test_what_is_taken_is_bit_equal_and_stands_in_the_order_of_the_index(data: st.DataObject) -> None:
    layout = data.draw(layouts())
    width = data.draw(st.integers(1, layout.count))
    row = st.permutations(range(layout.count)).flatmap(
        lambda order: st.integers(0, width).map(lambda n: [*order[:n], *[-1] * (width - n)])
    )
    index = np.array(data.draw(st.lists(row, min_size=layout.groups, max_size=layout.groups)))
    found = take(layout.leaf, layout.segments, index, layout.count)
    assert found.shape == cut_shape(layout.leaf.shape, layout.segments, (layout.groups, layout.count), width)
    assert found.dtype == layout.leaf.dtype
    # What the cut leaf should hold at each of its entries: the kept units' own, in their place among the others.
    small = Layout(found, cut(layout, width), layout.groups, width, [])
    before, after = layout.entries, small.entries
    for row, (old, new) in enumerate(zip(layout.owners, owners_of(small, small.segments), strict=True)):
        free = iter([i for i, owner in enumerate(old) if owner is None])
        seen: dict[tuple[int, int], int] = {}
        for i, owner in enumerate(new):
            if owner is None:
                wanted = before[row, next(free)]
            else:
                group, place = owner
                unit = int(index[group, place])
                nth = seen[owner] = seen.get(owner, -1) + 1
                own = [j for j, whose in enumerate(old) if whose == (group, unit)]
                wanted = before[row, own[nth]] if unit >= 0 else np.zeros_like(before[row, 0])
            assert after[row, i].tobytes() == wanted.tobytes()
        assert next(free, None) is None


def cut(layout: Layout, width: int) -> tuple[Segment, ...]:
    """The layout's segments with so many units in each group."""
    shift, found = 0, {}
    for segment in sorted(layout.segments, key=lambda s: s.start):
        runs = segment.repeat * segment.block * (1 if segment.group_axis is not None else layout.groups)
        found[segment] = Segment(
            segment.axis, segment.start - shift, segment.block, segment.repeat, segment.group_axis, segment.role
        )
        shift += runs * (layout.count - width)
    return tuple(found[segment] for segment in layout.segments)


@fixed
@given(st.data())
def test_put_and_zero_touch_the_entries_of_the_units_alone(data: st.DataObject) -> None:
    layout = data.draw(layouts())
    units = data.draw(masks(layout))
    other = layout.leaf + 1
    found = layout.as_entries(put(layout.leaf, layout.segments, units, other))
    own = layout.owned(units)[..., None]
    np.testing.assert_array_equal(found, np.where(own, layout.as_entries(other), layout.entries))
    silent = zero(layout.leaf, layout.segments, units)
    own = layout.owned(units, [s for s in layout.segments if s.coefficient])[..., None]
    np.testing.assert_array_equal(layout.as_entries(silent), np.where(own, 0, layout.entries))
    assert (silent.dtype, silent.shape) == (layout.leaf.dtype, layout.leaf.shape)


@fixed
@given(st.data())
def test_exactly_the_silenced_units_are_not_live(data: st.DataObject) -> None:
    layout = data.draw(layouts())
    silenced = data.draw(masks(layout))
    units = Units(layout.groups, layout.count, {"leaf": layout.segments, "absent": (Segment(-1, role="input"),)})
    found = live_units(units, {"leaf": zero(layout.leaf, layout.segments, silenced)})
    if not silenced.any() or not any(segment.coefficient for segment in layout.segments):
        assert found is None
    else:
        np.testing.assert_array_equal(found, ~silenced)


def test_one_number_that_is_not_zero_makes_a_unit_live() -> None:
    segments = (Segment(-3, group_axis=-2, role="readout"),)
    leaf = np.zeros((3, 2, 4))
    leaf[1, 0, 3] = leaf[2, 1, 0] = 1e-30
    found = live_units(Units(2, 3, {"C": segments}), {"C": leaf})
    np.testing.assert_array_equal(found, [[False, True, False], [False, False, True]])


def test_a_state_is_not_live_where_every_stored_number_of_b_and_c_is_zero() -> None:
    arrays = {name: np.zeros((1, 4)) for name in ("log_A_real", "A_imag")} | {"C": np.zeros((1, 4, 2))}
    arrays |= {"log_dt": np.zeros(1), "D": np.zeros(1)}
    arrays["log_A_real"][0, 0] = arrays["A_imag"][0, 1] = arrays["C"][0, 2, 1] = arrays["C"][0, 3, 0] = 1
    family, shapes = registry.get("families", "s4d-pairs"), {name: a.shape for name, a in arrays.items()}
    layer = layer_of("seq", family, {name: (name,) for name in arrays}, shapes)
    assert np.asarray(live_units(layer.units["states"], arrays)).tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("kind", KINDS)
def test_layers_whose_units_all_add_something_have_no_padding(kind: str) -> None:
    layer, arrays = KINDS[kind].layer()
    assert all(live_units(units, arrays) is None for units in layer.units.values())


def test_roles_are_those_of_all_segments_of_a_leaf() -> None:
    both = (Segment(-1, role="input"), Segment(-1, start=3, role="readout"))
    units = Units(1, 3, {"in_proj": both, "A_log": (ALONE,)})
    assert [units.roles(leaf) for leaf in ("in_proj", "A_log", "D")] == [{"input", "readout"}, {"dynamics"}, set()]
    assert not ALONE.coefficient and all(segment.coefficient for segment in both)
