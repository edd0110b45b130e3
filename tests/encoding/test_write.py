"""Files are read back by HiGHS and have the same optimum; names are readable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import highspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.encoding.cases import case_models
from specdsl.encoding.highs import solve
from specdsl.encoding.linear_model import LinearModel
from specdsl.encoding.write import write_lp, write_mps
from tests.conftest import Golden
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
    for case_model in case_models(data.draw(queries())):
        assert case_model.model is not None
        path = tmp_path / f"model.{ending}"
        path.write_text(writer(case_model.model))
        expected = solve(case_model.model, FOREVER).objective
        assert optimum_of_file(path) == pytest.approx(expected, abs=TOLERANCE)


def test_the_lp_file_of_a_small_model(golden: Golden) -> None:
    golden.check("encoding_small.lp", write_lp(small_model(integer=True)))


def test_the_mps_file_of_a_small_model(golden: Golden) -> None:
    golden.check("encoding_small.mps", write_mps(small_model(integer=True)))
