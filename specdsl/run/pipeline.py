"""The straight line: text, tree, Spec, obligations, results, report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from specdsl.backends import registry
from specdsl.diagnostics import Diagnostic, Diagnostics, SpecError, diagnostic
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
from specdsl.run.decide import Method
from specdsl.run.execution import Execution
from specdsl.run.figures import compute, figures_of, judge, needs_samples
from specdsl.run.outcomes import ExpectOutcome
from specdsl.run.query_figures import compute as compute_query_figures
from specdsl.run.query_figures import figures_of_query
from specdsl.run.query_result import QueryOutcome, QueryResult
from specdsl.run.result import CheckOutcome, Report, Result
from specdsl.run.selection import Selection
from specdsl.run.store.origin import Origin
from specdsl.run.to_come import refuse_to_come

if TYPE_CHECKING:
    from specdsl.query.elaboration.values.resources import Resources
    from specdsl.run.units import Unit


Found = Result | QueryResult
Declaration = CheckDeclaration | OptimizeDeclaration | SearchDeclaration


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line may change: backend, seconds an obligation, seed, device, selection.

    `stop_early` ends the run at the first obligation that would make it fail. `execution`: in which
    processes, and whether answers are kept.
    """

    using: str | None = None
    timeout: float | None = None
    seed: int | None = None
    device: str = "cpu"
    selection: Selection | None = None
    stop_early: bool = False
    unknown_fails: bool = True
    execution: Execution = field(default_factory=Execution)


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
    origin = Origin(str(path.resolve()), dict(overrides or {}))
    return verify_combinations(path, combinations, options, observer or Silent(), origin=origin)


def verify_combinations(
    path: Path,
    combinations: Sequence[Combination],
    options: RunOptions,
    observer: Observer,
    networks: Mapping[str, object] | None = None,
    origin: Origin | None = None,
) -> Report:
    """Check a spec that has been loaded already, in every combination of swept parameters.

    `networks` handed over in memory go before the files of the same name. `origin`: where kept
    answers say that they are from.
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
            task = _task(combination, resources, options)
            _warn_of_no_members(task, found)
            tasks.append(task)
        except SpecError as error:
            found.extend(error)
    parameters = swept_parameters(combinations)
    if found.errors:
        return Report(path, parameters, (), tuple(found.found), time.monotonic() - start)
    run = _run(path, tasks, resources, options, observer, origin)
    if run.problem is not None:
        found.add(_not_kept(run.problem))
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


def _not_kept(problem: str) -> Diagnostic:
    help = "verdicts are as good without; `--cache-dir DIR` keeps them elsewhere, `--no-cache` not"
    return diagnostic("W0880", problem, help=help)


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


def _warn_of_no_members(task: _Task, found: Diagnostics) -> None:
    """A check over a finite set without members asks nothing, and what it expects is not known."""
    for index in sorted(task.without):
        declaration = task.combination.spec.checks[index]
        text = f"`check {claims_of(declaration)}{task.combination.suffix}` asks nothing"
        label = "its finite set has no members"
        found.add(diagnostic("W0750", text, declaration.span, label=label))


def claims_of(declaration: CheckDeclaration) -> str:
    """What is checked, as it is written."""
    return ", ".join(" ".join(e.span.text.split()) for e in declaration.properties)


def swept_parameters(combinations: Sequence[Combination]) -> dict[str, Value]:
    """The parameters of a run; one that is swept has all its values, as a tuple."""
    found = dict(combinations[0].spec.parameters)
    for name in combinations[0].values:
        found[name] = tuple(dict.fromkeys(c.values[name] for c in combinations))
    return found


@dataclass(slots=True)
class _Task:
    """What there is to do for one combination, and what is known of it, by the place of its unit.

    Units are those of obligations, then those of queries. `without`: checks that ask nothing at
    all, since their finite sets have no members.
    """

    combination: Combination
    units: tuple[Unit, ...]
    deselected: int
    without: frozenset[int]
    found: dict[int, Result | QueryResult] = field(
        default_factory=dict[int, "Result | QueryResult"]
    )

    @property
    def results(self) -> list[Result]:
        """Of obligations, in the order of the file."""
        return [r for _, r in sorted(self.found.items()) if isinstance(r, Result)]

    @property
    def query_results(self) -> list[QueryResult]:
        """Of queries, in the order of the file."""
        return [r for _, r in sorted(self.found.items()) if isinstance(r, QueryResult)]

    @property
    def left(self) -> int:
        """Obligations and queries not answered."""
        return len(self.units) - len(self.found)


def _task(combination: Combination, resources: Resources, options: RunOptions) -> _Task:
    """Raises SpecError where backends or claims make no sense before any query is built."""
    from specdsl.run.obligations import obligations_of, sites_of
    from specdsl.run.units import Unit

    methods = plan(combination.spec.checks, options)
    query_methods = plan(combination.spec.queries, options)
    obligations = obligations_of(combination, resources)
    sites = sites_of(combination, resources)
    units = [
        *(Unit(each, methods[each.check]) for each in obligations),
        *(Unit(each, query_methods[each.number]) for each in sites),
    ]
    chosen = tuple(unit for unit in units if _selected(unit, options.selection))
    asking = {each.check for each in obligations}
    without = frozenset(range(len(combination.spec.checks))) - asking
    return _Task(combination, chosen, deselected=len(units) - len(chosen), without=without)


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


def _selected(unit: Unit, selection: Selection | None) -> bool:
    return selection is None or selection.matches(unit.id)


@dataclass(slots=True)
class _Run:
    """How a run ended: in full, stopped early, or broken off by the user. `problem`: why answers
    are not kept, if so.
    """

    interrupted: bool = False
    complete: bool = False
    problem: str | None = None


def _run(
    path: Path,
    tasks: Sequence[_Task],
    resources: Resources,
    options: RunOptions,
    observer: Observer,
    origin: Origin | None,
) -> _Run:
    from specdsl.run.executing import outcomes

    run = _Run()
    places = [(task, place) for task in tasks for place in range(len(task.units))]
    units = [task.units[place] for task, place in places]
    observer.planned(path, len(units))
    found = outcomes(units, resources, options.execution, origin, observer.started)
    try:
        # Closed at once, so that no worker outlives what is asked of it.
        with closing(found):
            for outcome in found:
                task, place = places[outcome.number]
                task.found[place] = outcome.result
                run.problem = run.problem or outcome.problem
                observer.finished(outcome.result)
                method = task.units[place].method
                if options.stop_early and _fails(outcome.result, method, options):
                    return run
        run.complete = True
    except KeyboardInterrupt:
        run.interrupted = True
    return run


def _fails(result: Found, method: Method, options: RunOptions) -> bool:
    if isinstance(result, QueryResult):
        return False
    if result.diagnostics or method.judged_by_expect:
        return bool(result.diagnostics)
    undecided = result.verdict == "unknown" and options.unknown_fails
    return undecided or result.verdict == "falsified"


def _outcomes(task: _Task, run: _Run) -> Iterator[CheckOutcome]:
    for index in range(len(task.combination.spec.checks)):
        results = tuple(r for r in task.results if r.check == index)
        if results or index in task.without:
            yield _outcome(task.combination, index, results, run)


def _outcome(
    combination: Combination, index: int, results: tuple[Result, ...], run: _Run
) -> CheckOutcome:
    declaration = combination.spec.checks[index]
    figures = compute(figures_of(declaration), results)
    expects = _judged(declaration, figures, combination, run)
    asked = dict.fromkeys(r.property_name for r in results)
    name = declaration.name or ", ".join(asked) or claims_of(declaration)
    return CheckOutcome(
        name=name + combination.suffix,
        index=index,
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
