"""`solve --certificate` and `audit`: a proof is written, and checked from its file alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from specdsl.cli.main import cli, run_guarded
from specdsl.graph.to_onnx import export
from specdsl.proof import read_certificate
from tests.proof.test_container import narrow_query

PROPERTY = """
(declare-const X_0 Real)
(declare-const Y_0 Real)
(assert (>= X_0 -1.0))
(assert (<= X_0 2.0))
(assert (<= Y_0 {bound}))
"""


@pytest.fixture
def instance(tmp_path: Path) -> tuple[Path, Path]:
    """`relu(x) - relu(x - 1) + 1/4` on [-1, 2], which is 0.25 at least."""
    network, query = tmp_path / "f.onnx", tmp_path / "q.vnnlib"
    network.write_bytes(export(narrow_query().graph))
    query.write_text(PROPERTY.format(bound="0.2"))
    return network, query


def run(*arguments: object) -> int:
    return run_guarded(cli, "specdsl", [str(a) for a in arguments])


@pytest.mark.parametrize("semantics", ["real", "float32_any_order"])
def test_a_certificate_is_written_and_accepted(
    instance: tuple[Path, Path], semantics: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, record = instance[0].with_suffix(".sdcert"), instance[0].with_suffix(".json")
    options = ("--certificate", file, "--semantics", semantics, "--record", record)
    assert run("solve", *instance, *options) == 0
    assert capsys.readouterr().out == "unsat\n"
    assert read_certificate(file.read_bytes()).question.semantics == semantics
    assert json.loads(record.read_text())["certificate"] == str(file)
    assert run("audit", file) == 0
    assert f"accepted ({semantics}, " in capsys.readouterr().out
    assert run("audit", file, "--exact", "--output-format", "json") == 0
    assert json.loads(capsys.readouterr().out)["accepted"] is True


def test_what_has_a_witness_has_no_file(
    instance: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    network, query = instance
    query.write_text(PROPERTY.format(bound="0.3"))
    file = network.with_suffix(".sdcert")
    assert run("solve", network, query, "--certificate", file) == 0
    assert capsys.readouterr().out.startswith("sat")
    assert not file.exists()


def test_a_margin_below_rounding_of_float32_is_unknown(
    instance: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    network, query = instance
    query.write_text(PROPERTY.format(bound="0.24999999"))
    file = network.with_suffix(".sdcert")
    options = ("--certificate", file, "--semantics", "float32_any_order")
    assert run("solve", network, query, *options) == 0
    captured = capsys.readouterr()
    assert captured.out == "unknown\n"
    assert "there is no certificate: at some point the margin is 0, but for" in captured.err
    assert not file.exists()


def test_what_is_damaged_is_refused(
    instance: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = instance[0].with_suffix(".sdcert")
    assert run("solve", *instance, "--certificate", file) == 0
    good, bad = file, file.with_name("bad.sdcert")
    bad.write_bytes(good.read_bytes()[:-4])
    capsys.readouterr()
    assert run("audit", good, bad) == 4
    lines = capsys.readouterr().out.splitlines()
    assert "accepted" in lines[0]
    assert "refused: section" in lines[1]


def test_nothing_of_the_engine_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "none.sdcert"
    file.write_bytes(b"nothing")
    script = (
        "import sys; from specdsl.cli.main import cli, run_guarded; "
        f"code = run_guarded(cli, 'specdsl', ['audit', {str(file)!r}]); "
        "own = [m for m in sys.modules if m.split('.')[0] in "
        "('torch', 'onnx', 'onnxruntime', 'z3', 'pyomo', 'highspy', 'scipy', 'networkx', 'lark')]; "
        "own += [m for m in sys.modules if m.startswith(('specdsl.graph', 'specdsl.bounds', "
        "'specdsl.backends', 'specdsl.query', 'specdsl.language'))]; "
        "assert code == 4 and not own, (code, own)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


SPEC = """spec 1.0
network double: real[1] -> real[1] { layer dense(weight = [[2]], bias = [0]) }
property bounded { forall x in [1, 2]  show double(x) <= 9/2 }
property grows { forall x in [1, 2]  show double(x) >= 3 }
property tight { forall x in [1, 2]  show double(x) <= 4 }
check bounded, grows, tight using smt
"""


def results(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    """Of a JSON report, by property."""
    return {r["property"]: r for r in json.loads(capsys.readouterr().out)["results"]}


def test_check_writes_certificates_that_audit_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, folder = tmp_path / "f.spec", tmp_path / "proofs" / "today"
    spec.write_text(SPEC)
    assert run("check", spec, "--certificates", folder, "--output-format", "json") == 1
    found = results(capsys)
    proof, witness = sorted(folder.iterdir())
    assert {n: r["certificate"] for n, r in found.items()} == {
        "bounded": str(proof),
        "grows": str(witness),
        "tight": None,
    }
    assert found["bounded"]["semantics"] == "float32_any_order"
    assert run("audit", proof, witness) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "accepted (float32_any_order, 1 leaf, " in first
    assert "accepted (real, a witness, " in second
    run("check", spec, "--certificates", folder, "--trust", "all")
    assert witness.read_bytes()
    capsys.readouterr()
    assert run("audit", witness, "--output-format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["witness"], said["leaves"]) == (True, None)


def test_what_is_proven_in_real_numbers_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A margin of zero, of which float32 leaves nothing: only rationals see it."""
    spec = tmp_path / "f.spec"
    spec.write_text(SPEC)
    run("check", spec, "--output-format", "json")
    found = results(capsys)["tight"]
    assert found["verdict"] == "unknown"
    assert "there is no certificate: at some point the margin is 0" in str(found["reason"])
    assert "--semantics real" in str(found["advice"])
    assert "--trust" in str(found["advice"])
    files = tmp_path / "files"
    run("check", spec, "--semantics", "real", "--certificates", files, "--output-format", "json")
    found = results(capsys)["tight"]
    assert (found["verdict"], found["trusted"], found["semantics"]) == ("verified", [], "real")
    assert run("audit", found["certificate"]) == 0
    capsys.readouterr()
    run("check", spec, "--trust", "z3", "--output-format", "json")
    found = results(capsys)["tight"]
    assert (found["verdict"], found["trusted"], found["semantics"]) == ("verified", ["z3"], "real")


TWO = """spec 1.0
network double: real[1] -> real[1] { layer dense(weight = [[2]], bias = [0]) }
param most: real = 9/2
property bounded { forall x in [1, 2]  show double(x) <= most }
property grows { forall x in [1, 2]  show double(x) >= 3 }
property reaches { exists x in [1, 2]  show double(x) >= 3 }
check bounded, grows, reaches
"""


def test_certificates_decide_the_obligations_that_ask_their_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, folder = tmp_path / "f.spec", tmp_path / "proofs"
    spec.write_text(TWO)
    assert run("check", spec, "--certificates", folder) == 1
    files = sorted(folder.iterdir())
    capsys.readouterr()
    assert run("audit", *files, "--spec", spec) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    ends = [line.rpartition(" s): ")[2] for line in lines]
    assert ends == [
        "f.spec::bounded verified",
        "f.spec::grows falsified",
        "f.spec::reaches verified",
    ]
    assert last == "3 obligations: 2 verified, 1 falsified"
    bounded, _, reaches = files
    assert run("audit", bounded, reaches, "--spec", spec) == 4
    assert "f.spec::grows: no certificate" in capsys.readouterr().out
    # Another question, of which nothing is known.
    assert run("audit", bounded, "--spec", spec, "-D", "most=17/4") == 4
    said = capsys.readouterr().out
    assert "no obligation of the spec asks this" in said
    assert "3 obligations: 0 verified, 0 falsified" in said
    assert run("audit", bounded, "--spec", spec, "--output-format", "json") == 4
    first, *others = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["verdicts"] == {"f.spec::bounded": "verified"}
    missing = ["f.spec::grows", "f.spec::reaches"]
    assert others == [{"certificate": None, "obligation": id} for id in missing]


def test_a_refused_file_decides_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, folder = tmp_path / "f.spec", tmp_path / "proofs"
    spec.write_text(TWO.replace("check bounded, grows, reaches", "check bounded"))
    assert run("check", spec, "--certificates", folder) == 0
    (file,) = folder.iterdir()
    assert run("audit", file, "--spec", spec) == 0
    file.write_bytes(file.read_bytes()[:-1])
    capsys.readouterr()
    assert run("audit", file, "--spec", spec) == 4
    said = capsys.readouterr().out
    assert "refused" in said
    assert "f.spec::bounded: no certificate" in said
