"""The report for people: a table of verdicts, then witnesses, reasons and figures. 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import IO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from specdsl.language.checking.combinations import plain_text, suffix_of
from specdsl.language.spec import Value
from specdsl.report.queries import queries_table
from specdsl.report.queries import reasons as query_reasons
from specdsl.report.wording import amount, figure, number, plural, spent, values_of
from specdsl.run.figures import SHARES_OF_RESULTS
from specdsl.run.outcomes import ShownVariable, ShownWitness
from specdsl.run.query_result import QueryOutcome, QueryResult
from specdsl.run.result import CheckOutcome, Report, Result
from specdsl.verdict import CallReplay

WIDTH = 80
GROUP_FROM = 13
"""A property with this many results or more gets one line of counts instead of one line each."""
WITNESSES = 3
"""Witnesses shown for each check that does not ask for `report witness`."""
REASONS = 10
"""Undecided obligations explained for each check; all are in the JSON report."""
OUTPUTS = 12
"""Outputs of a network shown by name."""
SWEPT = 4
"""Values of a swept parameter that the heading lists."""

SEMANTICS_TEXT = {
    "float32_any_order": "for float32 in any order of summation",
    "real": "in real numbers",
}

STYLES = {"verified": "green", "falsified": "bold red", "unknown": "yellow", "error": "bold red"}


def to_text(reports: Sequence[Report]) -> str:
    """The console report without colour, for files and golden tests."""
    # Names hold brackets, `p(d[first])`, which are no markup, and colons, which are no emoji.
    console = Console(
        width=WIDTH, color_system=None, force_terminal=False, markup=False, emoji=False
    )
    with console.capture() as capture:
        for report in reports:
            console.print(render(report))
    # Rich pads every line to the full width.
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def write(reports: Sequence[Report], stream: IO[str]) -> None:
    """Print to a stream: colours and the full width on a terminal, 80 plain columns elsewhere."""
    if not stream.isatty():
        stream.write(to_text(reports))
        return
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for report in reports:
        console.print(render(report))


def render(report: Report) -> RenderableType:
    """Everything about one spec file."""
    parts: list[RenderableType] = [_heading(report)]
    if report.results:
        parts.append(_table(report.checks))
    for check in report.checks:
        parts += _witnesses(check)
        parts += _reasons(check)
        parts += _figures(check)
    parts += _queries(report)
    found = [r for query in report.queries for r in query.results]
    parts += _proofs([*report.results, *found])
    parts.append(_summary(report))
    return Group(*parts)


def _heading(report: Report) -> Text:
    heading = Text(str(report.path), style="bold")
    shown = [f"{name} = {shown_value(value)}" for name, value in report.parameters.items()]
    if shown:
        heading.append("  (" + ", ".join(shown) + ")", style="not bold")
    return heading


def shown_value(value: Value) -> str:
    """A parameter as people write it: `2/255`, `l2`; a swept one `1/255 ... 8/255 (8 values)`."""
    if not isinstance(value, tuple):
        return plain_text(value)
    if len(value) <= SWEPT:
        return " | ".join(map(plain_text, value))
    return f"{plain_text(value[0])} ... {plain_text(value[-1])} ({len(value)} values)"


# --- the table ----------------------------------------------------------------------------------


def _table(checks: Sequence[CheckOutcome]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("property", overflow="fold", ratio=None)
    table.add_column("verdict")
    table.add_column("method", overflow="fold")
    table.add_column("bound", justify="right")
    table.add_column("seconds", justify="right")
    for check in checks:
        for group in _grouped(check.results):
            if len(group) >= GROUP_FROM:
                _add_counts(table, group, suffix_of(check.parameters))
            else:
                for result in group:
                    _add_row(table, result)
    return table


def _grouped(results: Sequence[Result]) -> Iterator[list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.property_name, []).append(result)
    yield from groups.values()


def short_id(result: Result) -> str:
    """The id without the file, which the heading names."""
    return result.id.rpartition("::")[2]


def _add_row(table: Table, result: Result) -> None:
    word = result.word
    table.add_row(
        short_id(result),
        Text(word, style=STYLES[word]),
        result.method,
        "" if result.bound is None else number(result.bound),
        _spent([result]),
    )


def _add_counts(table: Table, group: Sequence[Result], suffix: str) -> None:
    words = [r.word for r in group]
    verdicts = Text()
    for word, style in STYLES.items():
        if word in words:
            verdicts.append("\n" * bool(verdicts) + f"{words.count(word)} {word}", style)
    methods = ", ".join(dict.fromkeys(r.method for r in group))
    name = f"{group[0].property_name}{suffix} ({len(group)} samples)"
    table.add_row(name, verdicts, methods, "", _spent(group))


def _spent(group: Sequence[Result]) -> str:
    fresh = [r.seconds for r in group if not r.cached]
    return spent(fresh, len(group) - len(fresh))


# --- witnesses ----------------------------------------------------------------------------------


def _witnesses(check: CheckOutcome) -> Iterator[RenderableType]:
    found = [r for r in check.results if r.witness]
    wanted = any(request.name == "witness" for request in check.reports)
    shown = found if wanted else found[:WITNESSES]
    for result in shown:
        if result.witness:
            yield from _witness(result, result.witness)
    if len(found) > len(shown):
        rest = plural(len(found) - len(shown), "more witness", "more witnesses")
        yield Text(f"\n{rest}: see the JSON report, or ask for `report witness`", "dim")


def _witness(result: Result, witness: ShownWitness) -> Iterator[RenderableType]:
    says = "falsified at" if result.verdict == "falsified" else "verified by the example"
    yield from _point(short_id(result), says, STYLES[result.verdict], witness)


def _point(
    name: str, says: str, style: str, witness: ShownWitness, margin: bool = True
) -> Iterator[RenderableType]:
    """`margin`: where an optimum is attained, how much better than asked for says nothing."""
    yield Text.assemble("\n", (name, "bold"), " ", (says, style))
    lines = Table.grid(padding=(0, 1))
    lines.add_column(justify="right")
    lines.add_column(overflow="fold")
    for variable in witness.variables:
        lines.add_row(f"{variable.name} =", _variable(variable))
    times = Counter(call.network for call in witness.calls)
    for call in witness.calls:
        named = call.text and times[call.network] > 1
        lines.add_row(f"{call.text if named else call.network} says", _outputs(call))
    if margin:
        lines.add_row("margin", _margin(witness))
    for note in witness.notes:
        lines.add_row("note", note)
    yield Padding(lines, (0, 0, 0, 2))


def _margin(witness: ShownWitness) -> str:
    replayed, computed = number(witness.replayed_margin), number(witness.exact_margin)
    how = "computed" if witness.error else "exact"
    if replayed == computed:
        return f"{computed} ({how}, and replayed with {witness.replayed_with})"
    return f"{replayed} replayed with {witness.replayed_with} ({how}: {computed})"


def _variable(variable: ShownVariable) -> str:
    unit = f" {variable.unit}" if variable.unit else ""
    return values_of(variable.values) + unit


def _outputs(call: CallReplay) -> str:
    values = call.outputs.tolist()
    if len(values) > OUTPUTS:
        return values_of([Fraction(v) for v in values])
    labels = call.labels or tuple(str(i) for i in range(len(values)))
    if len(values) == 1 and not call.labels:
        return number(values[0])
    return ", ".join(f"{name}: {number(v)}" for name, v in zip(labels, values, strict=True))


# --- queries -------------------------------------------------------------------------------------


def _queries(report: Report) -> Iterator[RenderableType]:
    if not report.queries:
        return
    yield Text("")
    yield queries_table(report.queries)
    for outcome in report.queries:
        found = [r for r in outcome.results if r.argument]
        wanted = any(request.name == "witness" for request in outcome.reports)
        for result in found if wanted else found[:WITNESSES]:
            if result.argument:
                radius = result.kind in {"largest", "smallest"}
                says = "falsified at" if radius else "attained at"
                name = result.id.rpartition("::")[2]
                yield from _point(name, says, "cyan", result.argument, margin=radius)
    yield from query_reasons(report.queries)
    for outcome in report.queries:
        yield from _figures(outcome)


# --- reasons, figures, summary ------------------------------------------------------------------


def _reasons(check: CheckOutcome) -> Iterator[RenderableType]:
    """Each reason once, under the first result it was given for."""
    groups: dict[tuple[str, str | None, str | None, Fraction | None], list[Result]] = {}
    for result in check.results:
        if result.verdict == "unknown":
            sure = result.estimate and result.estimate.confidence
            key = (result.word, result.reason, result.advice, sure)
            groups.setdefault(key, []).append(result)
    shown = list(groups.items())[:REASONS]
    for (word, reason, advice, sure), (first, *others) in shown:
        name = short_id(first) + (f" and {plural(len(others), 'other', 'others')}" * bool(others))
        said = f"{word}, with a confidence of {number(sure)}" if sure is not None else word
        yield Text.assemble("\n", (name, "bold"), " ", (said, STYLES[word]), f": {reason}")
        if advice:
            yield Text(f"  try: {advice}")
    rest = sum(len(results) for results in groups.values())
    rest -= sum(len(results) for _, results in shown)
    if rest:
        yield Text(f"\nand {rest} more; all are in the JSON report", "dim")


def _figures(check: CheckOutcome | QueryOutcome) -> Iterator[RenderableType]:
    whole = isinstance(check, CheckOutcome) and any(r.sample is not None for r in check.results)
    if not check.figures and not check.expects and not whole:
        return
    yield Text.assemble("\n", (check.name, "bold"))
    if isinstance(check, CheckOutcome) and whole and len(check.results) > 1:
        word = (check.verdict, STYLES[check.verdict])
        yield Text.assemble("  as a whole: ", word, f" ({len(check.results)} samples)")
    for name, value in check.figures.items():
        counts = name in SHARES_OF_RESULTS
        shown = figure(value, len(check.results)) if counts else number(value)
        yield Text(f"  {name} = {shown}")
    for expect in check.expects:
        if expect.met is None:
            yield Text.assemble(
                f"  expect {expect.text}: ", ("not known", "yellow"), f" ({expect.reason})"
            )
        else:
            word, style = ("met", "green") if expect.met else ("missed", "bold red")
            yield Text.assemble(f"  expect {expect.text}: ", (word, style))


def _proofs(results: Sequence[Result | QueryResult]) -> Iterator[RenderableType]:
    """How many the independent checker has accepted, how many are believed, and what they trust."""
    known = [r.certificate for r in results if r.certificate]
    checked = [c for c in known if c.accepted]
    believed = [c for c in known if not c.accepted]
    lines = [
        f"{plural(n, 'proof', 'proofs')} checked, {SEMANTICS_TEXT[meaning]}"
        for meaning, n in Counter(c.semantics for c in checked).items()
    ]
    if believed:
        lines.append(f"{plural(len(believed), 'proof', 'proofs')} believed without a certificate")
    names = dict.fromkeys(name for c in known for name in c.trusted)
    if names:
        lines.append("proofs trust: " + ", ".join(names))
    if lines:
        yield Text("\n" + "\n".join(lines), "dim")


def _summary(report: Report) -> Text:
    counts = report.counts
    errors = sum(bool(r.diagnostics) for r in report.results)
    parts = [f"{counts['verified']} verified", f"{counts['falsified']} falsified"]
    parts.append(f"{counts['unknown'] - errors} unknown")
    if errors:
        parts.append(plural(errors, "error", "errors"))
    if report.deselected:
        parts.append(f"{report.deselected} deselected")
    if report.skipped:
        parts.append(f"{report.skipped} not started")
    broken = sum(d.severity == "error" for d in report.diagnostics)
    if broken:
        parts = [plural(broken, "error", "errors") + " in the spec, nothing checked"]
    elif not report.results and report.queries:
        parts = parts[3:]
    elif not report.results:
        parts = ["nothing to check", *parts[3:]]
    if report.queries:
        words = [r.word for query in report.queries for r in query.results]
        done = sum(word in {"found", "none"} for word in words)
        parts.append(f"{done} of {plural(len(words), 'query', 'queries')} answered")
    summary = Text("\n" + ", ".join(parts) + f" in {amount(report.seconds)}", style="bold")
    cached = sum(
        r.cached for r in (*report.results, *(r for q in report.queries for r in q.results))
    )
    if cached:
        summary.append(f" ({cached} cached)", style="not bold")
    if report.interrupted:
        summary.append(" (interrupted)", style="bold red")
    return summary
