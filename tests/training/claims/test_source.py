"""What emitted claims look like, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from specdsl.diagnostics import SpecError, render
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.source import Source
from specdsl.training.claims.compile import Trained, compile_claim
from specdsl.training.claims.source import names_in, source
from specdsl.training.claims.template import ClaimTemplate
from specdsl.training.runtime.bounds.lower import crown_ibp, lower
from specdsl.training.runtime.claims.claim import margins_at
from specdsl.training.runtime.networks.network import Trainable
from tests.conftest import Golden
from tests.training.claims.specs import claim_of, compiled, load, run, trainable
from tests.training.claims.test_laws import CLAIMS, PROPERTIES

IMAGES = """spec 1.0
space Image { pixels: real[1, 8, 8] in [0, 1] }
space Scaled { pixels: real[1, 8, 8] in [0, 1] normalize (mean = 1/4, range = 1/2) }
network net: Image -> real[10] { layer flatten layer dense(10) }
network scaled: Scaled -> real[10] { layer flatten layer dense(10) }
network line: real -> real { layer dense(1) }
network curve: real[2] -> real[2] { layer dense(2) }
dataset d: (Image, label[10]) = sklearn("digits") { scale = 1/16 }
dataset s: (Scaled, label[10]) = sklearn("digits") { scale = 1/16 }
dataset numbers: (real, real) = npz("n.npz", inputs = "x", labels = "y")
dataset pairs: real[2] = npz("n.npz", inputs = "x")
region ball(x, r) = norm_ball(x, r, linf) & box(0, 1)
"""
EXAMPLES = {
    "robust": ("d", "robust(x, y, r) = forall z in ball(x, r): argmax(net(z)) == y"),
    "robust_l2": (
        "d",
        "robust_l2(x, y, r) { forall z in norm_ball(x, r, l2) & Image show argmax(net(z)) == y }",
    ),
    "normalised": ("s", "p(x, y, r) = forall z in ball(x, 2 * r): margin(scaled(z), y) >= 1/10"),
    "brighter_is_more": (
        "d",
        "p(x) = forall d in [0, 1/10] where x + d in Image: net(x + d)[1] >= net(x)[1]",
    ),
    "range": ("d", "p(x, r) = forall z in ball(x, r): -1 <= net(z)[0] - net(z)[1] / 2 <= r"),
    "everywhere": ("d", "p = forall z in Image: net(z)[3] <= 9"),
    "regression": (
        "numbers",
        "p(x, y, r) = forall z in [x - r, x + r]: |line(z) - y| <= 1/10",
    ),
    "vectors": (
        "pairs",
        "p(x, r) = forall z in norm_ball(x, r, l1): norm(curve(z) - x, linf) <= 1/10",
    ),
    "either": (
        "d",
        "p(x, y, r) = forall z in ball(x, r): y == 3 => net(z)[y] >= 1 or argmax(net(z)) != 5",
    ),
    "close": ("d", "p(x, r) = forall z in ball(x, r): norm(net(z) - net(x), linf) <= r"),
    "two_balls": (
        "pairs",
        "p(r, x) = forall z in norm_ball(x, r, l1) & norm_ball(x, r / 2, l2): curve(z)[0] <= 1",
    ),
    "same": ("d", "p(x, r) = forall z in ball(x, r): argmax(net(z)) == argmax(net(x))"),
}
NETWORKS = {"d": "net", "s": "scaled", "numbers": "line", "pairs": "curve"}


def example(name: str) -> ClaimTemplate:
    data, text = EXAMPLES[name]
    spec = load(f"{IMAGES}property {text}")
    prop = text.partition("(")[0] if "(" in text.partition("=")[0] else "p"
    return compiled(spec, ("r",), prop, NETWORKS[data], data)


def emitted() -> str:
    parts: list[str] = []
    for name, (data, _) in EXAMPLES.items():
        template = example(name)
        parts.append(f"# {name}\n{source(template)}")
        if data in {"d", "s", "numbers"} and name in {
            "robust",
            "normalised",
            "range",
            "regression",
        }:
            parts.append(f"# {name}, standalone\n{source(template, standalone=True)}")
    return "\n\n".join(parts)


def test_emitted_claims_read_as_agreed(golden: Golden) -> None:
    golden.check("training/claims.txt", emitted())


def test_ruff_leaves_emitted_claims_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    head, _ = trainable(0)
    written = [
        source(compiled(load(f"{head}property p(x, y, r) {body}"))) for body in PROPERTIES.values()
    ]
    file = tmp_path / "claims.py"
    file.write_text("\n\n".join([emitted(), *written]))
    config = Path(__file__).resolve().parents[3] / "pyproject.toml"
    command = [sys.executable, "-m", "ruff", "format", "--diff", "--config", str(config), str(file)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_compiling_a_claim_does_not_load_torch() -> None:
    code = "import sys, specdsl.training.claims.source, specdsl.training.claims.compile\n"
    code += "assert not {'torch', 'scipy', 'z3', 'pyomo'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_those_that_a_function_calls() -> None:
    assert names_in(source(example("robust"))) == (
        "Application",
        "Atom",
        "Claim",
        "ball",
        "box",
        "class_rows",
        "intersect",
        "unchanged",
    )


def test_a_parameter_may_have_any_name() -> None:
    spec = load(
        f"{IMAGES}property p(region, like, lambda) = "
        "forall v in ball(region, like): argmax(net(v)) == lambda"
    )
    text = source(compiled(spec, ("like",), "p", "net", "d"))
    assert compiled(spec, ("like",), "p", "net", "d").parts == 2
    assert text.startswith("def p(region_: Tensor, lambda_: Tensor, like_: float) -> Claim:\n")
    compile(text, "claim", "exec")


def test_a_parameter_may_have_a_constant_value() -> None:
    spec = load(
        f"{IMAGES}property p(x, y, r, k) = "
        "forall z in norm_ball(x, r, k) & Image: argmax(net(z)) == y"
    )
    sample = spec.datasets["d"].element
    made = compile_claim(spec, "p", ("r",), Trained("net", sample, {"k": "l2"}))
    assert 'intersect(ball(x, r, "l2"), box(0.0, 1.0))' in source(made)
    with pytest.raises(SpecError) as caught:
        compile_claim(spec, "p", ("r",), Trained("net", sample))
    assert caught.value.diagnostics[0].code == "E0713"


def test_properties_of_imported_networks_compile() -> None:
    folder = Path(__file__).resolve().parents[3] / "specs"
    text = (folder / "training.spec").read_text()
    program = parse(Source(str(folder / "training.spec"), text))
    spec = check(program, {}, base=folder, working_directory=folder)
    (training,) = spec.trainings
    trained = Trained(training.network, spec.datasets[training.dataset].element)
    for name, given in (("robust", ("r",)), ("brighter_is_more", ())):
        compile(source(compile_claim(spec, name, given, trained)), "claim", "exec")


def test_bounds_of_an_emitted_claim_train() -> None:
    head, net = trainable(1)
    text = f"{head}property p(x, y, r) = forall z in near(x, r): argmax(net(z)) == y"
    x, y = torch.tensor([[0.5, -1.0, 0.25, 1.0], [2.0, -2.0, 1.0, 4.0]]), torch.tensor([2, 0])
    claim = claim_of(compiled(load(text)), x, y, 0.25)
    net.module.zero_grad()
    lower(net, claim, crown_ibp()).sum().backward()
    gradients = [p.grad for p in net.module.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    assert any(g is not None and bool((g != 0).any()) for g in gradients)


# --- standalone -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["robust", "lowest", "constant", "margin", "range"])
def test_standalone_functions_say_the_same(name: str) -> None:
    head, net = trainable(0)
    template = compiled(load(f"{head}property p(x, y, r) = forall z in near(x, r): {CLAIMS[name]}"))
    x = torch.tensor([[0.5, -1.0, 0.25, 1.0], [2.0, -2.0, 1.0, 4.0]])
    y = torch.tensor([2, 0])
    claim = claim_of(template, x, y, 0.25)
    function = run(source(template, standalone=True))
    lower, upper, rows, offset = function(x, y, 0.25)  # type: ignore[operator]
    (application,) = claim.applications
    assert torch.equal(lower, application.region.box.lower)
    assert torch.equal(upper, application.region.box.upper)
    margins = (rows @ net.at(application.point(x))[:, :, None])[..., 0] + offset
    assert torch.allclose(margins, margins_at(net, claim, x))


@pytest.mark.parametrize("name", ["never", "either", "same", "premise", "l2 set", "ordered set"])
def test_standalone_covers_boxes_only(name: str) -> None:
    head, _ = trainable(0)
    template = compiled(load(f"{head}property p(x, y, r) {PROPERTIES[name]}"))
    with pytest.raises(SpecError) as caught:
        source(template, standalone=True)
    (found,) = caught.value.diagnostics
    assert found.code == "E0731"
    assert found.primary is not None


# --- what cannot be trained for -------------------------------------------------------------------

REFUSED = {
    "product": "forall z in near(x, r): net(z)[0] * net(z)[1] <= 1",
    "quotient": "forall z in near(x, r): 1 / net(z)[0] <= 1",
    "two networks": "forall z in near(x, r): net(z)[0] <= other(z)[0]",
    "nested": "forall z in near(x, r): net(replace(x, b = net(z)[0:2]))[0] <= 1",
    "exists": "exists z in near(x, r): argmax(net(z)) == y",
    "negated": "not forall z in near(x, r): argmax(net(z)) == y",
    "whole numbers": "forall z in Point: argmax(net(z)) == y",
    "unbounded": "forall t in Free where t.u >= 0: net(replace(x, a = t.u))[0] <= 1",
    "hidden": 'forall z in near(x, r): net.hidden("dense_1")[0](z) <= 1',
    "variable": "forall z in near(x, r): net(z)[0] <= z.a",
    "norm": "forall z in near(x, r): norm(net(z), l2) <= 1",
    "exponential": "forall z in near(x, r): exp(net(z)[0]) <= 1",
    "output condition": "forall z in near(x, r) where net(z)[0] >= 1: net(z)[1] >= 1",
    "alternatives": "forall z in near(x, r) where z.a >= 1 or z.a <= 0: argmax(net(z)) == y",
    "beside": (
        "(forall z in near(x, r) where z.a >= 1: net(z)[0] <= 1) "
        "and forall w in near(x, r): net(w)[1] <= 1"
    ),
    "part of the outputs": "forall z in near(x, r): argmax(net(z)[0:2]) == y",
    "nothing": "forall z in near(x, r): z.a <= 2",
    "distance": "forall z in near(x, r) where norm(net(z), l1) <= 1: argmax(net(z)) == y",
    "far": "forall z in near(x, r) where norm(z.b - x.b, l1) >= r: argmax(net(z)) == y",
    "image": "forall z in { replace(x, a = t) for t in [0, 1] }: argmax(net(z)) == y",
    "number": "forall z in near(x, r): net(z)[0] <= r * r",
}


def refusal(text: str) -> str:
    head, _ = trainable(0)
    spec = load(f"{head}property p(x, y, r) = {text}")
    with pytest.raises(SpecError) as caught:
        compiled(spec)
    return "\n".join(render(found) for found in caught.value.diagnostics)


def test_what_cannot_be_trained_for_is_refused_as_agreed(golden: Golden) -> None:
    golden.check("training/refused.txt", "\n".join(refusal(text) for text in REFUSED.values()))


def test_what_standalone_does_not_cover_is_refused_as_agreed(golden: Golden) -> None:
    with pytest.raises(SpecError) as caught:
        source(example("robust_l2"), standalone=True)
    golden.check("codes/E0731.txt", render(caught.value.diagnostics[0]))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_emitted_claims_run(name: str) -> None:
    data, _ = EXAMPLES[name]
    shape = {"d": (1, 8, 8), "s": (1, 8, 8), "numbers": (), "pairs": (2,)}[data]
    outputs = {"d": 10, "s": 10, "numbers": 1, "pairs": 2}[data]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((3, *shape), generator=generator)
    y = torch.rand((3, *shape), generator=generator)
    if outputs == 10:
        y = torch.tensor([3, 0, 9])
    template = example(name)
    claim = claim_of(template, x, y, 0.1)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(max(1, x[0].numel()), outputs))
    net = Trainable.of(module, shape or (1,))
    margins = margins_at(net, claim, claim.region.box.center)
    assert margins.shape[0] == 3
    assert not bool(margins.isnan().any())
