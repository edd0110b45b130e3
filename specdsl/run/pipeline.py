"""The straight line: text, tree, Spec, obligations, results, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from specdsl.backends import registry
from specdsl.diagnostics import Diagnostic, Diagnostics, SpecError
from specdsl.files import read_source
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import CheckDeclaration, Spec
from specdsl.run.decide import DEFAULT_TIMEOUT, Method, decide
from specdsl.run.figures import compute, figures_of, judge, needs_samples
from specdsl.run.result import CheckOutcome, ExpectOutcome, Report, Result
from specdsl.run.selection import Selection

if TYPE_CHECKING:
    from specdsl.query.elaboration.elaborate import Obligation
    from specdsl.query.elaboration.resources import Resources


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line may change: backend, seconds an obligation, seed, selection.

    `stop_early` ends the run at the first obligation that would make it fail.
    """

    using: str | None = None
    timeout: float | None = None
    seed: int | None = None
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

    def finished(self, result: Result) -> None:
        """An obligation is done."""
        ...


class Silent:
    """An observer that says nothing."""

    def planned(self, path: Path, obligations: int) -> None:
        """Nothing."""

    def started(self, id: str) -> None:
        """Nothing."""

    def finished(self, result: Result) -> None:
        """Nothing."""


def load_spec(
    path: Path, overrides: Mapping[str, str] | None = None, allow: Sequence[Path] = ()
) -> Spec:
    """Read, parse and check a file. Raises SpecError with everything that is wrong with it."""
    program = parse(read_source(path))
    return check(
        program,
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
        spec = load_spec(path, overrides, allow)
    except SpecError as error:
        return Report(path, {}, (), error.diagnostics, time.monotonic() - start)
    return verify_spec(path, spec, options, observer or Silent())


def verify_spec(path: Path, spec: Spec, options: RunOptions, observer: Observer) -> Report:
    """Check a spec that has been loaded already."""
    # Elaboration brings in the ONNX importer: `check-syntax` uses this module without it.
    from specdsl.query.elaboration.elaborate import elaborate
    from specdsl.query.elaboration.resources import Resources

    start = time.monotonic()
    found: list[Diagnostic] = list(spec.warnings)
    try:
        resources = Resources()
        methods = plan(spec, options)
        obligations = elaborate(spec, resources)
    except SpecError as error:
        found += error.diagnostics
        return Report(path, spec.parameters, (), tuple(found), time.monotonic() - start)
    chosen = [o for o in obligations if _selected(o, options.selection)]
    run = _run(path, chosen, resources, methods, options, observer)
    checks = tuple(
        outcome
        for index, declaration in enumerate(spec.checks)
        if (outcome := _outcome(spec, index, declaration, run))
    )
    return Report(
        path=path,
        parameters=spec.parameters,
        checks=checks,
        diagnostics=tuple(found),
        seconds=time.monotonic() - start,
        deselected=len(obligations) - len(chosen),
        skipped=len(chosen) - len(run.results),
        interrupted=run.interrupted,
        unknown_fails=options.unknown_fails,
    )


def plan(spec: Spec, options: RunOptions) -> tuple[Method, ...]:
    """The method of each `check`. Raises SpecError for backends or options that do not exist.

    `using` of the options replaces the backend; the options written in the file are kept where it
    names the same one.
    """
    problems = Diagnostics()
    methods: list[Method] = []
    for declaration in spec.checks:
        try:
            methods.append(_method(declaration, options))
        except SpecError as error:
            choice = declaration.backend
            place = choice.span if choice and not options.using else None
            problems.extend(error.at(place) if place else error)
    problems.raise_errors()
    return tuple(methods)


def _method(declaration: CheckDeclaration, options: RunOptions) -> Method:
    choice = declaration.backend
    written = choice.name if choice else registry.DEFAULT
    name = options.using or written
    settings = dict(choice.options) if choice and choice.name == name else {}
    timeout = options.timeout
    if timeout is None:
        given = choice.options.get("timeout") if choice else None
        timeout = float(given) if isinstance(given, Fraction) else DEFAULT_TIMEOUT
    backend = registry.create(name, settings, options.seed)
    return Method(backend, timeout, needs_samples(declaration), bool(declaration.expects))


def _selected(obligation: Obligation, selection: Selection | None) -> bool:
    return selection is None or selection.matches(obligation.id)


@dataclass(slots=True)
class _Finished:
    """Results so far, and whether the user broke the run off."""

    results: list[Result]
    interrupted: bool = False
    complete: bool = False


def _run(
    path: Path,
    obligations: Sequence[Obligation],
    resources: Resources,
    methods: Sequence[Method],
    options: RunOptions,
    observer: Observer,
) -> _Finished:
    run = _Finished([])
    observer.planned(path, len(obligations))
    try:
        for obligation in obligations:
            observer.started(obligation.id)
            result = decide(obligation, resources, methods[obligation.check])
            run.results.append(result)
            observer.finished(result)
            if options.stop_early and _fails(result, methods[obligation.check], options):
                return run
    except KeyboardInterrupt:
        run.interrupted = True
        return run
    run.complete = True
    return run


def _fails(result: Result, method: Method, options: RunOptions) -> bool:
    if result.diagnostics or method.judged_by_expect:
        return bool(result.diagnostics)
    undecided = result.verdict == "unknown" and options.unknown_fails
    return undecided or result.verdict == "falsified"


def _outcome(
    spec: Spec, index: int, declaration: CheckDeclaration, run: _Finished
) -> CheckOutcome | None:
    results = tuple(r for r in run.results if r.check == index)
    if not results:
        return None
    figures = compute(figures_of(declaration), results)
    if run.complete:
        constants = {**spec.values, **spec.parameters}
        expects = tuple(judge(e, figures, constants) for e in declaration.expects)
    else:
        texts = (" ".join(e.span.text.split()) for e in declaration.expects)
        expects = tuple(ExpectOutcome(t, None, "the run stopped early") for t in texts)
    return CheckOutcome(
        name=declaration.name or ", ".join(dict.fromkeys(r.property_name for r in results)),
        index=index,
        results=results,
        figures=figures,
        expects=expects,
        reports=declaration.reports,
    )
