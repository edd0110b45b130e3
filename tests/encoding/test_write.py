"""Files are read back by HiGHS and have the same optimum; names are readable."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import highspy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.encoding.cases import case_models
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.model.write import write_lp, write_mps
from specdsl.encoding.solvers.highs import solve
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from tests.conftest import Golden
from tests.encoding.nonlinear import box, model_of
from tests.encoding.test_highs import small_model
from tests.strategies import queries

FOREVER = Deadline.after(None)
TOLERANCE = 1e-6


def optimum_of_file(path: Path) -> float:
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    # A warning is about names that occur in the objective alone; an error would leave no model.
    assert solver.readModel(str(path)) != highspy.HighsStatus.kError
    solver.run()
    assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return solver.getInfo().objective_function_value


@pytest.mark.parametrize(("writer", "ending"), [(write_lp, "lp"), (write_mps, "mps")])
@given(data=st.data())
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_file_read_back_has_the_same_optimum(
    writer: Callable[[LinearModel], str], ending: str, tmp_path: Path, data: st.DataObject
) -> None:
    for _, model in case_models(data.draw(queries())):
        assert model is not None
        path = tmp_path / f"model.{ending}"
        path.write_text(writer(model))
        expected = solve(model, FOREVER).objective
        assert optimum_of_file(path) == pytest.approx(expected, abs=TOLERANCE)


def test_the_lp_file_of_a_small_model(golden: Golden) -> None:
    golden.check("encoding_small.lp", write_lp(small_model(integer=True)))


def test_the_mps_file_of_a_small_model(golden: Golden) -> None:
    golden.check("encoding_small.mps", write_mps(small_model(integer=True)))


def mixed_graph() -> Graph:
    """A maximum, a curve without irrational numbers, a threshold and a rounding."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((4,)), name="x")
    node = builder.add(ops.GroupMax(np.array([[0, 1], [2, 3]])), x, name="pool")
    node = builder.add(ops.HardSwish(), node, name="gate")
    node = builder.add(ops.Scale(np.array(3.0), np.array(-0.75)), node, name="scaled")
    whole = builder.add(ops.Round(), node, name="quantised")
    sign = builder.add(ops.Sign(), node, name="side")
    return builder.build(builder.add(ops.Sum((1.0, 0.5)), whole, sign, name="total"))


def test_files_have_readable_names(golden: Golden) -> None:
    model = model_of(mixed_graph(), box(-np.ones(4), np.ones(4)))
    golden.check("encoding_nonlinear.lp", write_lp(model))
    text = write_mps(model)
    for name in ("pool_largest(1)", "gate_part_0(1)", "quantised(1)", "side_zero(0)"):
        assert name in text


def test_blocks_are_named_after_the_node() -> None:
    model = model_of(mixed_graph(), box(-np.ones(4), np.ones(4)))
    blocks = [*model.column_blocks, *model.row_blocks]
    known = ("x", "pool", "gate", "scaled", "quantised", "side", "total", "worst", "margin")
    assert all(block.name.startswith(known) for block in blocks)
    starts = [block.start for block in model.row_blocks]
    assert all(a < b for a, b in pairwise(starts))
