"""Layered drawings: boxes never overlap, edges go down and around boxes."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.report.layered import GAP, Box, Drawing, apart, draw

ROW_GAP = 30.0
NARROW = 1e-6


@st.composite
def dags(draw_from: st.DrawFn) -> tuple[dict[int, Box], tuple[tuple[int, int], ...]]:
    """Boxes of several sizes; every edge goes from a smaller number to a larger one."""
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    count = draw_from(st.integers(1, 25))
    boxes = {i: Box(float(rng.uniform(20, 200)), float(rng.uniform(20, 90))) for i in range(count)}
    edges = {
        (int(rng.integers(max(0, end - 6), end)), end)
        for end in range(1, count)
        for _ in range(int(rng.integers(0, 4)))
    }
    return boxes, tuple(sorted(edges))


def frame(drawing: Drawing, boxes: dict[int, Box], node: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom."""
    (x, y), box = drawing.centers[node], boxes[node]
    return x - box.width / 2, y - box.height / 2, x + box.width / 2, y + box.height / 2


@settings(max_examples=100, deadline=None)
@given(dags())
def test_boxes_lie_apart_and_inside_the_picture(
    dag: tuple[dict[int, Box], tuple[tuple[int, int], ...]],
) -> None:
    boxes, edges = dag
    drawing = draw(boxes, edges, ROW_GAP)
    frames = [frame(drawing, boxes, node) for node in boxes]
    for left, top, right, bottom in frames:
        assert left >= -NARROW
        assert top >= -NARROW
        assert right <= drawing.width + NARROW
        assert bottom <= drawing.height + NARROW
    for a, b in combinations(frames, 2):
        beside = a[2] + GAP <= b[0] + NARROW or b[2] + GAP <= a[0] + NARROW
        assert beside or a[3] <= b[1] or b[3] <= a[1]


@settings(max_examples=100, deadline=None)
@given(dags())
def test_edges_join_their_boxes_downwards_and_cross_no_other(
    dag: tuple[dict[int, Box], tuple[tuple[int, int], ...]],
) -> None:
    boxes, edges = dag
    drawing = draw(boxes, edges, ROW_GAP)
    for (start, end), points in zip(edges, drawing.edges, strict=True):
        assert points[0] == pytest.approx(
            (drawing.centers[start][0], frame(drawing, boxes, start)[3])
        )
        assert points[-1] == pytest.approx((drawing.centers[end][0], frame(drawing, boxes, end)[1]))
        assert all(upper[1] <= lower[1] + NARROW for upper, lower in pairwise(points))
        for node in boxes.keys() - {start, end}:
            left, top, right, bottom = frame(drawing, boxes, node)
            for x, y in points[1:-1]:
                assert not (left < x < right and top < y < bottom)


def test_a_chain_is_a_straight_line() -> None:
    boxes = {i: Box(50.0 + 10 * i, 20.0) for i in range(5)}
    drawing = draw(boxes, tuple(pairwise(range(5))), ROW_GAP)
    assert len({round(x, 6) for x, _ in drawing.centers.values()}) == 1


def test_nothing_is_an_empty_picture() -> None:
    assert draw({}, (), ROW_GAP).height == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.floats(1, 30))
def test_places_are_the_nearest_that_keep_their_distance(wanted: list[float], gap: float) -> None:
    gaps = [gap] * (len(wanted) - 1)
    places = apart(wanted, gaps)
    assert all(b - a >= gap - NARROW for a, b in pairwise(places))
    best = sum((p - w) ** 2 for p, w in zip(places, wanted, strict=True))
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = apart(list(np.asarray(wanted) + rng.normal(size=len(wanted))), gaps)
        assert sum((p - w) ** 2 for p, w in zip(other, wanted, strict=True)) >= best - NARROW
