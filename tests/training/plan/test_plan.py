"""From a `train` block to its plan: numbers, schedules, stages, presets and the recipe."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from specdsl.diagnostics import SpecError
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.presets import WRITERS
from specdsl.language.spec import Spec
from specdsl.language.training_schemas import PRESETS
from specdsl.source import Source
from specdsl.training.plan.clock import Clock, schedule_table
from specdsl.training.plan.plan import Call, ClaimUse, Constant, Fixed, Part, Plan, Scheduled
from specdsl.training.plan.resolve import plans_of
from specdsl.training.plan.words import number_text
from tests.conftest import Golden

HEAD = """spec 1.0
space Image { pixels: real[1, 8, 8] in [0, 1] }
param eps: real = 1/10
network net: Image -> real[10] {
  layer c1 = conv(8, kernel = 3, padding = 1)
  layer relu
  layer flatten
  layer dense(10)
}
network teacher: Image -> real[10] = onnx("teacher.onnx")
dataset digits: (Image, label[10]) = sklearn("digits") { scale = 1/16 }
property robust(x, y, r) = forall z in norm_ball(x, r, linf) & Image: argmax(net(z)) == y
property inside(x, y, p) = forall z in norm_ball(x, eps, p) & Image: argmax(net(z)) == y
"""
START = "epochs = 15 optimizer = adam(steps(5e-3, 1e-3 for e in 11..12, 2e-4 for e in 13..14))"


def spec_of(body: str, head: str = HEAD, **parameters: str) -> Spec:
    text = f"{head}train net on digits[0:900] {{ {body} }}\n"
    source = Source("t.spec", text)
    return check(parse(source), parameters, base=Path("/specs"), working_directory=Path("/specs"))


def plan_of(body: str, head: str = HEAD, **parameters: str) -> Plan:
    (plan,) = plans_of(spec_of(body, head, **parameters))
    return plan


def preset(name: str) -> str:
    """A call of a preset with what it needs."""
    if name == "standard":
        return "standard"
    if name == "noise":
        return "noise(1/4)"
    return f"{name}(robust, r = eps{', after = c1' if 'taps' in name else ''})"


# --- what a plan holds ----------------------------------------------------------------------------


def test_numbers_are_exact_and_defaults_are_filled_in() -> None:
    plan = plan_of(
        START + " clip = 10 threads = 2 budget = 60 `s` init = ibp"
        " let A = pgd(steps = 3, alpha = eps / 3, decay = 1/10, decay_at = [1, 2])"
        " minimize 2 * (clean_loss() + adversarial_loss(robust, r = eps, by = A)) / 4"
        " minimize certified_loss(inside, p = l2)"
        ' save onnx("n.onnx") save safetensors("n.safetensors")'
    )
    assert plan.data == Part("digits", 0, 900)
    assert plan.settings.clip == 10
    assert plan.settings.init.name == "ibp"
    assert (plan.settings.batch, plan.settings.threads, plan.settings.budget) == (128, 2, 60)
    clean, adversarial, certified = plan.stages[0].terms
    assert clean.weight == adversarial.weight == Constant(Fraction(1, 2))
    attack = adversarial.call.arguments["by"]
    assert isinstance(attack, Call)
    assert attack.arguments["alpha"] == Constant(Fraction(1, 30))
    assert attack.arguments["decay_at"] == (1, 2)
    assert attack.arguments["norm"] is None
    claim = certified.call.arguments["property"]
    assert isinstance(claim, ClaimUse)
    norm = claim.arguments["p"]
    assert isinstance(norm, Fixed)
    assert norm.value == "l2"
    assert certified.call.arguments["samples"] is None
    assert [(save.name, save.arguments["file"]) for save in plan.saves] == [
        ("onnx", "n.onnx"),
        ("safetensors", "n.safetensors"),
    ]


def test_weights_that_follow_schedules_stay_expressions() -> None:
    plan = plan_of(
        START + " let r = ramp(0, eps, epochs = 1..9) let fade = 1 - r / eps"
        " minimize fade * clean_loss() + (1 - fade) * certified_loss(robust, r = r / 2)"
        " regularize 1/2 * fade * shi"
    )
    first, second = plan.stages[0].terms
    assert first.weight == Scheduled("fade")
    assert number_text(second.weight) == "1 - fade"
    assert second.text == "(1 - fade) * certified_loss(robust, r = r / 2)"
    (shi,) = plan.stages[0].regularizers
    # Without a property of its own it is about that of the certified loss.
    assert shi.call.arguments["property"] == second.call.arguments["property"]
    clock = Clock(plan.schedules)
    assert clock.value("fade", Fraction(5)) == Fraction(1, 2)
    assert [s.name for s in plan.schedules] == ["r", "fade", "lr"]
    assert plan.stages[0].optimizer.arguments["lr"] == Scheduled("lr")


def test_stages_inherit_what_they_do_not_say() -> None:
    plan = plan_of(
        "optimizer = adam(1e-3) minimize clean_loss() regularize 1e-6 * l1(weights)"
        " constrain clean_error(class = 3) <= 1/10"
        " stage one { epochs = 2 }"
        " stage two { epochs = 3 optimizer = sgd(1e-4) minimize certified_loss(robust, r = eps)"
        "   prune weights(below = 1e-3) prune relus(r = eps) }"
        " prune weights(below = 1e-9)"
    )
    one, two = plan.stages
    assert (one.name, one.first, one.epochs, two.first, two.epochs) == ("one", 0, 2, 2, 3)
    assert plan.settings.epochs == 5
    assert [t.text for t in one.terms] == ["clean_loss()"]
    assert [t.text for t in two.terms] == ["certified_loss(robust, r = eps)"]
    assert one.regularizers == two.regularizers
    assert one.constraints == two.constraints
    assert one.constraints[0].multipliers.name == "lagrangian"
    assert (one.optimizer.name, two.optimizer.name) == ("adam", "sgd")
    assert [call.text for call in one.before] == ["weights(below = 1e-9)"]
    assert [call.name for call in two.before] == ["weights", "relus"]


def test_what_is_kept_is_measured_on_samples_apart() -> None:
    plan = plan_of(
        START + " patience = 4 minimize clean_loss()"
        " keep best by certified(robust, r = eps) on digits[900:1000] where clean_accuracy >= 0.95"
    )
    kept = plan.selection
    assert kept is not None
    assert kept.part == Part("digits", 900, 1000)
    assert (kept.least_clean, kept.patience) == (Fraction(19, 20), 4)
    assert kept.measure.arguments["by"] == kept.measure.arguments["by"]
    assert kept.text.startswith("keep best by certified(robust, r = eps) on digits[900:1000]")


def test_several_attacks_and_other_networks() -> None:
    plan = plan_of(
        START + " let A = pgd(steps = 3)"
        " minimize adversarial_loss(robust, r = eps, by = several(A, fgsm, pick = draw))"
        " minimize distillation_loss(teacher = teacher, temperature = 2)"
    )
    attack = plan.stages[0].terms[0].call.arguments["by"]
    assert isinstance(attack, Call)
    parts = attack.arguments["attacks"]
    assert isinstance(parts, tuple)
    assert [part.name for part in parts if isinstance(part, Call)] == ["pgd", "fgsm"]
    assert attack.arguments["pick"] == "draw"


# --- errors that show only now --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("let k = ramp(0, 2, epochs = 1..9) minimize (1 - k) * clean_loss()", "E0402"),
        ("let k = ramp(0, 2, epochs = 1..9) minimize noisy_loss(1 - k)", "E0402"),
        ("let k = ramp(0, 2, epochs = 1..9) let j = 1 / k minimize clean_loss()", "E0404"),
        ("minimize certified_loss(robust, r = eps, by = taps(after = c2))", "E0620"),
        ("minimize clean_loss() regularize shi", "E0805"),
        (
            "let r = ramp(0, eps, epochs = 1..9) minimize certified_loss(robust, r = r)"
            " keep best by certified(robust, r = r) on digits[900:]",
            "E0712",
        ),
        (
            "let r = ramp(0, eps, epochs = 1..9) let A = pgd(alpha = r / 4) minimize clean_loss()"
            " keep best by adversarial(robust, r = eps, by = several(fgsm, A)) on digits[900:]",
            "E0712",
        ),
    ],
)
def test_errors_have_their_place(body: str, code: str) -> None:
    spec = spec_of(f"{START} {body}")
    with pytest.raises(SpecError) as caught:
        plans_of(spec)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.primary is not None


# --- presets --------------------------------------------------------------------------------------


def test_every_preset_has_its_text() -> None:
    assert WRITERS.keys() == PRESETS.schemas.keys()


@pytest.mark.parametrize("name", PRESETS.schemas)
def test_a_preset_is_the_same_as_its_text(name: str) -> None:
    plan = plan_of(f"{START} method = {preset(name)}")
    assert "method" not in plan.text
    written = HEAD + plan.text
    source = Source("t.spec", written)
    (again,) = plans_of(check(parse(source), base=Path("/specs"), working_directory=Path("/specs")))
    assert again.text == plan.text
    assert again.recipe == plan.recipe
    assert again.schedules == plan.schedules or [s.curve for s in again.schedules] == [
        s.curve for s in plan.schedules
    ]
    for one, two in zip(plan.stages, again.stages, strict=True):
        assert [t.text for t in one.terms] == [t.text for t in two.terms]
        assert [t.weight for t in one.terms] == [t.weight for t in two.terms]


def test_presets_read_as_agreed(golden: Golden) -> None:
    texts = [plan_of(f"{START} method = {preset(name)}").text for name in PRESETS.schemas]
    golden.check("training/presets.txt", "\n\n".join(texts))


def test_names_of_a_preset_give_way() -> None:
    plan = plan_of(f"{START} let fade = ramp(0, 1, epochs = 0..1) method = ibp(robust, r = eps)")
    assert [s.name for s in plan.schedules] == ["fade", "eps_2", "fade_2", "kappa", "lr"]
    assert Clock(plan.schedules).value("eps_2", Fraction(9)) == Fraction(1, 10)


def test_a_property_without_a_radius_can_be_a_presets_too() -> None:
    head = (
        HEAD + "property bright(x) = forall d in [0, 1/10] where x + d in Image: net(x)[0] <= 9\n"
    )
    plan = plan_of(f"{START} method = mtl_ibp(bright)", head)
    assert [s.name for s in plan.schedules] == ["fade", "warm", "lr"]
    assert "certified_loss(bright, by = ibp)" in plan.text


def test_a_radius_for_each_entry_does_not_grow() -> None:
    head = HEAD.replace("norm_ball(x, r, linf) & Image", "box(x - r, x + r) & Image")
    radii = "[[" + ", ".join(["[" + ", ".join(["1/10"] * 8) + "]"] * 8) + "]]"
    plan = plan_of(f"{START} method = ibp(robust, r = {radii})", head)
    claim = plan.stages[0].terms[1].call.arguments["property"]
    assert isinstance(claim, ClaimUse)
    assert isinstance(claim.arguments["r"], Fixed)


def test_radii_may_have_a_unit() -> None:
    head = """spec 1.0
space Car { gap: real `m` in [0, 100]  speed: real `m/s` in [0, 40] }
network net: Car -> real[2] { layer dense(8)  layer relu  layer dense(2) }
dataset digits: (Car, label[2]) = csv("cars.csv", label = 2)
property robust(x, y, r) = forall z in Car where z.speed == x.speed and |z.gap - x.gap| <= r:
  argmax(net(z)) == y
"""
    plan = plan_of(f"{START} method = ibp(robust, r = 2 `m`)", head)
    claim = plan.stages[0].terms[1].call.arguments["property"]
    assert isinstance(claim, ClaimUse)
    assert claim.arguments["r"] == Constant(Fraction(2))


# --- the table and the recipe ---------------------------------------------------------------------


def test_the_table_reads_as_agreed(golden: Golden) -> None:
    golden.check(
        "training/schedules.txt",
        schedule_table(plan_of(f"{START} method = crown_ibp(robust, r = eps)")),
    )


def test_a_long_table_is_cut() -> None:
    plan = plan_of(
        "epochs = 200 optimizer = adam(1e-3) let r = ramp(0, eps, epochs = 10..180)"
        " minimize certified_loss(robust, r = r)"
    )
    table = schedule_table(plan)
    assert len(table.splitlines()) < 50
    assert "one epoch in 5 is shown" in table
    assert " 0..10 " in table


def test_the_recipe_follows_whatever_the_weights_depend_on() -> None:
    body = f"{START} method = ibp(robust, r = eps)"
    recipe = plan_of(body).recipe
    assert plan_of(body.replace("epochs = 15", "epochs  =  15")).recipe == recipe
    assert plan_of(body, HEAD + "property unused(x) = net(x)[0] <= 1\n").recipe == recipe
    assert plan_of(body, eps="1/10").recipe == recipe
    changed = [
        plan_of(body, eps="1/11"),
        plan_of(body + " seed = 1"),
        plan_of(body, HEAD.replace("conv(8", "conv(9")),
        plan_of(body, HEAD.replace("1/16", "1/17")),
        plan_of(body, HEAD.replace("norm_ball(x, r, linf)", "norm_ball(x, r, l2)")),
    ]
    assert len({recipe, *(plan.recipe for plan in changed)}) == 6


# --- modules --------------------------------------------------------------------------------------

MODULE = """spec 1.0
param eps: real = 1/10
const r1 = 3
network f: real[2] -> real[2] { layer dense(2)  layer r1 = relu  layer dense(2) }
dataset d: (real[2], label[2]) = csv("d.csv", label = 2)
property robust(x, y, r) = forall z in norm_ball(x, r, linf): argmax(f(z)) == y
train f on d[0:50] { epochs = 9  optimizer = adam(1e-3)  method = ibp(robust, r = eps) }
"""
IMPORTING = """spec 1.0
import "m.spec" as m
train m.f on m.d[0:50] {
  epochs = 9  optimizer = adam(1e-3)
  method = taps(m.robust, r = m.eps, after = r1)
}
"""


def test_a_training_may_speak_of_a_module(tmp_path: Path) -> None:
    (tmp_path / "m.spec").write_text(MODULE)
    source = Source(str(tmp_path / "main.spec"), IMPORTING)
    spec = check(parse(source), base=tmp_path, working_directory=tmp_path)
    # What the module trains is not trained by importing it.
    (plan,) = plans_of(spec)
    assert (plan.network, plan.data) == ("m.f", Part("m.d", 0, 50))
    assert "certified_loss(m.robust, r = eps, by = taps(after = r1" in plan.text
    assert plan.folder == tmp_path
