"""The straight line: text, tree, Spec, obligations, results, report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from specdsl.backends import registry
from specdsl.diagnostics import Diagnostics, SpecError, diagnostic
from specdsl.files import read_source
from specdsl.language.checking.check import check
from specdsl.language.checking.combinations import Combination, check_combinations
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import (
    CheckDeclaration,
    OptimizeDeclaration,
    SearchDeclaration,
    Spec,
    Value,
)
from specdsl.run.answering import DEFAULT_TIMEOUT
from specdsl.run.asked_backend import asked_backend
from specdsl.run.decide import Method, decide
from specdsl.run.figures import compute, figures_of, judge, needs_samples
from specdsl.run.outcomes import ExpectOutcome
from specdsl.run.query_figures import compute as compute_query_figures
from specdsl.run.query_figures import figures_of_query
from specdsl.run.query_result import QueryOutcome, QueryResult
from specdsl.run.result import CheckOutcome, Report, Result
from specdsl.run.selection import Selection
from specdsl.run.to_come import refuse_to_come

if TYPE_CHECKING:
    from specdsl.query.elaboration.elaborate import Obligation
    from specdsl.query.elaboration.questions.optimum import Site
    from specdsl.query.elaboration.values.resources import Resources


Declaration = CheckDeclaration | OptimizeDeclaration | SearchDeclaration


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line may change: backend, seconds an obligation, seed, device, selection.

    `stop_early` ends the run at the first obligation that would make it fail.
    """

    using: str | None = None
    timeout: float | None = None
    seed: int | None = None
    device: str = "cpu"
    selection: Selection | None = None
    stop_early: bool = False
    unknown_fails: bool = True


class Observer(Protocol):
    """Told what happens as it happens; used for progress."""

    def planned(self, path: Path, obligations: int) -> None:
        """A spec is about to run."""
        ...

    def started(self, id: str) -> None:
        """An obligation is being solved."""
        ...

    def finished(self, result: Result | QueryResult) -> None:
        """An obligation, or a query, is done."""
        ...


class Silent:
    """An observer that says nothing."""

    def planned(self, path: Path, obligations: int) -> None:
        """Nothing."""

    def started(self, id: str) -> None:
        """Nothing."""

    def finished(self, result: Result | QueryResult) -> None:
        """Nothing."""


def load_combinations(
    path: Path, overrides: Mapping[str, str] | None = None, allow: Sequence[Path] = ()
) -> tuple[Combination, ...]:
    """Read, parse and check a file: once, or once for each combination of swept parameters.

    Raises SpecError with everything that is wrong with it.
    """
    return check_combinations(
        parse(read_source(path)),
        dict(overrides or {}),
        base=path.parent,
        working_directory=Path.cwd(),
        allow=tuple(allow),
    )


def load_spec(
    path: Path, overrides: Mapping[str, str] | None = None, allow: Sequence[Path] = ()
) -> Spec:
    """Read, parse and check a file with one value for each parameter. Raises SpecError."""
    return check(
        parse(read_source(path)),
        dict(overrides or {}),
        base=path.parent,
        working_directory=Path.cwd(),
        allow=tuple(allow),
    )


def verify(
    path: Path,
    overrides: Mapping[str, str] | None = None,
    options: RunOptions | None = None,
    observer: Observer | None = None,
    allow: Sequence[Path] = (),
) -> Report:
    """Check a spec file; what is wrong with it comes back as the report's diagnostics."""
    options = options or RunOptions()
    start = time.monotonic()
    try:
        combinations = load_combinations(path, overrides, allow)
    except SpecError as error:
        return Report(path, {}, (), error.diagnostics, time.monotonic() - start)
    return verify_combinations(path, combinations, options, observer or Silent())


def verify_combinations(
    path: Path,
    combinations: Sequence[Combination],
    options: RunOptions,
    observer: Observer,
    networks: Mapping[str, object] | None = None,
) -> Report:
    """Check a spec that has been loaded already, in every combination of swept parameters.

    `networks` handed over in memory go before the files of the same name.
    """
    # Elaboration brings in the ONNX importer: `check-syntax` uses this module without it.
    from specdsl.query.elaboration.values.resources import Resources
    from specdsl.run.trained import stale_networks

    start = time.monotonic()
    resources = Resources(networks)
    found = Diagnostics()
    tasks: list[_Task] = []
    for combination in combinations:
        found.extend(SpecError(combination.spec.warnings))
        _warn_of_no_check(combination.spec, found)
        try:
            found.extend(SpecError(tuple(stale_networks(combination.spec))))
            tasks.append(_task(combination, resources, options))
        except SpecError as error:
            found.extend(error)
    parameters = swept_parameters(combinations)
    if found.errors:
        return Report(path, parameters, (), tuple(found.found), time.monotonic() - start)
    run = _run(path, tasks, resources, options, observer)
    return Report(
        path=path,
        parameters=parameters,
        checks=tuple(outcome for task in tasks for outcome in _outcomes(task, run)),
        diagnostics=tuple(found.found),
        seconds=time.monotonic() - start,
        deselected=sum(task.deselected for task in tasks),
        queries=tuple(outcome for task in tasks for outcome in query_outcomes(task, run)),
        skipped=sum(task.left for task in tasks),
        interrupted=run.interrupted,
        unknown_fails=options.unknown_fails,
    )


def _warn_of_no_check(spec: Spec, found: Diagnostics) -> None:
    """Properties alone state something and ask nothing, which is easily overlooked."""
    own = {n: p.span for n, p in spec.properties.items() if p.span.source is spec.source}
    if not own or spec.checks or spec.queries or spec.trainings:
        return
    found.add(
        diagnostic(
            "W0902",
            "properties are declared, and nothing is checked",
            next(iter(own.values())),
            help=f"write `check {', '.join(own)}` at the end",
        )
    )


def swept_parameters(combinations: Sequence[Combination]) -> dict[str, Value]:
    """The parameters of a run; one that is swept has all its values, as a tuple."""
    found = dict(combinations[0].spec.parameters)
    for name in combinations[0].values:
        found[name] = tuple(dict.fromkeys(c.values[name] for c in combinations))
    return found


@dataclass(slots=True)
class _Task:
    """What there is to do for one combination, and the results so far."""

    combination: Combination
    methods: tuple[Method, ...]
    obligations: tuple[Obligation, ...]
    sites: tuple[Site, ...]
    query_methods: tuple[Method, ...]
    deselected: int
    results: list[Result] = field(default_factory=list[Result])
    query_results: list[QueryResult] = field(default_factory=list[QueryResult])

    @property
    def left(self) -> int:
        """Obligations and queries not answered."""
        done = len(self.results) + len(self.query_results)
        return len(self.obligations) + len(self.sites) - done


def _task(combination: Combination, resources: Resources, options: RunOptions) -> _Task:
    """Raises SpecError where backends or claims make no sense before any query is built."""
    from specdsl.run.obligations import obligations_of, sites_of

    methods = plan(combination.spec.checks, options)
    query_methods = plan(combination.spec.queries, options)
    obligations = obligations_of(combination, resources)
    sites = sites_of(combination, resources)
    chosen = tuple(o for o in obligations if _selected(o, options.selection))
    asked = tuple(s for s in sites if _selected(s, options.selection))
    deselected = len(obligations) + len(sites) - len(chosen) - len(asked)
    return _Task(combination, methods, chosen, asked, query_methods, deselected)


def plan(declarations: Sequence[Declaration], options: RunOptions) -> tuple[Method, ...]:
    """The method of each declaration. Raises SpecError for backends or options that do not exist.

    `using` of the options replaces the backend; the options written in the file are kept where it
    names the same one, and does not give them itself.
    """
    problems = Diagnostics()
    methods: list[Method] = []
    for declaration in declarations:
        try:
            refuse_to_come(declaration, options.using)
            methods.append(_method(declaration, options))
        except SpecError as error:
            choice = declaration.backend
            place = choice.span if choice and not options.using else None
            problems.extend(error.at(place) if place else error)
    problems.raise_errors()
    return tuple(methods)


def _method(declaration: Declaration, options: RunOptions) -> Method:
    choice = declaration.backend
    written = choice.name if choice else registry.DEFAULT
    asked = None if options.using is None else asked_backend(options.using)
    name = asked.name if asked else written
    settings = dict(choice.options) if choice and choice.name == name else {}
    settings |= asked.options if asked else {}
    timeout = options.timeout or (asked.timeout if asked else None)
    if timeout is None:
        given = choice.options.get("timeout") if choice else None
        timeout = float(given) if isinstance(given, Fraction) else DEFAULT_TIMEOUT
    backend = registry.create(name, settings, options.seed, options.device)
    samples = isinstance(declaration, CheckDeclaration) and needs_samples(declaration)
    return Method(backend, timeout, samples, bool(declaration.expects))


def _selected(asked: Obligation | Site, selection: Selection | None) -> bool:
    return selection is None or selection.matches(asked.id)


@dataclass(slots=True)
class _Run:
    """How a run ended: in full, stopped early, or broken off by the user."""

    interrupted: bool = False
    complete: bool = False


def _run(
    path: Path,
    tasks: Sequence[_Task],
    resources: Resources,
    options: RunOptions,
    observer: Observer,
) -> _Run:
    run = _Run()
    observer.planned(path, sum(task.left for task in tasks))
    try:
        run.complete = all(_decide(task, resources, options, observer) for task in tasks)
    except KeyboardInterrupt:
        run.interrupted = True
    return run


def _decide(task: _Task, resources: Resources, options: RunOptions, observer: Observer) -> bool:
    """Decide one combination's obligations; False where one that fails ended the run."""
    for obligation in task.obligations:
        method = task.methods[obligation.check]
        observer.started(obligation.id)
        result = decide(obligation, resources, method)
        task.results.append(result)
        observer.finished(result)
        if options.stop_early and _fails(result, method, options):
            return False
    if task.sites:
        from specdsl.run.queries import answer_site, gap_of

        for site in task.sites:
            observer.started(site.id)
            method = task.query_methods[site.number]
            found = answer_site(site, resources, method, gap_of(site.declaration))
            task.query_results.append(found)
            observer.finished(found)
    return True


def _fails(result: Result, method: Method, options: RunOptions) -> bool:
    if result.diagnostics or method.judged_by_expect:
        return bool(result.diagnostics)
    undecided = result.verdict == "unknown" and options.unknown_fails
    return undecided or result.verdict == "falsified"


def _outcomes(task: _Task, run: _Run) -> Iterator[CheckOutcome]:
    for index, declaration in enumerate(task.combination.spec.checks):
        results = tuple(r for r in task.results if r.check == index)
        if results:
            yield _outcome(task.combination, declaration, results, run)


def _outcome(
    combination: Combination,
    declaration: CheckDeclaration,
    results: tuple[Result, ...],
    run: _Run,
) -> CheckOutcome:
    figures = compute(figures_of(declaration), results)
    expects = _judged(declaration, figures, combination, run)
    name = declaration.name or ", ".join(dict.fromkeys(r.property_name for r in results))
    return CheckOutcome(
        name=name + combination.suffix,
        index=results[0].check,
        results=results,
        figures=figures,
        expects=expects,
        reports=declaration.reports,
        parameters=combination.values,
    )


def _judged(
    declaration: Declaration, figures: Mapping[str, Fraction], combination: Combination, run: _Run
) -> tuple[ExpectOutcome, ...]:
    if run.complete:
        constants = {**combination.spec.values, **combination.spec.parameters}
        return tuple(judge(e, figures, constants) for e in declaration.expects)
    texts = (" ".join(e.span.text.split()) for e in declaration.expects)
    return tuple(ExpectOutcome(t, None, "the run stopped early") for t in texts)


def query_outcomes(task: _Task, run: _Run) -> Iterator[QueryOutcome]:
    """What each query of one combination gave."""
    for number, declaration in enumerate(task.combination.spec.queries):
        results = tuple(r for r in task.query_results if r.number == number)
        if not results:
            continue
        figures = compute_query_figures(figures_of_query(declaration), results)
        yield QueryOutcome(
            name=(declaration.name or declaration.kind) + task.combination.suffix,
            number=number,
            results=results,
            figures=figures,
            expects=_judged(declaration, figures, task.combination, run),
            reports=declaration.reports,
            parameters=task.combination.values,
        )
