"""The seventeen settled rules of the language, as far as checking decides them.

What happens to files, networks and answers (the rest of 7, 8, 9, 15) is tested where it happens.
"""

from __future__ import annotations

import pytest

from specdsl.diagnostics import SpecError
from specdsl.language.parsing.parser import parse
from specdsl.language.types import TensorType
from specdsl.source import Source
from tests.language.checked import HEAD, checked, claim, codes, findings

IMAGE = "forall x in Image: "


def test_1_a_list_after_in_is_an_interval_and_ranges_hold_both_ends() -> None:
    assert claim("forall d in [0, 9]: d <= 9 and d >= 1/3") == []
    assert claim("forall d in [0, 1, 2]: d <= 9") == ["E0403"]
    assert claim("forall d in one_of(0, 1, 2): d <= 9") == []
    # Both ends: entry 10 does not exist. Slices exclude their end: entry 9 is in `[0:10]`.
    assert claim(IMAGE + "net(x)[10] <= 1") == ["E0306"]
    assert claim(IMAGE + "net(x)[0:10][9] <= 1") == []
    assert claim(IMAGE + "net(x)[0:9][9] <= 1") == ["E0306"]
    assert claim("all(i <= 9 for i in 9..9)") == []


def test_2_a_box_without_a_shape_takes_one_from_around_it() -> None:
    assert claim("forall x in box(0, 1) & Image: net(x)[0] <= 1") == []
    assert claim(IMAGE + "x in box(0, 1)") == []
    assert claim("forall x in box(0, 1, shape = test[0].input): net(x)[0] <= 1") == []
    assert claim("forall x in box(0, 1): net(x)[0] <= 1") == ["E0314"]
    assert claim("forall d in [0, 1/10]: d <= 1") == []
    assert claim("forall d in [0, 1/10]: d[0] <= 1") == ["E0307"]


def test_3_a_ball_measures_like_fields_only() -> None:
    ball = "forall a in Applicant, b in norm_ball(a, 1, linf{}): score(b) <= 1"
    assert claim(ball.format("")) == ["E0407"]
    assert claim(ball.format(", scale = normalized")) == ["E0407"]
    assert claim(ball.format(", scale = normalized, only = [income, debt]")) == []
    assert claim(ball.format(", only = [income, age]")) == ["E0407"]
    (found,) = findings(f"{HEAD}property p = {ball.format('')}\n")
    assert found.help is not None
    assert "norm_ball(a, 1, linf, only = [income, debt])" in found.help


def test_4_a_computed_argument_that_can_leave_its_space_is_a_warning() -> None:
    loose = "forall x in Image, d in [0, 1]{}: net(x + d)[0] <= 1"
    assert claim(loose.format("")) == ["W0701"]
    assert claim(loose.format(" where x + d in Image")) == []
    assert claim(loose.format(" where d >= 0 and x + d in Image & box(0, 1)")) == []
    assert claim(IMAGE + "x / 2 in Image => net(x / 2)[0] <= 1") == []
    block = (
        "property p { forall x in Image  where x / 2 in Image  let y = x / 2  show net(y)[0] < 1 }"
    )
    assert codes(block) == []
    # Variables range over what their set says, and what is declared to be in a space is.
    assert claim("forall x in norm_ball(test[0].input, 1, linf): net(x)[0] <= 1") == []
    (found,) = findings(f"{HEAD}property p = {loose.format('')}\n")
    assert found.help is not None
    assert "where x + d in Image" in found.help


def test_5_comparing_tensors_needs_all_or_any_and_one_entry_is_a_number() -> None:
    assert claim(IMAGE + "net(x) <= 1") == ["E0308"]
    assert claim(IMAGE + "all(net(x) <= 1) and any(net(x) >= 0)") == []
    assert claim("forall a in Applicant: score(a) <= 1 and score(a)[0] + score(a) <= 2") == []


def test_6_quantifiers_over_finite_sets_never_alternate() -> None:
    for finite in ("test[0:3]", "Advisory", "0..3", "one_of(1, 2)", "fields(Craft)"):
        names = "(u, y)" if finite == "test[0:3]" else "k"
        assert claim(f"{IMAGE}exists {names} in {finite}: net(x)[0] <= 1") == []
    assert claim(IMAGE + "exists y in Image: net(x)[0] <= net(y)[0]") == ["E0705"]
    assert claim(IMAGE + "not (exists y in Image: net(x)[0] <= net(y)[0])") == []


def test_7_where_restricts_under_both_quantifiers() -> None:
    assert claim("exists x in Image where net(x)[0] >= 1: net(x)[1] >= 1") == []
    # Under `forall` the condition is implied from, so a quantifier in it turns round.
    assert claim("forall x in Image where (exists y in Image: net(y)[0] >= 1): net(x)[0] < 1") == []
    assert claim("exists x in Image where (exists y in Image: net(y)[0] >= 1): net(x)[0] < 1") == []


def test_8_figures_are_closed_and_of_one_property() -> None:
    check = "property p = forall (x, y) in test[0:3]: argmax(net(x)) == y\n"
    assert codes(check + "check p report clean_accuracy expect certified_accuracy >= 1/2") == []
    assert codes(check + "check p report accuracy") == ["E0806"]
    assert codes(check + "check p, p report clean_accuracy") == ["E0706"]
    assert codes(check + "check p, p expect verified_fraction >= 1/2") == []


def test_9_checks_have_names_once() -> None:
    check = "property p = forall (x, y) in test[0:3]: argmax(net(x)) == y\n"
    assert codes(check + "check p as small\ncheck p as other") == []
    assert codes(check + "check p as small\ncheck p as small") == ["E0202"]


LOOP = """system loop {
  state x: real in [0, 1]
  state v: real in [0, 1]
  noise w in [-1/10, 1/10]
  next x = x + v
  next v = v / 2 + w
}
"""


def test_10_systems_step_at_once_and_states_are_read_at_steps() -> None:
    assert codes(LOOP + "property p = at(2, loop.v) <= 1 and always(0..5, loop.x <= 9)") == []
    assert codes(LOOP + "property p = loop.v <= 1\ncheck p") == ["E0708"]
    assert codes(LOOP + "property p = at(-1, loop.v) <= 1\ncheck p") == ["E0306"]
    assert codes(LOOP + "property p = always(0..5, loop.w <= 1)\ncheck p") == ["E0203"]


def test_11_a_bare_number_takes_the_unit_of_the_other_side() -> None:
    assert claim("forall s in Craft: s.rho <= 30 and s.rho <= 30 `m`") == []
    assert claim("forall s in Craft: s.rho <= s.speed") == ["E0401"]
    spec = checked(HEAD + 'network grid: Craft -> real[6] `MW` = onnx("grid.onnx")\n')
    assert spec.networks["grid"].output == TensorType((6,), "real", "MW")
    text = (
        'network grid: Craft -> real[6] `MW` = onnx("grid.onnx")\nproperty p = forall s in Craft: '
    )
    assert codes(text + "all(grid(s) <= 40 `MW`) and sum(grid(s)) <= 100") == []
    assert codes(text + "all(grid(s) <= 40 `kW`)") == ["E0401"]


def test_12_a_quotient_by_what_may_be_0_is_refused_once_the_set_is_known() -> None:
    """The refusal itself is in `tests/query/test_elementary.py`."""
    assert claim(IMAGE + "net(x)[0] / net(x)[1] <= 2") == []
    assert claim(IMAGE + "net(x)[0] / (1 - 1) <= 2") == ["E0404"]
    assert claim(IMAGE + "net(x)[0] / 3 <= 2") == []


def test_13_sets_by_condition_and_image_membership_and_what_is_built_in() -> None:
    assert claim("forall s in { s in Craft where s.rho <= 1600 }: acas(s).COC <= 1") == []
    between = "{ (1 - t) * test[0].input + t * test[1].input for t in [0, 1] }"
    assert claim(f"forall x in {between}: argmax(net(x)) == 1") == []
    assert claim(IMAGE + "x in Image and x not in norm_ball(test[0].input, 1, l1)") == []
    pair = "forall a in Applicant, b in Applicant where same_except(a, b, income, debt): "
    assert claim(pair + "score(a) == score(replace(b, income = a.income, debt = a.debt))") == []
    assert claim(IMAGE + "margin(net(x), 3) > 0") == []
    assert claim("forall a in Applicant: norm(normalized(a), l2) <= 9") == []
    assert claim("forall a in Craft, f in fields(Craft) where f == rho: a[f] >= 0 `m`") == []


def test_14_several_inputs_and_outputs_have_names() -> None:
    drive = (
        "space Speed { v: real in [0, 40] }\n"
        "network drive: (image: Image, speed: Speed) -> (steering: real[Advisory], throttle: real)"
        ' = onnx("d.onnx")\nproperty p = forall x in Image, s in Speed: '
    )
    assert codes(drive + "drive(x, s).steering.WL + drive(x, s).throttle <= 1") == []
    assert codes(drive + "drive(x, s).brake <= 1") == ["E0203"]


def test_15_queries_take_options_in_any_order_and_run_per_sample() -> None:
    radius = (
        "property robust(x, y, r) = forall z in norm_ball(x, r, linf): argmax(net(z)) == y\n"
        "{} r in [0, 1/4] tol 1/1000 such that robust(x, y, r) for (x, y) in test[0:100] "
    )
    options = ('report histogram("r.svg"), median', "expect median >= 1/50", "as radii")
    for word in ("largest", "smallest"):
        assert codes(radius.format(word) + " ".join(options)) == []
        assert codes(radius.format(word) + " ".join(reversed(options))) == []


def test_16_categories_say_their_packing_and_sizes_count() -> None:
    space = checked(HEAD).spaces["Applicant"]
    gender = space.fields[-1]
    assert (gender.kind, gender.encode, gender.width, space.width) == ("category", "one_hot", 3, 6)
    assert space.type.size == 6
    packed = 'network g: real[{}] -> real = onnx("g.onnx")\nproperty p = forall a in Applicant: '
    assert codes(packed.format(6) + "g(normalized(a)) <= 1") == []
    assert codes(packed.format(4) + "g(normalized(a)) <= 1") == ["E0301"]
    ordinal = checked("spec 1.0\nspace S { c: category in [0, 4] }\n").spaces["S"]
    assert (ordinal.fields[0].encode, ordinal.width) == ("ordinal", 1)


def test_17_readers_datasets_and_properties_say_what_they_need() -> None:
    assert codes("property p { forall x in Image }") == ["E0701"]
    reader = 'dataset d: (Image, label[10]) = csv("d.csv"{}) {}'
    assert codes(reader.format(", label = 3", "{ scale = 1/255 }")) == []
    assert codes(reader.format(", label = 3, scale = 2", "")) == ["E0802"]
    assert codes(reader.format("", "{ label = 3 }")) == ["E0805", "E0802"]
    with pytest.raises(SpecError, match="E0110"):
        parse(Source("t.spec", "spec 1\n"))
