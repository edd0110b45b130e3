"""What `certify` lines become: functions of the script, whose counts are those of a check."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import torch

import specdsl
from specdsl.diagnostics import SpecError
from specdsl.language.spec import Spec
from specdsl.training.emit.given import given_for
from specdsl.training.emit.standalone import standalone
from specdsl.training.plan.resolve import plans_of
from tests.conftest import Golden
from tests.training.emit.scripts import HEAD, NETWORK, REST, START, emitted, loaded, ruff, spec_of
from tests.training.emit.test_script import NORMALIZED

CPU = torch.device("cpu")
BODY = (
    START + "let e = ramp(0, eps, epochs = 0..1) minimize certified_loss(robust, r = e)"
    ' save safetensors("net.safetensors")'
)
LINES = (
    " certify robust(r = eps) on digits[200:204] by ibp, crown, milp(timeout = 60 `s`, gap = 1/8)"
    " certify robust(r = e / 2) on digits[200:240]"
    " certify round(r = 1/4) on digits[200:204] by ibp, alpha_crown,"
    " milp(timeout = 60 `s`, bounds = alpha_crown),"
    " portfolio(timeout = 1 `s`, seed = 3, clip = false)"
)


def plan_texts(spec: Spec) -> list[str]:
    (plan,) = plans_of(spec)
    return [each.text for each in plan.certifications]


def test_scripts_say_what_is_certified(golden: Golden, tmp_path: Path) -> None:
    text = emitted(BODY + LINES, tmp_path)
    after = text[text.index("# --- evaluation") :]
    parts = text[text.index("def parts()") : text.index("# --- model")]
    golden.check("training/script_certify.txt", parts + after)


def test_what_is_written_needs_no_formatting(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(emitted(BODY + LINES, tmp_path))
    (tmp_path / "two.py").write_text(emitted(BODY + LINES, tmp_path, head=NORMALIZED))
    for arguments in (("format", "--check"), ("check", "--select", "E,F,I,B,UP")):
        command = [ruff(), *arguments, "--isolated", "--line-length", "100", str(tmp_path)]
        found = subprocess.run(command, check=False, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


def test_what_is_certified_changes_no_weight(tmp_path: Path) -> None:
    without, with_lines = (plans_of(spec_of(body, tmp_path))[0] for body in (BODY, BODY + LINES))
    assert with_lines.recipe == without.recipe
    assert "certify" in with_lines.text
    assert plan_texts(spec_of(BODY + LINES, tmp_path))[1] == (
        "certify robust(r = e / 2) on digits[200:240]"
    )


def test_standalone_scripts_refuse_it(tmp_path: Path) -> None:
    spec = spec_of(BODY + LINES, tmp_path)
    (plan,) = plans_of(spec)
    with pytest.raises(SpecError, match="E0901"):
        standalone(plan, given_for(plan, spec, tmp_path))


@pytest.mark.parametrize("head", [HEAD, NORMALIZED])
def test_counts_are_those_of_a_check(head: str, tmp_path: Path) -> None:
    """With a normalised input, too: the network is then applied to a function of the variables."""
    line = " certify robust(r = eps) on digits[200:206] by ibp, milp(timeout = 60 `s`)"
    module = loaded(emitted(BODY + line, tmp_path, head=head), tmp_path)
    net = module.train(tmp_path / "emitted.safetensors", CPU)
    module.save_safetensors(net.module, tmp_path / "net.safetensors", module.RECIPE)
    found = module.certified_1(net, module.parts()["certified_1"])
    network = NETWORK.replace("init = ibp(seed = 1)", 'weights = safetensors("net.safetensors")')
    text = (
        f"{head}{network}{REST}check forall (x, y) in digits[200:206]: robust(x, y, eps)\n"
        "  using milp(timeout = 60 `s`)\n"
    )
    (tmp_path / "check.spec").write_text(text)
    (check,) = specdsl.load(tmp_path / "check.spec").check().checks
    verified = sum(result.word == "verified" for result in check.results)
    assert all(result.word != "unknown" for result in check.results)
    share = re.search(r"certified ([0-9.]+) % of 6", found)
    assert share is not None
    assert float(share[1]) == pytest.approx(100 * verified / 6, abs=0.01)
    assert found.splitlines()[-1].split()[-2] == "0"
