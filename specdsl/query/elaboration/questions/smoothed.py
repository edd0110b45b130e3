"""Which questions about a smoothed classifier samples can answer: those for one class over one set.

The question is looked at as it is about to be asked, after all of the claim has been taken apart,
so that nothing a user can write comes through that means something else: that each of all other
classes beats the one asked for is a case of its own, and there is no other case, condition, network
or variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from specdsl.diagnostics import SpecError
from specdsl.query.elaboration.questions.claims import Question
from specdsl.query.elaboration.questions.emission import needed_steps
from specdsl.query.elaboration.questions.layout import Layout
from specdsl.query.elaboration.values.scene import CallStep, Scene, operands_of
from specdsl.query.elaboration.values.smoothed import ASKED, positions_of
from specdsl.query.elaboration.values.symbolic import INPUT, Linear
from specdsl.query.query import Case, Smoothing
from specdsl.source import Span


def smoothing_of(
    question: Question, layout: Layout, rows: Sequence[Linear], cases: Sequence[Case], span: Span
) -> Smoothing | None:
    """How the question is smoothed; None where it is not, or asks nothing.

    Raises SpecError E0755 for a question about a smoothed classifier that samples cannot answer.
    """
    scene = question.claims.scene
    steps = [scene.steps[number] for number in sorted(needed_steps(scene, rows))]
    noisy = [step for step in steps if isinstance(step, CallStep) and step.noise is not None]
    if not noisy or not cases:
        return None
    objection = (
        _of_network(noisy, scene, layout, rows)
        or _of_claim(question, scene, rows)
        or _of_cases(rows, cases)
    )
    sigma = noisy[0].noise
    if objection is None and sigma is not None:
        return Smoothing(sigma)
    text = f"samples cannot answer this about a smoothed classifier: {objection}"
    raise SpecError.of("E0755", text, span, help=f"the form is {ASKED}")


def _of_network(
    noisy: Sequence[CallStep], scene: Scene, layout: Layout, rows: Sequence[Linear]
) -> str | None:
    """Against noise that is not noise on the whole input of the query."""
    if len(noisy) > 1:
        return "it is applied more than once, or there are several of them"
    (only,) = noisy
    read = positions_of(value for argument in only.arguments for value in argument)
    if read is None or len(read) != scene.input_size or layout.merged:
        return "the claim has other variables, or ties entries of this one"
    if layout.integers.size:
        return "noise takes whole numbers to others"
    others = [
        values
        for number in needed_steps(scene, rows)
        if (step := scene.steps[number]) is not only
        for values in operands_of(step)
    ]
    if any(_reads_input(value) for values in others for value in values):
        return "the claim asks of the variable more than the class it gets"
    return None


def _reads_input(value: object) -> bool:
    return isinstance(value, Linear) and any(source == INPUT for (source, _), _ in value.terms)


def _of_claim(question: Question, scene: Scene, rows: Sequence[Linear]) -> str | None:
    """Against anything else than one class against all others."""
    if question.kind == "exists":
        return "that there is a point says nothing of a set"
    found = [_scores(row) for row in rows]
    pairs = [pair for pair in found if pair is not None]
    if len(pairs) < len(found):
        return "the claim is about more than one class"
    sources = {source for pair in pairs for source, _ in pair}
    asked = {best for best, _ in pairs}
    others = {other for _, other in pairs}
    if len(asked) != 1 or len(sources) != 1:
        return "the claim is about more than one class"
    (source,) = sources
    if len(others) != scene.source(source).size - 1:
        return "the class is not asked to win over every other one"
    return None


def _scores(row: Linear) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The two scores of a row that is one less another."""
    if row.constant or len(row.terms) != 2:
        return None
    by_sign = {coefficient: entry for entry, coefficient in row.terms}
    if set(by_sign) != {Fraction(1), Fraction(-1)}:
        return None
    return by_sign[Fraction(1)], by_sign[Fraction(-1)]


def _of_cases(rows: Sequence[Linear], cases: Sequence[Case]) -> str | None:
    """Against conditions, and alternatives that are not the other classes."""
    plain = all(len(case.atoms) == 1 and not case.atoms[0].strict for case in cases)
    read = {atom.index for case in cases for atom in case.atoms}
    if not plain or len(cases) != len(rows) or read != set(range(len(rows))):
        return "the claim has conditions or alternatives beside the class"
    if len({id(case.inputs) for case in cases}) > 1:
        return "the set is not one for all classes"
    return None
