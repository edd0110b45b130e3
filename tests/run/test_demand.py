"""What counts as proven: certificates, but of the methods that are believed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, get_args

import pytest

from specdsl.backends import registry
from specdsl.backends.smt import Smt
from specdsl.certificates import certify as certificates
from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.programs import ProgramProof
from specdsl.cli.check import check_command
from specdsl.cli.solve import solve_command
from specdsl.diagnostics import SpecError
from specdsl.proof.question import SEMANTICS
from specdsl.query.query import Query
from specdsl.report.console import SEMANTICS_TEXT
from specdsl.run.asking import AskBackend
from specdsl.run.demand import BELIEVING, TRUSTED, Demand
from specdsl.run.execution import Execution
from specdsl.run.filing import certificate_name
from specdsl.run.pipeline import RunOptions, verify
from specdsl.verdict import (
    Answer,
    CaseProof,
    Certificate,
    Falsified,
    Semantics,
    Unknown,
    Verdict,
    Verified,
)
from tests.certificates.small_networks import small_network
from tests.run.fakes import PROVEN, FakeBackend, query

SPEC = """spec 1.0
network soft: real[1] -> real[1] {{ layer gelu() }}
network double: real[1] -> real[1] {{ layer dense(weight = [[2]], bias = [0]) }}
property bounded {{ forall x in [1, 2]  show {network}(x) <= {limit} }}
check bounded using {method}
"""


def asked(demand: Demand, backend: object, **options: float) -> Verdict:
    return AskBackend(demand)(query(**options), backend, 30.0, time.monotonic()).answer.verdict  # type: ignore[arg-type]


def test_there_is_a_certificate_of_what_float32_computes() -> None:
    found = asked(Demand(), Smt())
    assert isinstance(found, Verified)
    certificate = found.certificate
    assert (certificate.accepted, certificate.semantics) == (True, "float32_any_order")
    assert certificate.content is not None
    # Nothing is left of what z3 had to be trusted with.
    assert certificate.trusted == ()


@pytest.mark.parametrize("others", ["linear programs", "search"])
def test_what_others_have_proven_again_says_so(
    others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of proofs that a method leaves there are none here, and none are tried."""
    original = certificates.certify

    def needs_proofs(query: Query, proofs: tuple[CaseProof, ...], *rest: Any) -> Any:
        by_programs = any(isinstance(proof, ProgramProof) for proof in proofs)
        if not proofs or (by_programs and others == "search"):
            raise NotCertified("nothing to go by")
        return original(query, proofs, *rest)

    asked_of_z3 = small_network()
    plain = AskBackend(Demand())(asked_of_z3, Smt(), 30.0, time.monotonic()).answer
    monkeypatch.setattr(certificates, "certify", needs_proofs)
    again = AskBackend(Demand())(asked_of_z3, Smt(), 30.0, time.monotonic()).answer
    # Z3 leaves no proof, and needs none where the checker's own bounds do.
    for answer, method in ((plain, "smt/z3"), (again, f"smt/z3, proven by {others}")):
        assert isinstance(answer.verdict, Verified)
        assert answer.method == answer.verdict.certificate.method == method


@pytest.mark.parametrize("name", ["smt", "z3", "all"])
def test_what_is_trusted_has_none(name: str) -> None:
    found = asked(Demand(trust=frozenset({name})), Smt())
    assert isinstance(found, Verified)
    certificate = found.certificate
    assert (certificate.accepted, certificate.content) == (False, None)
    assert (certificate.semantics, certificate.trusted) == ("real", ("z3",))


def test_another_method_is_not_trusted_by_it() -> None:
    found = asked(Demand(trust=frozenset({"search"})), Smt())
    assert isinstance(found, Verified)
    assert found.certificate.accepted


def test_a_method_that_is_wrong_is_not_believed() -> None:
    """The one mistake that may not happen: here a backend claims what is false."""
    assert isinstance(asked(Demand(trust=frozenset({"all"})), FakeBackend(PROVEN)), Verified)
    found = asked(Demand(), FakeBackend(PROVEN), shift=-0.5)
    assert isinstance(found, Unknown)
    assert found.reason.startswith("fake/method verifies it, but there is no certificate: ")


def test_a_witness_needs_no_certificate() -> None:
    assert isinstance(asked(Demand(), Smt(), shift=-0.5), Falsified)


def test_a_checker_that_breaks_costs_its_own_obligation(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("specdsl.certificates.certify.certify", breaks)
    found = asked(Demand(), Smt())
    assert isinstance(found, Unknown)
    assert found.reason == "the checker of certificates crashed: ZeroDivisionError: a bug"
    assert found.crashed


def test_names_that_are_no_methods_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        Demand(trust=frozenset({"serach"}))
    (found,) = caught.value.diagnostics
    assert found.code == "E0852"
    assert "search" in (found.help or "")


def test_every_demand_has_another_text() -> None:
    demands = [Demand(), Demand("real"), *(Demand(trust=frozenset({t})) for t in TRUSTED)]
    demands.append(Demand(trust=frozenset({"lp", "milp"})))
    assert len({d.text for d in demands}) == len(demands)


def test_certificates_are_asked_for_unless_everything_is_believed() -> None:
    assert RunOptions().execution.demand == Demand()
    assert Demand().certifies
    assert not BELIEVING.certifies


def test_methods_name_what_may_be_trusted() -> None:
    answer = Answer(Verified(Certificate("any", None, ())), "search/input", 1.0)
    assert Demand(trust=frozenset({"search"})).believes(answer)
    assert not Demand(trust=frozenset({"smt", "lp"})).believes(answer)


@pytest.mark.parametrize("method", ["incomplete", "search", "lp", "milp", "smt", "portfolio"])
def test_every_method_verifies_a_spec_with_a_certificate_in_a_file(
    tmp_path: Path, method: str
) -> None:
    path = tmp_path / "f.spec"
    path.write_text(SPEC.format(network="double", limit="9/2", method=method))
    options = RunOptions(execution=Execution(demand=Demand(), certificates=tmp_path))
    (result,) = verify(path, options=options).results
    assert (result.verdict, result.semantics) == ("verified", "float32_any_order")
    assert result.certificate is not None
    # The bytes are in the file.
    assert result.certificate.content is None
    assert result.certificate_file == tmp_path / certificate_name(result.id)
    assert result.certificate_file.read_bytes().startswith(b"sdcert 1\n")


def test_kept_certificates_are_filed_as_well(tmp_path: Path) -> None:
    path = tmp_path / "f.spec"
    path.write_text(SPEC.format(network="double", limit="9/2", method="incomplete"))
    files: list[bytes] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        asked = Execution(None, tmp_path / "kept", Demand(), tmp_path / name)
        (result,) = verify(path, options=RunOptions(execution=asked)).results
        assert result.cached == (name == "two")
        assert result.certificate_file is not None
        files.append(result.certificate_file.read_bytes())
    assert files[0] == files[1]


def test_every_method_that_verifies_may_be_trusted() -> None:
    methods = {name for name in registry.CLASSES if registry.create(name, {}).capabilities.verifies}
    assert methods - {"portfolio"} <= set(TRUSTED)


def test_semantics_are_named_alike_everywhere() -> None:
    names = set(get_args(Semantics))
    assert names == SEMANTICS == set(SEMANTICS_TEXT)
    for command in (check_command, solve_command):
        (option,) = (p for p in command.params if p.name == "semantics")
        assert set(option.type.choices) == names  # type: ignore[attr-defined]


def test_a_network_without_a_rule_is_unknown_unless_it_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "f.spec"
    path.write_text(SPEC.format(network="soft", limit="4", method="search"))
    options = RunOptions(execution=Execution(demand=Demand()))
    (result,) = verify(path, options=options).results
    assert result.verdict == "unknown"
    assert result.reason is not None
    assert "`Gelu`" in result.reason
    assert result.advice is not None
    trusting = Execution(demand=Demand(trust=frozenset({"search"})))
    (result,) = verify(path, options=RunOptions(execution=trusting)).results
    assert (result.verdict, result.semantics) == ("verified", "real")
    assert "float64 rounding" in result.trusted


def test_a_folder_that_cannot_be_written_to_is_an_error_of_its_result(tmp_path: Path) -> None:
    path = tmp_path / "f.spec"
    path.write_text(SPEC.format(network="double", limit="5", method="incomplete"))
    options = RunOptions(execution=Execution(demand=Demand(), certificates=tmp_path / "none"))
    report = verify(path, options=options)
    assert [d.code for d in report.results[0].diagnostics] == ["E0854"]
    assert report.exit_code == 2


def test_ids_make_names_that_differ() -> None:
    ids = ["f.spec::p[1]", "f.spec::p[2]", "f.spec:_p[1]", "a/f.spec::p[1]", "p[1]", "x" * 500]
    names = [certificate_name(id) for id in ids]
    assert len(set(names)) == len(ids)
    assert all(len(n) < 200 and "/" not in n and ":" not in n for n in names)
