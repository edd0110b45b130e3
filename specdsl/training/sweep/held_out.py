"""The samples that trials are judged by: neither trained on nor tested on.

Who picks one of many trainings by some samples has chosen by them, as `keep best` does: a figure on
them is too good, and one on tested samples would spoil the test (E0721).
"""

from __future__ import annotations

from fractions import Fraction

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.checking.selection import same_samples, tested_parts
from specdsl.language.checking.training_data import plain_slice
from specdsl.language.evaluation import evaluate
from specdsl.language.parsing.parser import parse_expression
from specdsl.language.spec import Spec
from specdsl.source import Source, Span
from specdsl.training.plan.plan import Part, Plan

HELP = (
    "keep some samples of the training data apart: `train net on d[0:9000]`, `--on d[9000:10000]`"
)


def held_out(plan: Plan, spec: Spec, on: str | None) -> Part:
    """The part of `--on`, or that of `keep best`.

    Raises SpecError E1110 where there is none, it is none, or the network is trained on it; E0721
    where a check tests it (of `keep best` the type checker said so).
    """
    if on is None:
        if plan.selection is None:
            message = f"the training of `{plan.network}` keeps no samples apart to judge trials by"
            help_ = "add `keep best by certified(...) on PART` to the block, or give `--on PART`"
            raise SpecError.of("E1110", message, plan.span, help=help_)
        part, place = plan.selection.part, plan.selection.span
    else:
        part, place = _part(on, spec)
        for use in tested_parts(spec.program, spec.datasets, spec.values):
            if _overlap(part, Part(use.dataset, use.start, use.stop), spec):
                message = f"trials would be judged by samples of `{on}` that a check tests"
                tested = [(use.node.span, "tested here")]
                raise SpecError.of("E0721", message, place, secondary=tested, help=HELP)
    if _overlap(part, plan.data, spec):
        message = "trials would be judged by samples that they are trained on"
        trained = [(plan.span, "trained here")]
        raise SpecError.of("E1110", message, place, secondary=trained, help=HELP)
    return part


def _part(on: str, spec: Spec) -> tuple[Part, Span]:
    """`data` or `data[a:b]`, as text."""
    expression = parse_expression(Source("--on", on))

    def constant(end: syntax.Expr) -> Fraction:
        value = evaluate(end, spec.values, spec.functions)
        if isinstance(value, Fraction) and value.denominator == 1 and value >= 0:
            return value
        message = f"samples are counted from 0 by whole numbers, unlike `{end.span.text}`"
        raise SpecError.of("E1110", message, end.span)

    base = expression.base if isinstance(expression, syntax.Index) else expression
    if not isinstance(base, syntax.Name) or base.name not in spec.datasets:
        known = ", ".join(f"`{name}`" for name in spec.datasets)
        message = f"`{on}` is no part of a dataset"
        help_ = f"write `--on 'data[a:b]'`; datasets of the file: {known}"
        raise SpecError.of("E1110", message, expression.span, help=help_)
    start, stop = plain_slice(expression, constant)
    if stop is not None and (start or 0) >= stop:
        raise SpecError.of("E1110", f"`{on}` holds no sample", expression.span)
    return Part(base.name, start, stop), expression.span


def _overlap(a: Part, b: Part, spec: Spec) -> bool:
    if not same_samples(a.dataset, b.dataset, spec.datasets):
        return False
    begins = b.stop is None or (a.start or 0) < b.stop
    return begins and (a.stop is None or (b.start or 0) < a.stop)
