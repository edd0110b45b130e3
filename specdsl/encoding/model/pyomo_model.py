"""A `LinearModel` as a Pyomo model: one indexed variable or constraint for each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from specdsl.encoding.model.linear_model import Block, FloatArray, LinearModel

if TYPE_CHECKING:
    import pyomo.environ as pyo


@dataclass(frozen=True, slots=True, eq=False)
class PyomoModel:
    """The model, and its variables and constraints in the order of columns and rows; None for a
    row without terms or sides, which is left out.
    """

    model: pyo.ConcreteModel
    variables: list[Any]
    constraints: list[Any]


def to_pyomo(linear: LinearModel) -> PyomoModel:
    """Variables and constraints keep the names of their blocks; neurons are the indices.

    A variable's name that Pyomo uses itself gets `_value` in the end, a constraint's name that a
    variable has gets `_row`.
    """
    import pyomo.environ as pyo

    model = pyo.ConcreteModel(name=linear.name)
    variables: list[Any] = []
    for block in linear.column_blocks:
        variables += _add_variables(model, block, linear)
    constraints: list[Any] = []
    for block in linear.row_blocks:
        constraints += _add_constraints(model, block, linear, variables)
    costs = np.flatnonzero(linear.cost).tolist()
    name = _free_name(model, "objective", "_row")
    model.add_component(name, pyo.Objective(expr=_sum(linear.cost, costs, variables)))
    return PyomoModel(model, variables, constraints)


def _sum(coefficients: FloatArray, columns: list[int], variables: list[Any]) -> Any:
    # LinearExpression is what Pyomo builds fastest: a sum of products costs about twice as much.
    from pyomo.core.expr.numeric_expr import LinearExpression

    return LinearExpression(
        constant=0.0,
        linear_coefs=[float(coefficients[c]) for c in columns],
        linear_vars=[variables[c] for c in columns],
    )


def _add_variables(model: Any, block: Block, linear: LinearModel) -> list[Any]:
    import pyomo.environ as pyo

    part = slice(block.start, block.start + block.indices.size)
    bounds = dict(
        zip(
            block.indices.tolist(),
            zip(linear.lower[part].tolist(), linear.upper[part].tolist(), strict=True),
            strict=True,
        )
    )

    def bounds_of(_: Any, index: int) -> tuple[float, float]:
        return bounds[index]

    whole = dict(zip(bounds, linear.integer[part].tolist(), strict=True))

    def domain_of(_: Any, index: int) -> Any:
        return pyo.Integers if whole[index] else pyo.Reals

    variable = pyo.Var(list(bounds), domain=domain_of, bounds=bounds_of)
    model.add_component(_free_name(model, block.name, "_value"), variable)
    return [variable[i] for i in bounds]


def _add_constraints(
    model: Any, block: Block, linear: LinearModel, variables: list[Any]
) -> list[Any]:
    import pyomo.environ as pyo
    from pyomo.core.expr.numeric_expr import LinearExpression

    terms, count = linear.terms, block.indices.size
    edges = np.searchsorted(terms.rows, np.arange(block.start, block.start + count + 1))
    columns, coefficients = terms.columns.tolist(), terms.coefficients.tolist()
    position = {index: i for i, index in enumerate(block.indices.tolist())}

    def rule(_: Any, index: int) -> Any:
        i = position[index]
        entries = slice(int(edges[i]), int(edges[i + 1]))
        lower = _finite(linear.row_lower[block.start + i])
        upper = _finite(linear.row_upper[block.start + i])
        # Pyomo takes no row without variables, and none without a side: in a model that serves
        # several cases, the rows of those that are not asked have none.
        if entries.start == entries.stop or (lower is None and upper is None):
            return pyo.Constraint.Skip
        body = LinearExpression(
            constant=0.0,
            linear_coefs=coefficients[entries],
            linear_vars=[variables[c] for c in columns[entries]],
        )
        return lower, body, upper

    constraint = pyo.Constraint(list(position), rule=rule)
    model.add_component(_free_name(model, block.name, "_row"), constraint)
    made = dict(constraint.items())
    return [made.get(i) for i in position]


def _free_name(model: Any, name: str, ending: str) -> str:
    """The name, with the ending as often as it takes to be no attribute of the model yet."""
    while hasattr(model, name):
        name += ending
    return name


def _finite(bound: float) -> float | None:
    return float(bound) if np.isfinite(bound) else None
