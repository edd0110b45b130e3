"""A run with a fault in every obligation but one: each costs its own verdict, wherever it runs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import specdsl.bounds.rounding  # noqa: F401 - torch, once, and not in every worker
from specdsl.backends import registry
from specdsl.report.console import to_text
from specdsl.report.document import to_json
from specdsl.run import executing
from specdsl.run.execution import Execution
from specdsl.run.pipeline import RunOptions, Silent, verify
from specdsl.run.query_result import QueryResult
from specdsl.run.result import Report, Result
from specdsl.run.workers.limits import Workers, can_fork
from tests.run.faulty import NAME, PLACE

LINUX = pytest.mark.skipif(not can_fork(), reason="workers take Linux")
HERE = pytest.param(None, id="here")
WORKER = pytest.param(Workers(1, 4.0), id="worker", marks=LINUX)
TWO = pytest.param(Workers(2, 4.0), id="two workers", marks=LINUX)

HEAD = """spec 1.0
network double: real[1] -> real[1] { layer dense(weight = [[2]], bias = [0]) }
"""


def spec(folder: Path, names: tuple[str, ...], more: str = "") -> Path:
    # Each asks something else: equal questions have one answer.
    lines = [
        f"property {name} {{ forall x in [1, 2]  show double(x) <= {5 + place} }}"
        for place, name in enumerate(names)
    ]
    check = f"check {', '.join(names)}\n" if names else ""
    path = folder / "f.spec"
    path.write_text(HEAD + "\n".join(lines) + "\n" + check + more)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    monkeypatch.setitem(registry.CLASSES, NAME, PLACE)  # type: ignore[arg-type]
    monkeypatch.setattr(executing, "GRACE", 1.0)

    def verified(*names: str, workers: Workers | None = None, more: str = "", **options: object):
        execution = Execution(workers, tmp_path / "kept")
        given = RunOptions(using=NAME, timeout=0.5, execution=execution, **options)  # type: ignore[arg-type]
        return verify(spec(tmp_path, names, more), options=given)

    return verified


REASONS = {
    "segfault": "solver crashed (signal 11)",
    # A certificate may take 5 s, and an answer half a second, beyond the end of a method's time.
    "hang": "timeout after 0.5 s, killed 6 s later",
    "eat": "out of memory (limit 4 GiB)",
    "torch": "out of memory (limit 4 GiB)",
    "raise": "solver crashed: ValueError: nothing good",
    "nan_margin": "faulty: its certificate has no number as margin",
    "nan_bound": "open",
}


@pytest.mark.parametrize("workers", [WORKER, TWO])
def test_every_fault_costs_its_own_obligation(run: Callable[..., Report], workers: Workers) -> None:
    report = run(*REASONS, "fine", workers=workers)
    reasons = {r.property_name: r.reason for r in report.results}
    assert reasons == {**REASONS, "fine": None}
    assert {r.verdict for r in report.results[:-1]} == {"unknown"}
    assert report.results[-1].verdict == "verified"
    assert report.exit_code == 4
    # Neither report shows a number that is none.
    assert not any(word in to_json([report]) for word in ("NaN", "Infinity"))
    assert " nan" not in to_text([report])


def test_without_workers_what_raises_costs_its_own_obligation(run: Callable[..., Report]) -> None:
    report = run("raise", "torch", "nan_margin", "nan_bound", "fine")
    assert [r.verdict for r in report.results] == [*["unknown"] * 4, "verified"]
    assert report.results[1].reason == "out of memory"


@LINUX
def test_what_ended_a_worker_is_asked_again_and_the_rest_is_not(
    run: Callable[..., Report],
) -> None:
    names = ("segfault", "hang", "eat", "raise", "nan_bound", "fine")
    for _ in range(2):
        report = run(*names, workers=Workers(1, 4.0))
    assert {r.property_name for r in report.results if r.cached} == {"nan_bound", "fine"}


@pytest.mark.parametrize("workers", [HERE, WORKER, TWO])
def test_a_report_is_the_same_whoever_decided_and_whether_it_was_kept(
    tmp_path: Path, workers: Workers | None
) -> None:
    text = """property bounded { forall x in [1, 2]  show double(x) <= 5 }
property grows   { forall x in [1, 2]  show double(x) >= 3 * x - 1.5 }
property reaches { exists x in [1, 2]  show double(x) >= 3 }
check bounded, grows, reaches using smt
maximize double(x) over x in [1, 2] using smt(timeout = 20)
"""
    path = spec(tmp_path, (), text)

    def documents(execution: Execution) -> dict[str, object]:
        report = verify(path, options=RunOptions(execution=execution))
        content = json.loads(to_json([report]))
        content["summary"].pop("seconds")
        for each in content["queries"]:
            each.pop("seconds")
        return content

    def without(content: dict[str, object], *names: str) -> str:
        entries = [*content["results"], *content["queries"]]  # type: ignore[misc]
        return json.dumps([{k: v for k, v in e.items() if k not in names} for e in entries])

    alone = documents(Execution())
    first = documents(Execution(workers, tmp_path / "kept"))
    second = documents(Execution(workers, tmp_path / "kept"))
    assert without(first, "cached", "seconds") == without(alone, "cached", "seconds")
    # What is kept has its seconds, too.
    assert without(second, "cached") == without(first, "cached")
    flags = [[e["cached"] for e in c["results"] + c["queries"]] for c in (first, second)]  # type: ignore[operator]
    assert flags == [[False] * 4, [True] * 4]


def test_kept_answers_are_marked_for_people(tmp_path: Path) -> None:
    path = spec(tmp_path, ("p",))
    options = RunOptions(using="smt", execution=Execution(cache=tmp_path / "kept"))
    first, second = (to_text([verify(path, options=options)]) for _ in range(2))
    assert "cached" not in first
    assert second.count("cached") == 2
    assert "(1 cached)" in second


@LINUX
@pytest.mark.parametrize("kind", ["hang", "segfault"])
def test_an_optimum_that_ends_its_worker_is_open(run: Callable[..., Report], kind: str) -> None:
    # A query has no property to be named after; its name is what it asks.
    more = "maximize double(x) over x in [1, 2]\n"
    from tests.run import faulty

    with pytest.MonkeyPatch.context() as patch:
        original = faulty._verdict
        patch.setattr(faulty, "_verdict", lambda _: original(kind))
        report = run("fine", workers=Workers(1), more=more, selection=None)
    (outcome,) = report.queries
    (result,) = outcome.results
    assert isinstance(result, QueryResult)
    assert result.word == "open"
    assert result.reason is not None
    assert ("killed" in result.reason) == (kind == "hang")


@pytest.mark.parametrize("workers", [HERE, WORKER, TWO])
def test_a_run_that_stops_early_leaves_the_rest(
    run: Callable[..., Report], workers: Workers | None
) -> None:
    report = run("raise", *(f"fine{i}" for i in range(9)), workers=workers, stop_early=True)
    assert report.results[0].verdict == "unknown"
    assert report.skipped >= 7
    assert not report.interrupted


class Interrupting(Silent):
    """Presses Ctrl-C when two are done."""

    def __init__(self) -> None:
        self.done = 0

    def finished(self, result: Result | QueryResult) -> None:
        self.done += 1
        if self.done == 2:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("workers", [HERE, WORKER, TWO])
def test_an_interrupt_keeps_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: Workers | None
) -> None:
    monkeypatch.setitem(registry.CLASSES, NAME, PLACE)  # type: ignore[arg-type]
    path = spec(tmp_path, tuple(f"fine{i}" for i in range(9)))
    options = RunOptions(
        using=f"{NAME}", execution=Execution(workers, tmp_path / "kept"), timeout=5.0
    )
    report = verify(path, options=options, observer=Interrupting())
    assert report.interrupted
    assert report.exit_code == 130
    assert 2 <= len(report.results) < 9
    again = verify(path, options=options)
    assert len(again.results) == 9
    assert sum(r.cached for r in again.results) >= len(report.results)


@pytest.mark.parametrize("workers", [HERE, WORKER])
def test_a_store_that_cannot_be_made_is_told_and_changes_nothing(
    tmp_path: Path, workers: Workers | None
) -> None:
    path = spec(tmp_path, ("p", "q"))
    plain = verify(path, options=RunOptions(using="smt"))
    execution = Execution(workers, cache=path)
    report = verify(path, options=RunOptions(using="smt", execution=execution))
    assert [d.code for d in report.diagnostics] == ["W0880"]
    assert str(path) in report.diagnostics[0].message
    assert report.exit_code == plain.exit_code == 0
    assert [r.verdict for r in report.results] == [r.verdict for r in plain.results]
