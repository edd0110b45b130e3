"""A query as SMT-LIB 2 text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import z3

from specdsl.backends.smt.formula import NetworkFormula, encode_network, logic
from specdsl.backends.smt.terms import Formula
from specdsl.query.groups import exact_groups
from specdsl.query.query import Query


def write_smt2(query: Query) -> str:
    """One `check-sat` over exact numbers: `sat` where some case has a point. The logic is QF_LRA,
    or what products, l2 balls and whole numbers ask for. Curves are enclosed, which the header
    says: then `unsat` alone is an answer.

    The input's variables have the user's names; inner ones say layer and neuron. The network
    stands once for all cases over one input set, whose atoms stand in one disjunction. With more
    than one input set, inner names begin with `set_K.` and the sets stand in one disjunction.
    Raises Unsupported as `encode_network` does.
    """
    groups = exact_groups(query)
    several = len(groups) > 1
    formulas = [
        encode_network(query, members, prefix=f"set_{i}." if several else "")
        for i, members in enumerate(groups)
    ]
    parts = [
        [*formula.assertions, *_some_case(query, formula, members)]
        for formula, members in zip(formulas, groups, strict=True)
    ]
    solver = z3.Solver()
    if len(parts) == 1:
        solver.add(parts[0])
    else:
        solver.add(z3.Or([z3.And(part) for part in parts]))
    body = solver.to_smt2().split("\n")
    kept = [line for line in body if not line.startswith((";", "(set-info"))]
    polynomial = any(formula.polynomial for formula in formulas)
    found = logic(any(formula.whole for formula in formulas), polynomial)
    curves = sorted({type(each.op).__name__ for f in formulas for each in f.enclosed})
    return _numbered("\n".join([*_header(query, found, curves), *kept]))


def _some_case(query: Query, formula: NetworkFormula, members: Sequence[int]) -> list[Formula]:
    """That all atoms of one of the cases hold."""
    atoms = [formula.atoms(query.cases[member]) for member in members]
    return atoms[0] if len(atoms) == 1 else [z3.Or([z3.And(each) for each in atoms])]


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
