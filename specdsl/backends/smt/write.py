"""A query as SMT-LIB 2 text."""

from __future__ import annotations

import re

import z3

from specdsl.backends.smt.formula import encode_case, logic
from specdsl.query.query import Query


def write_smt2(query: Query) -> str:
    """One `check-sat` over exact numbers: `sat` where some case has a point. The logic is QF_LRA,
    or what products, l2 balls and whole numbers ask for. Curves are enclosed, which the header
    says: then `unsat` alone is an answer.

    The input's variables have the user's names; inner ones say layer and neuron. With more than
    one case, inner names begin with `case_K.` and the cases stand in one disjunction.
    Raises Unsupported as `encode_case` does.
    """
    several = len(query.cases) > 1
    formulas = [
        encode_case(query, case, prefix=f"case_{case}." if several else "")
        for case in range(len(query.cases))
    ]
    solver = z3.Solver()
    if several:
        solver.add(z3.Or([z3.And(formula.assertions) for formula in formulas]))
    elif formulas:
        solver.add(formulas[0].assertions)
    else:
        solver.add(z3.BoolVal(False))
    body = solver.to_smt2().split("\n")
    kept = [line for line in body if not line.startswith((";", "(set-info"))]
    polynomial = any(formula.polynomial for formula in formulas)
    found = logic(any(formula.whole for formula in formulas), polynomial)
    curves = sorted({type(each.op).__name__ for f in formulas for each in f.enclosed})
    return _numbered("\n".join([*_header(query, found, curves), *kept]))


def _numbered(text: str) -> str:
    """The same text with shared subterms numbered in the order they appear.

    Z3 names them by what else the process has built, so the text would differ from run to run.
    """
    numbers: dict[str, int] = {}
    return re.sub(
        r"(?<=[\s(])([?$]x)\d+(?=[\s)])",
        lambda match: f"{match[1]}{numbers.setdefault(match[0], len(numbers) + 1)}",
        text,
    )


def _header(query: Query, found: str, curves: list[str]) -> list[str]:
    point = "counterexample" if query.kind == "forall" else "witness"
    name = " ".join(query.name.split())
    if not curves:
        return [f"; {name}: sat means that a {point} exists", f"(set-logic {found})"]
    return [
        f"; {name}: unsat means that no {point} exists",
        f"; {', '.join(curves)}: enclosed by linear functions, so sat proves nothing",
        f"(set-logic {found})",
    ]
