"""`Obligation`: one claim to decide. Its query is built when it is asked for, and not kept."""

from __future__ import annotations

from dataclasses import dataclass

from specdsl.diagnostics import Diagnostic, SpecError, diagnostic
from specdsl.language.spec import ExactArray, Spec
from specdsl.query.elaboration.questions.assemble import MAX_CASES, Assembly
from specdsl.query.elaboration.questions.claims import Claims, Question, ask
from specdsl.query.elaboration.questions.domains import check_domains
from specdsl.query.elaboration.questions.emission import Emitted, emit
from specdsl.query.elaboration.questions.goal import Goal, Kind
from specdsl.query.elaboration.questions.layout import (
    Layout,
    equal_entries,
    lay_out,
    shown_variables,
)
from specdsl.query.elaboration.questions.smoothed import smoothing_of
from specdsl.query.elaboration.questions.unperturbed import unperturbed
from specdsl.query.elaboration.values.environment import Sample
from specdsl.query.elaboration.values.formula import Formula, TooManyClauses, conjunction
from specdsl.query.elaboration.values.known import decide
from specdsl.query.elaboration.values.regions import Unbounded
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.query import Case, Nonlinear, Query
from specdsl.source import Span


@dataclass(frozen=True, slots=True, eq=False)
class Obligation:
    """One claim of a `check`.

    `id` is unique in a run and names file, property and sample; `check` is the position in
    `spec.checks`. `sample_of`: the dataset sample it is about, if any. `kind` as in `Query`.
    """

    id: str
    property_name: str
    span: Span
    check: int
    kind: Kind
    spec: Spec
    goal: Goal
    sample_of: Sample | None = None

    @property
    def sample(self) -> int | None:
        """The position of the sample in its dataset."""
        return self.sample_of.index if self.sample_of else None

    def query(self, resources: Resources) -> Query:
        """The question to answer.

        Raises SpecError for what is wrong with this obligation: files, samples, sizes (E05xx,
        E06xx), constructs that are not supported (E0901), too many cases (E0750).
        """
        try:
            question = ask(self.goal, self.spec, resources)
            assembler = Assembler(question, self.span, self.sample_point(resources))
            return assembler.query(self.id, self.property_name)
        except SpecError as error:
            raise error.at(self.span, f"in `{self.id}`") from error

    def sample_point(self, resources: Resources) -> ExactArray | None:
        """The unperturbed sample, flat and exact; None where the obligation is about none."""
        if self.sample_of is None:
            return None
        data = resources.dataset(self.spec, self.sample_of.dataset)
        if not 0 <= self.sample_of.index < len(data):
            return None
        return data.input(self.sample_of.index).reshape(-1)


class Assembler:
    """A question as cases over one graph, about a `sample` if any."""

    def __init__(self, question: Question, span: Span, sample: ExactArray | None = None) -> None:
        self.question = question
        self.span = span
        self.sample = sample
        self.claims: Claims = question.claims
        scene = self.claims.scene
        self.layout: Layout = lay_out(scene, equal_entries(scene, question.wanted))
        self.assembly = Assembly(scene, self.layout)

    def query(self, name: str, property_name: str) -> Query:
        """The whole question as one query."""
        cases = self.cases(self.assembly, self.question.wanted)
        warnings: tuple[Diagnostic, ...] = ()
        assumed = conjunction(self.claims.assumed)
        if not cases and self.claims.scene.variables:
            aside = Assembly(self.claims.scene, self.layout)
            if not self.cases(aside, assumed):
                warnings = (self._vacuous(name),)
        return self.finish(name, property_name, cases, warnings)

    def finish(
        self,
        name: str,
        property_name: str,
        cases: tuple[Case, ...],
        warnings: tuple[Diagnostic, ...] = (),
    ) -> Query:
        """The query over cases that were made with this assembly."""
        scene, rows = self.claims.scene, tuple(self.assembly.rows)
        check_domains(scene, self.layout, rows, cases)
        smoothing = smoothing_of(self.question, self.layout, rows, cases, self.span)
        emitted = emit(scene, self.layout, rows)
        return Query(
            name=name,
            graph=emitted.graph,
            cases=cases,
            variables=shown_variables(scene, self.layout),
            calls=emitted.calls,
            kind=self.question.kind,
            property_name=property_name,
            span=self.span,
            warnings=warnings,
            integers=self.layout.integers,
            nonlinear=self._nonlinear(emitted),
            center=self._center(),
            smoothing=smoothing,
        )

    def _center(self) -> ExactArray | None:
        """Where nothing is perturbed."""
        if self.sample is None:
            return None
        return unperturbed(self.claims.scene, self.layout, self.sample)

    def _nonlinear(self, emitted: Emitted) -> tuple[Nonlinear, ...]:
        """Where the claim multiplies, and which networks do."""
        if not emitted.multiplies:
            return ()
        inside = (
            Nonlinear(f"{name}(...)", self.span, ((declared, f"`{name}` multiplies inside"),))
            for name, declared in emitted.multiplying_networks
        )
        return (*self.claims.scene.nonlinear, *inside)

    def cases(self, assembly: Assembly, formula: Formula) -> tuple[Case, ...]:
        """The cases of a formula. Raises SpecError E0750, E0754."""
        try:
            return assembly.cases(decide(formula, self.claims.scene))
        except TooManyClauses as error:
            raise SpecError.of(
                "E0750",
                f"the negated claim multiplies out to {error.count} cases; the limit is "
                f"{MAX_CASES}",
                self.span,
                help="split it into several properties, or state it with fewer alternatives",
            ) from error
        except Unbounded as error:
            raise self._unbounded(error.position) from error

    def _unbounded(self, position: int) -> SpecError:
        shown = shown_variables(self.claims.scene, self.layout)
        name = next((v.name for v in shown if position in v.positions), "input")
        return SpecError.of(
            "E0754",
            f"`{name}` is unbounded: nothing can be proven over an infinite set",
            self.claims.outer,
            help=f"give it bounds in its space, or add `where {name} >= ... and {name} <= ...`",
        )

    def _vacuous(self, name: str) -> Diagnostic:
        conditions = self.claims.conditions
        return diagnostic(
            "W0750",
            f"`{name}` says nothing: no input satisfies its conditions",
            conditions[0].span if conditions else self.claims.outer,
            label="never true within the bounds" if conditions else "this set is empty",
        )
