"""Scripts in plain PyTorch: their text, what they train, and what they refuse."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.training import METHODS
from benchmarks.trainings import spec_text
from specdsl.data import read_idx
from specdsl.diagnostics import SpecError
from specdsl.graph.safetensors import read_tensors
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec
from specdsl.source import Source
from specdsl.training.plan.clock import Clock
from specdsl.training.plan.resolve import plans_of
from specdsl.training.runtime.loop.data import samples, shift
from tests.conftest import Golden
from tests.training.emit.standalone_specs import (
    CONV,
    DENSE,
    DIRECTIVES,
    HEAD,
    SKIPS,
    directive,
    module_of,
    script_of,
    spec_of,
)

RULES = ["--isolated", "--line-length", "100", "--target-version", "py311"]
WRITTEN = ("ibp", "crown_ibp", "mtl_ibp", "cc_ibp", "exp_ibp", "sabr", "madry", "fgsm", "trades")
"""Methods that scripts have the words of."""


@pytest.mark.parametrize("name", DIRECTIVES)
def test_ruff_leaves_scripts_as_they_are(name: str, tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    images = spec_of(DIRECTIVES[name], layers=CONV, shape="1, 8, 8", data="augment = shift(1)")
    skips = spec_of(DIRECTIVES[name], layers=SKIPS, shape="1, 8, 8")
    texts = (("flat", directive(name)), ("images", script_of(images)), ("skips", script_of(skips)))
    for folder, text in texts:
        (tmp_path / f"{folder}.py").write_text(text)
    for command in (["format", "--diff"], ["check", "--select", "E,F,I,B,UP"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *RULES, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", DIRECTIVES)
def test_scripts_import_plain_pytorch_alone(name: str) -> None:
    tree = ast.parse(directive(name))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert names - set(sys.stdlib_module_names) <= {"numpy", "sklearn", "torch"}


@pytest.mark.parametrize("method", [*WRITTEN, "standard"])
def test_scripts_are_short_enough_to_be_read(method: str) -> None:
    """All lines of the usual trainings of MNIST's Small network (Shi et al. 2021)."""
    text = script_of(mnist(method))
    assert 150 <= len(text.splitlines()) <= 250
    assert max(len(line) for line in text.splitlines()) <= 100


def mnist(method: str) -> Spec:
    """What the benchmark trains, with the recipe of 15 epochs."""
    text = spec_text(METHODS[method], seed=0, eps=0.1)
    return check(parse(Source("mnist.spec", text)), {}, base=Path(), working_directory=Path())


@pytest.mark.parametrize("method", WRITTEN)
def test_a_directive_in_a_script_is_the_training_itself(method: str) -> None:
    """Settings stand beside one another there; it is read as what it was written from."""
    spec = mnist(method)
    (plan,) = plans_of(spec)
    _, directive, _ = script_of(spec).split("\n\n", 2)
    block = directive.removesuffix('\n"""')
    whole = spec.source.text
    start, stop = whole.index("train net on"), whole.index("check forall")
    again = Source("mnist.spec", f"{whole[:start]}{block}\n{whole[stop:]}")
    read = check(parse(again), {}, base=Path(), working_directory=Path())
    assert plans_of(read)[0].recipe == plan.recipe


def test_a_script_reads_as_agreed(golden: Golden) -> None:
    spec = spec_of(DIRECTIVES["crown_ibp"], layers=CONV, shape="1, 8, 8", data="augment = shift(1)")
    text = re.sub(r"specdsl \d\S* from", "specdsl VERSION from", script_of(spec))
    text = re.sub(r"text:\w+", "text:...", text)
    text = re.sub(r'RECIPE = "\w+"', 'RECIPE = "..."', text)
    golden.check("training/standalone.py.txt", text)


# --- what they do ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIRECTIVES)
def test_two_epochs_certify_something(name: str, tmp_path: Path) -> None:
    script = module_of(directive(name), tmp_path)
    data = script.parts()
    script.check(script.model(), *(part[:8] for part in data["train"]))
    net = script.train(data, tmp_path / "net")
    found = script.evaluate(net, *data["train"])
    assert 0 < found["certified"] <= found.get("pgd", 1.0) <= 1
    assert found.get("intervals", 0) <= found["certified"] <= found["clean"]


def test_a_run_saves_what_the_spec_reads(tmp_path: Path) -> None:
    spec = spec_of(DIRECTIVES["best"], epochs=1)
    (tmp_path / "train.py").write_text(script_of(spec, Path()))
    out = tmp_path / "sub" / "net.safetensors"
    command = [sys.executable, str(tmp_path / "train.py")]
    checked = subprocess.run([*command, "--check"], capture_output=True, text=True, check=True)
    assert checked.stdout == "check: no mistake found\n"
    run = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=True)
    epoch, *parts = run.stdout.splitlines()
    assert json.loads(epoch)["epoch"] == 1
    assert [line.split(":")[0] for line in parts] == ["train (float32)", "validation (float32)"]
    file = read_tensors(out.read_bytes(), out.name)
    assert set(file.places) == {"0.bias", "0.weight", "2.bias", "2.weight"}
    assert file.tensor("0.weight").shape == (32, 64)


def test_two_runs_of_one_seed_are_the_same(tmp_path: Path) -> None:
    script = module_of(directive("sabr"), tmp_path)
    data = {name: (x[:256], y[:256]) for name, (x, y) in script.parts().items()}
    first, second = (script.train(data, tmp_path / "net").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_moved_images_are_those_of_the_runtime(tmp_path: Path) -> None:
    spec = spec_of(DIRECTIVES["interval"], layers=CONV, shape="1, 8, 8", data="augment = shift(2)")
    script = module_of(script_of(spec), tmp_path)
    x = torch.rand(16, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    found = script.shifted(x, torch.Generator().manual_seed(1))
    assert torch.equal(found, shift(2)(x, torch.Generator().manual_seed(1)))


def test_schedules_are_those_of_the_clock(tmp_path: Path) -> None:
    steps = ", ".join(f"{k}e-3 for e in {k}..{k}" for k in range(1, 19))
    lines = f"""let a = ramp(0, 1, epochs = 2..10, shape = smooth)
  let b = ramp(3, 1, epochs = 4..4)
  let c = ramp(1, 0, epochs = 3..9, shape = smooth, middle = 1/3, exponent = 2)
  let d = steps(1/2, 1 for e in 2..3, 2 for e in 7..7)
  let e = (1 - a) * d
  let f = steps(9e-3, {steps})
  minimize e * certified_loss(robust, r = r)"""
    spec = spec_of(lines, epochs=20)
    script = module_of(script_of(spec), tmp_path)
    (plan,) = plans_of(spec)
    clock = Clock(plan.schedules)
    for quarter in range(80):
        s = script.schedule(quarter / 4)
        for name in "rabcdef":
            expected = float(clock.value(name, Fraction(quarter, 4)))
            assert getattr(s, name) == pytest.approx(expected, abs=1e-12), (name, quarter)


def test_rates_of_stages_follow_one_another(tmp_path: Path) -> None:
    lines = """stage one { epochs = 1  optimizer = adam(lr = 1e-2)  minimize clean_loss() }
  stage two { epochs = 2  optimizer = adam(lr = 1e-3)  minimize certified_loss(robust, r = r) }
  stage three { epochs = 1  minimize certified_loss(robust, r = r) }
  optimizer = adam(lr = 1e-3)"""
    script = module_of(script_of(spec_of(lines)), tmp_path)
    assert [script.schedule(t).lr for t in (0.0, 0.9, 1.0, 2.5)] == [1e-2, 1e-2, 1e-3, 1e-3]


# --- what they refuse -----------------------------------------------------------------------------

CERTIFIED = "minimize certified_loss(robust, r = r, by = ibp)"
REFUSED = {
    "by = taps": ("minimize certified_loss(robust, r = r, by = wong_kolter)", "wong_kolter"),
    "trades": (f"{CERTIFIED} + trades_loss(robust, r = r, by = friendly)", "friendly"),
    "friendly": ("minimize adversarial_loss(robust, r = r, by = friendly)", "friendly"),
    "norm": ("minimize adversarial_loss(robust, r = r, by = pgd(norm = l2))", "pgd"),
    "samples": ("minimize certified_loss(robust, r = r, samples = 9)", "certified_loss"),
    "tightness": (f"{CERTIFIED}\n  regularize 1e-2 * tightness(robust, r = r)", "tightness"),
    "lipschitz": (f"{CERTIFIED}\n  regularize 1e-2 * lipschitz", "lipschitz"),
    "constrain": (f"{CERTIFIED}\n  constrain clean_error() <= 1/10", "constrain"),
    "onnx": (f'{CERTIFIED}\n  save onnx("net.onnx")', "onnx"),
    "best": (
        f"{CERTIFIED}\n  keep best by adversarial(robust, r = eps) on digits[1000:1100]",
        "adversarial",
    ),
    "no property": ("minimize clean_loss()", "nothing to certify"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_plain_scripts_do_not_do_is_refused_by_name(name: str) -> None:
    lines, named = REFUSED[name]
    with pytest.raises(SpecError, match="E0901") as error:
        script_of(spec_of(lines))
    (found,) = error.value.diagnostics
    assert named in found.message
    assert found.primary is not None
    assert found.help is not None
    assert found.help.startswith("leave `--standalone` away")


@pytest.mark.parametrize("setting", ["augment = flip", "balance = true", "shuffle = false"])
def test_settings_of_data_that_scripts_do_not_follow_are_refused(setting: str) -> None:
    with pytest.raises(SpecError, match="E0901"):
        script_of(spec_of(CERTIFIED, shape="1, 8, 8", layers=CONV, data=setting))


# --- data -----------------------------------------------------------------------------------------

DATA = Path(__file__).resolve().parents[3] / "specs" / "data"


def with_data(dataset: str, lines: str, folder: Path, outputs: int = 10) -> Spec:
    """A training on data from files of a folder."""
    head, _, _ = HEAD.partition("dataset")
    head = head.format(layers=DENSE, shape="64", name="modest").replace("10", f"{outputs}")
    text = f"{head}region ball(x, r) = norm_ball(x, r, linf) & box(0, 1)\n{dataset}\n{lines}"
    return check(parse(Source("t.spec", text)), {}, base=folder, working_directory=folder)


IDX = """dataset {0}: (Image, label[10]) =
  idx("digits-{1}-images-idx3-ubyte.gz", "digits-{1}-labels-idx1-ubyte.gz") {{ scale = 1/16 }}
"""
ROBUST = "property robust(x, y, r) = forall z in ball(x, r): argmax(net(z)) == y\n"
TRAIN = """train net on data[0:64] {
  epochs = 1
  optimizer = adam(lr = 1e-3)
  minimize certified_loss(robust, r = 1/100)
}
"""


def test_idx_files_are_read_as_the_language_reads_them(tmp_path: Path) -> None:
    images, labels = (DATA / f"digits-train-{n}-ubyte.gz" for n in ("images-idx3", "labels-idx1"))
    data, tests = (IDX.format(name, part) for name, part in (("data", "train"), ("tests", "test")))
    checked = "check forall (x, y) in tests[0:10]: robust(x, y, eps)\n"
    spec = with_data(data + tests, ROBUST + TRAIN + checked, DATA)
    script = module_of(script_of(spec, tmp_path), tmp_path)
    data = script.parts()
    assert set(data) == {"train", "test"}
    expected = samples(read_idx(images, labels), scale=1 / 16, shape=(64,))[0:64]
    x, y = data["train"]
    assert torch.equal(x, expected.inputs)
    assert expected.labels is not None
    assert torch.equal(y, expected.labels)


def test_targets_may_be_numbers(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((64, 64))
    np.savez(tmp_path / "d.npz", x=x, t=x[:, 0])
    dataset = 'dataset data: (Image, real) = npz("d.npz", inputs = "x", labels = "t")'
    near = "property near(x, y, r) = forall z in ball(x, r): all(|net(z) - y| <= 9)\n"
    minimized = "minimize clean_loss() + certified_loss(near, r = 1/100)"
    lines = near + TRAIN.replace("minimize certified_loss(robust, r = 1/100)", minimized)
    spec = with_data(dataset, lines, tmp_path, outputs=1)
    script = module_of(script_of(spec, tmp_path), tmp_path)
    data = script.parts()
    script.check(script.model(), *(part[:8] for part in data["train"]))
    found = script.evaluate(script.train(data, tmp_path / "net"), *data["train"])
    assert found["certified"] == 1
    assert found["clean"] == 1


def test_properties_may_be_about_inputs_alone(tmp_path: Path) -> None:
    words = "certified_loss(modest, r = r, by = crown_ibp) + certified_loss(fixed)"
    text = script_of(spec_of(f"minimize {words}"))
    assert "claim = modest(x, r=s.r)" in text
    assert "claim_2 = fixed_(x)" in text
    script = module_of(text, tmp_path)
    script.check(script.model(), *(part[:8] for part in script.parts()["train"]))


@pytest.mark.parametrize("name", ["intervals", "claim", "relu", "torch"])
def test_names_of_a_spec_may_be_those_of_a_script(name: str, tmp_path: Path) -> None:
    lines = f"""let t = ramp(0, eps, epochs = 0..1, shape = smooth)
  let smooth = ramp(1, 1/2, epochs = 0..1, shape = smooth)
  let s = t * smooth
  minimize smooth * certified_loss({name}, r = s) + clean_loss()"""
    spec = spec_of(lines, name=name)
    script = module_of(script_of(spec), tmp_path)
    script.check(script.model(), *(part[:8] for part in script.parts()["train"]))


def test_terms_stay_where_all_weights_vanish(tmp_path: Path) -> None:
    lines = "let k = ramp(0, 1, epochs = 1..2)\n  minimize k * certified_loss(robust, r = r)"
    script = module_of(script_of(spec_of(lines)), tmp_path)
    net, (x, y) = script.model(), script.parts()["train"]
    terms = script.losses_all(net, x[:4], y[:4], script.schedule(0.0), torch.Generator())
    assert terms["certified_loss"].item() == 0
