"""What can be said in claims: everything here is accepted and typed; mistakes have their codes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import render
from tests.language.checked import HEAD, claim, codes, findings

IMAGE = "forall x in Image: "
CRAFT = "forall s in Craft: "
PAIR = "forall a in Applicant, b in Applicant: "

ACCEPTED = [
    # numbers
    IMAGE + "net(x)[0] * net(x)[1] <= 1",
    IMAGE + "net(x)[0] ^ 2 + net(x)[1] ^ 3 <= 1",
    IMAGE + "margin(net(x), 1) + 1 > net(x)[0]",
    IMAGE + "2 * margin(net(x), 3) == 1",
    IMAGE + "max(net(x)) - min(net(x)) <= 5",
    IMAGE + "max(net(x)[0], 1, net(x)[2]) <= 5",
    IMAGE + "abs(net(x)[0]) + |net(x)[1]| <= 5",
    IMAGE + "norm(net(x), l1) + norm(net(x), linf) <= 5",
    IMAGE + "norm(net(x) - net(test[0].input), l2) <= 5",
    IMAGE + "sum(net(x)) <= mean(net(x)) * 10",
    IMAGE + "dot(net(x), net(x)) <= 5",
    IMAGE + "relu(net(x))[3] <= clip(net(x)[2], -1, 1)",
    IMAGE + "all([[1, 0], [2, 3]] @ net(x)[0:2] <= [1, 2])",
    IMAGE + "net(x)[2:5] @ [1, 2, 3] <= 1",
    IMAGE + "(if net(x)[0] > 0 then net(x)[1] else 2) <= 5",
    IMAGE + "(if net(x)[0] > 0 then argmax(net(x)) == 1 else net(x)[2] < 1)",
    IMAGE + "[net(x)[0], net(x)[1]][0] <= 1",
    IMAGE + "sum(net(x)[i] * i for i in 0..9 where i != 3) <= 1",
    IMAGE + "all(net(x)[i] <= i for i in 0..9) and any(net(x)[i] > 0 for i in one_of(1, 2))",
    IMAGE + "max(|net(x)[i] - net(x)[j]| for i in 0..9 for j in 0..i) <= 1",
    # slices and samples
    IMAGE + "all(x.pixels[0, 2:5, :] <= 1/2)",
    IMAGE + "all(x.pixels[0] <= 1/2) and x.pixels[0][3][4] >= 0",
    IMAGE + "sum(x.pixels[0, :, 3]) <= 20",
    "argmax(net(test[7].input)) == test[7].label",
    "forall (x, y) in test[0:5]: margin(net(x), y) > 0",
    # sets
    "forall x in Image, z in norm_ball(x, 1/10, linf): argmax(net(z)) == argmax(net(x))",
    "forall x in Image, z in norm_ball(x, 1/10, l2) & box(0, 1): net(z)[0] <= 1",
    "forall z in norm_ball(test[0].input, 1, l2) & norm_ball(test[1].input, 1, l1): net(z)[0] < 1",
    "forall x in { s in Image where s.pixels[0, 0, 0] <= 1/2 }: net(x)[0] <= 1",
    "forall x in { (1 - t) * test[0].input + t * test[1].input for t in [0, 1] }: net(x)[0] <= 1",
    "forall i in { 2 * k for k in 0..4 where k != 2 }, x in Image: net(x)[i] <= 1",
    IMAGE + "x in norm_ball(test[0].input, 1, l2) => net(x)[0] <= 1",
    IMAGE + "argmax(net(x)) in one_of(1, 2)",
    CRAFT + "argmin(acas(s)) not in one_of(COC, WL)",
    CRAFT + "argmin(acas(s)) in Advisory",
    IMAGE + "net(x) in box(0, 1)",
    "forall x in box(0, 1, shape = test[0].input): net(x)[0] <= 1",
    "forall x in box(test[0].input - 1/10, test[0].input + 1/10) & Image: net(x)[0] <= 1",
    "forall x in Image, d in [-x.pixels[0, 0, 0], 1]: net(x)[0] + d <= 1",
    "forall i in (0..9) & one_of(1, 3, 12), x in Image: net(x)[i] <= 1",
    # records
    "forall a in Applicant, b in Applicant where same_except(a, b, income): score(a) <= score(b)",
    PAIR + "|score(a) - score(b)| <= norm(normalized(a) - normalized(b), linf)",
    "forall a in Applicant, g in 0..2: score(replace(a, gender = g)) <= 1",
    "forall a in Applicant, g in 0..2: score(replace(a, gender = g, age = 40)) <= 1",
    PAIR + "sum(normalized(a)[i] for i in 0..5) <= 1",
    "forall a in Applicant, f in fields(Applicant) where f == income or f == debt: a[f] >= 0 `EUR`",
    PAIR + "sum(|a[f] - b[f]| for f in fields(Applicant) where f == income or f == debt) <= 1",
    "forall f in fields(Applicant), a in Applicant, b in Applicant "
    "where same_except(a, b, f): score(a) <= 1",
    PAIR + "all(a == b) => score(a) == score(b)",
    "forall a in Applicant: a.gender == 2 => score(a) <= 1",
    "forall a in Applicant where a.age >= 30: score(a) <= 1",
    "forall s in Craft, z in norm_ball(s, 1/10, linf, scale = normalized): acas(z).COC <= 1",
    "forall s in Craft, z in norm_ball(s, 10 `m`, l2, only = [rho]): acas(z).COC <= 1",
    "forall a in Applicant, b in norm_ball(a, 100, linf, only = [income, debt]): score(b) <= 1",
    "forall a in Applicant, b in norm_ball(a, 1, l1, scale = [1, 1, 1, 1, 1, 1], only = income): "
    "score(b) <= 1",
    "forall q in box(0, 1, shape = test[0].input.pixels[:, 0:5, 0:5]), row in 0..23: "
    "argmax(net(paste(test[0].input, q, row, 3))) == 1",
    # networks
    IMAGE + 'net.hidden("relu_3")[17](x) <= 4',
    IMAGE + 'net.hidden("relu_3")(x)[17] <= 4',
    IMAGE + 'norm(net.hidden("relu_3")(x), linf) <= 4',
    IMAGE + "(encoder >> head)(x)[3] <= head(encoder(x))[3]",
    # elementary functions, quotients
    IMAGE + "exp(net(x)[0]) + log(2) <= sigmoid(net(x)[1]) and all(tanh(net(x)) <= 1)",
    IMAGE + "softmax(net(x))[3] <= 1 and sum(softmax(net(x))) <= 2",
    IMAGE + "1 / net(x)[1] <= 1 and net(x)[1] ^ -1 <= 1 and net(x)[0] / net(x)[1] <= 2",
    IMAGE + "norm(net(x), l2) + sqrt(net(x)[0]) <= 1",
    "forall s in Craft: s.rho / sqrt(s.rho ^ 2) <= 2 and exp(s.rho / s.rho) <= 3",
    "forall s in Craft: sqrt(s.rho ^ 2) <= s.rho",
    # quantifiers
    "forall x in Image where (exists k in 0..9: net(x)[k] > 1): net(x)[0] <= 1",
    IMAGE + "exists k in 0..9: net(x)[k] >= 0",
    IMAGE + "not (exists y in Image: net(x)[0] > net(y)[0])",
    IMAGE + "net(x)[0] <= 1 or (forall y in Image: net(y)[1] <= 1)",
    "exists x in Image: exists y in Image: net(x)[0] > net(y)[0]",
    "forall (i, j) in { (i, j) for i in 0..3 for j in 0..3 where i < j }, x in Image: "
    "net(x)[i] <= net(x)[j]",
]


@pytest.mark.parametrize("body", ACCEPTED)
def test_these_claims_are_in_order(body: str) -> None:
    assert claim(body) == []


REFUSED = [
    (IMAGE + "net(x)[1] ^ 20 <= 1", "E0901"),
    (IMAGE + "net(x)[1] ^ (1/2) <= 1", "E0312"),
    (IMAGE + "exists y in Image: net(x)[0] <= net(y)[0]", "E0705"),
    (IMAGE + "not (forall y in Image: net(x)[0] <= net(y)[0])", "E0705"),
    (IMAGE + "net(x)[argmax(net(x))] >= 0", "E0901"),
    (IMAGE + "margin(net(x), argmax(net(x))) >= 0", "E0901"),
    (IMAGE + "net(x)[0:2] <= 1", "E0308"),
    (IMAGE + "net(x)[5:2][0] <= 1", "E0403"),
    (IMAGE + "net(x)[0:11][0] <= 1", "E0306"),
    (IMAGE + "net(x)[1] ^ -20 <= 1", "E0901"),
    (IMAGE + "exp(net(x)[0], 2) <= 1", "E0305"),
    (IMAGE + "softmax(net(x)[0])[0] <= 1", "E0309"),
    (IMAGE + "log(0) <= net(x)[0]", "E0405"),
    (IMAGE + "normalize(net(x)) <= 1", "E0901"),
    ("forall s in Craft: exp(s.rho) <= 1", "E0401"),
    ("forall s in Craft: sqrt(s.rho) <= 1", "E0401"),
    ("forall s in Craft: sin(s.rho) <= 1", "E0401"),
    (IMAGE + "clip(net(x)[0], net(x)[1], 1) <= 1", "E0312"),
    (IMAGE + "net(x) @ [1, 2] <= 1", "E0303"),
    (IMAGE + "dot(net(x), x) <= 1", "E0303"),
    (IMAGE + "sum(net(x)[k] for k in [0, 1]) <= 1", "E0302"),
    (IMAGE + "sum(net(x)[i] for i in 0..3, j in 0..3) <= 1", "E0305"),
    (IMAGE + "norm(net(x), l3) <= 1", "E0201"),
    (IMAGE + "(if net(x)[0] > 0 then 1 else true) <= 1", "E0302"),
    (IMAGE + "all(net(x) <= 1) == true", "E0302"),
    (IMAGE + "net.hidden <= 1", "E0305"),
    (IMAGE + 'net[3](x) <= 1', "E0307"),
    (IMAGE + "(head >> encoder)(x)[0] <= 1", "E0301"),
    (IMAGE + "x in { t * x for t in [0, 1] }", "E0705"),
    (IMAGE + "f(net(x))", "E0201"),
    ("forall a in Applicant: a + 1 >= 0", "E0302"),
    ("forall a in Applicant: replace(a, gendr = 1) in Applicant", "E0203"),
    ("forall a in Applicant: replace(a, age = 40.5) in Applicant", "E0301"),
    ("forall a in Applicant: a.gender <= 1 `m`", "E0401"),
    (PAIR + "same_except(a, b)", "E0305"),
    (PAIR + "same_except(a, b, incom)", "E0203"),
    (PAIR + "sum(|a[f] - b[f]| for f in fields(Applicant)) <= 1", "E0401"),
    ("forall s in Craft, z in norm_ball(s, 1, linf): acas(z).COC <= 1", "E0407"),
    ("forall a in Applicant, b in norm_ball(a, 1, linf): score(b) <= 1", "E0407"),
    ("forall a in Applicant, b in norm_ball(a, 1, l1, scale = normalized): score(b) < 1", "E0407"),
    ("forall a in Applicant, b in norm_ball(a, 1 `m`, l1, only = income): score(b) < 1", "E0401"),
    ("forall x in Image, z in norm_ball(x, 1, linf, scale = 0): net(z)[0] <= 1", "E0402"),
    ("forall x in Image, z in norm_ball(x, 1, linf, scael = 2): net(z)[0] <= 1", "E0802"),
    ("forall x in Image, z in norm_ball(x, x.pixels[0, 0, 0], linf): net(z)[0] <= 1", "E0901"),
    ("forall x in real[3]: x[0] >= 0", "E0702"),
    ("forall x in box(0, 1): x >= 0", "E0314"),
    ("argmax(net(paste(test[0].input, [[1, 2], [3, 4]], 27, 0))) == 1", "E0306"),
    ("argmax(net(paste(test[0].input, [1, 2], 0, 0))) == 1", "E0303"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code"), REFUSED)
def test_these_claims_are_refused(body: str, code: str) -> None:
    assert claim(body) == [code]


# --- declarations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'let x0: Image = npy("sample.npy")\nlet z0 = encoder(x0)\n'
        "property p(r) = forall z in norm_ball(z0, r, l2): argmax(head(z)) == argmax(head(z0))\n"
        "check p(1/2)",
        "let model = encoder >> head\nproperty p = forall x in Image: model(x)[0] <= 1\ncheck p",
        "let (x, y) = test[7]\nproperty p = argmax(net(x)) == y\ncheck p",
        "let around = norm_ball(test[0].input, 1/8, linf) & Image\n"
        "property p = forall x in around: net(x)[0] <= 1\ncheck p",
        "let p(claim) = forall x in Image: claim or net(x)[0] <= 1\n"
        "property q = p(exists k in 0..9: net(test[0].input)[k] > 1)\ncheck q",
        "property on(set, holds) = forall x in set: holds(x)\n"
        "let small(x) = net(x)[0] <= 1\n"
        "region half = { x in Image where x.pixels[0, 0, 0] <= 1/2 }\n"
        "check on(Image, small), on(half, small)",
        "let of(f, x) = f(x)[0]\n"
        "property p = forall x in Image: of(net, x) <= of(encoder, x)\ncheck p",
        "property robust(f, x, r) = forall z in norm_ball(x, r, linf): argmax(f(z)) == 1\n"
        "check robust(net, test[0].input, 1/10), robust(encoder >> head, test[0].input, 1/10)",
    ],
)
def test_these_declarations_are_in_order(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('let x0 = npy("sample.npy")', "E0314"),
        ('let x0: Image = npy("../sample.npy")', "E0810"),
        ("let x0: Image = npy(3)", "E0804"),
        ("let m = encoder >> 3", "E0302"),
        ("let f(x) = x\nproperty p = forall x in Image: f(f, x) <= 1", "E0305"),
        ("space S { c: category }", "E0805"),
        ("space S { c: category in [0, 5/2] }", "E0304"),
        ("space S { n: int in [0, 5/2] }", "E0304"),
        ("space S { n: int in [0, 5] encode one_hot }", "E0802"),
        ("space S { c: category in [0, 5] encode onehot }", "E0804"),
        ("let c: category = 3", "E0208"),
        ("space S { x: real }\nproperty p = forall s in S: s.x <= 1", "E0702"),
    ],
)
def test_these_declarations_are_refused(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_a_condition_may_bound_an_unbounded_field() -> None:
    text = "space S { x: real }\nproperty p = forall s in S where 0 <= s.x <= 1: s.x <= 1\ncheck p"
    assert codes(text) == []


def test_a_claim_is_read_under_the_negations_of_the_function_it_is_given_to() -> None:
    text = (
        "let refuted(c) = not c\n"
        "property p = forall x in Image: refuted(exists y in Image: net(y)[0] > net(x)[0])\n"
        "property q = forall x in Image: refuted(forall y in Image: net(y)[0] > net(x)[0])\n"
        "check p\n"
    )
    assert codes(text) == ["E0705"]


def test_functions_handed_over_are_told_apart() -> None:
    text = (
        "let apply(f, x) = f(x)\nlet first(v) = v[0]\nlet all_of(v) = v\n"
        "property p = forall x in Image: apply(first, net(x)) <= 1 and apply(all_of, net(x)) <= 1\n"
        "check p\n"
    )
    assert codes(text) == ["E0308"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("always(0..3, loop.x not in bad)", None),
        ("eventually(0..3, loop.x[0] <= 1)", None),
        ("until(0..3, loop.x not in bad, loop.x[1] >= 0)", None),
        ("at(2, loop.x)[0] <= 1", None),
        ("always(0..3, forall k in 0..1: loop.x[k] <= 1) and safe", None),
        ("loop.x[0] <= 1", "E0708"),
        ("always(0..3, 1 <= 2)", "E0708"),
        ("always(3, loop.x[0] <= 1)", "E0302"),
        ("always(-1..3, loop.x[0] <= 1)", "E0306"),
        ("at(1/2, loop.x)[0] <= 1", "E0304"),
        ("always(0..3, loop.y <= 1)", "E0203"),
    ],
)
def test_claims_about_closed_loops(text: str, code: str | None) -> None:
    system = (
        'network controller: real[2] -> real[1] = onnx("c.onnx")\n'
        "system loop {\n  state x: real[2] in box([0, 0], [1, 1])\n"
        "  action u = clip(controller(x), -1, 1)\n  noise w in box(-1/10, 1/10)\n"
        "  next x = [[1, 1], [0, 1]] @ x + [[1/2], [1]] @ u + w\n}\n"
        "region bad = box([4, -10], [10, 10])\n"
        "let inside(v) = v not in bad\n"
        "property safe = always(0..9, inside(loop.x))\n"
    )
    assert codes(f"{system}property p = {text}\ncheck p\n") == ([code] if code else [])


def test_networks_with_several_inputs_and_outputs() -> None:
    text = (
        "space Speed { v: real `m/s` in [0, 40] }\n"
        "network drive: (image: Image, speed: Speed) -> (steering: real[Advisory], throttle: real)"
        ' = onnx("drive.onnx")\n'
        "property p = forall x in Image, s in Speed:"
        " drive(x, s).throttle <= 1 and drive(x, s).steering.WL <= 2\n"
        "check p\n"
    )
    assert codes(text) == []
    assert codes(text.replace("drive(x, s).throttle", "drive(x).throttle")) == ["E0305"]
    swapped = codes(text.replace("drive(x, s).throttle", "drive(s, x).throttle"))
    assert swapped == ["E0301", "E0301"]
    assert codes(text.replace("drive(x, s).throttle", "drive(x, s).brake")) == ["E0203"]


# --- anything that parses ------------------------------------------------------------------------

TOKEN = re.compile(r"\"[^\"]*\"|`[^`]*`|\w+|\s+|[^\w\s]")
BODIES = [*ACCEPTED, *(body for body, _ in REFUSED)]


@st.composite
def mutated_claims(draw: st.DrawFn) -> str:
    """A claim with a few tokens replaced by tokens of another."""
    words = TOKEN.findall(draw(st.sampled_from(BODIES)))
    others = TOKEN.findall(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(words) - 1)), draw(st.integers(0, 4))
        start = draw(st.integers(0, len(others) - 1))
        words[at : at + draw(st.integers(0, 4))] = others[start : start + length] or [" "]
    return "".join(words)


@settings(max_examples=400, deadline=None)
@given(mutated_claims())
def test_any_claim_is_checked_or_refused_with_placed_diagnostics(body: str) -> None:
    for found in findings(f"{HEAD}property p = {body}\ncheck p\n"):
        assert found.primary is not None
        assert render(found)
