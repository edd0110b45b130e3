"""Certificates of random queries, for the tests of the checker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from specdsl.backend import FOREVER
from specdsl.certificates.certify import WHOLE, Certified, certify
from specdsl.certificates.files import write_tree
from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.question import Statement, state
from specdsl.proof.arithmetic import FLOAT, Arithmetic
from specdsl.proof.boxes import Tree
from specdsl.proof.container import read_container
from specdsl.proof.passes import Bounds, Rules
from specdsl.proof.question import Question, read_question
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval
from specdsl.query.query import Query
from specdsl.verdict import Semantics


def certified(query: Query, semantics: Semantics = "real") -> Certified | None:
    """By halving boxes until the checker accepts them; None where it does not."""
    try:
        return certify(query, (), semantics, FOREVER, more_leaves=64)
    except NotCertified:
        return None


def file_of(
    statement: Statement, tree: Tree = WHOLE, weights: npt.NDArray[np.float32] | None = None
) -> bytes:
    """A certificate that says that one tree proves all cases, by weights of 1 if not these."""
    cases = statement.record["cases"]
    assert isinstance(cases, list)
    proof = {"kind": "boxes", "cases": list(range(len(cases))), "tree": "t", "exact": False}
    counts = [len(case["margins"]) for case in cases]
    named = sum(count for count in counts if count != 1)
    ones = np.ones((tree.leaves, named), np.float32)
    tree = replace(tree, weights=ones if weights is None else weights)
    return statement.certificate([proof], {"t": write_tree(tree)})


def question_of(query: Query, semantics: Semantics = "real") -> Question:
    """What the checker reads of a query."""
    return read_question(read_container(file_of(state(query, semantics))))


def bounds_of(
    query: Query, semantics: Semantics = "real", how: Arithmetic = FLOAT
) -> tuple[Question, Bounds]:
    """The checker's bounds of every node on the box of the first case."""
    question = question_of(query, semantics)
    rules = Rules.of(question.network, how, single=semantics != "real")
    own = question.sets[question.cases[0].set]
    lower, upper = how.bounds(own.lower, own.upper)
    bounds = Bounds(rules, Region(how, Interval(lower[None], upper[None])))
    with np.errstate(all="ignore"):
        bounds.propagate(bounds.tighten)
    return question, bounds
