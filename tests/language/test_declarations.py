"""Queries, closed loops, trainings, networks and datasets: what the checker makes of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.printing.dump import dump_spec
from specdsl.language.schemas import QUERY_FIGURES, QUERY_REPORTS, REPORTS, Option, Schema, Table
from specdsl.language.spec import OptimizeDeclaration, SearchDeclaration, Spec
from specdsl.language.types import RecordType, TensorType, TupleType
from specdsl.source import Source

BASE = Path("/specs")
HEAD = """spec 1.0
space Point { a: real in [0, 1]  b: real in [0, 1] }
network net: Point -> real[2] = onnx("net.onnx")
dataset test: (Point, label[2]) = csv("d.csv", label = 2)
property robust(x, y, r) = forall z in norm_ball(x, r, linf) & Point: argmax(net(z)) == y
"""


def checked(text: str, head: str = HEAD) -> Spec:
    source = Source("t.spec", head + text)
    return check(parse(source), base=BASE, working_directory=BASE)


def codes(text: str, head: str = HEAD) -> list[str]:
    try:
        checked(text, head)
    except SpecError as error:
        return [d.code for d in error.diagnostics]
    return []


# --- queries -------------------------------------------------------------------------------------


def search(text: str) -> SearchDeclaration:
    (query,) = checked(text).queries
    assert isinstance(query, SearchDeclaration)
    return query


def test_a_search_keeps_its_exact_ends_and_takes_options_in_any_order() -> None:
    query = search(
        "largest r in [0, 1/4] tol 1/999 such that robust(x, y, r) for (x, y) in test[0:100] "
        'report histogram("r.svg"), median expect median >= 1/50 as radii '
        'using portfolio(timeout = 10 `s`) report table("r.csv")'
    )
    assert (query.kind, query.name, query.variable) == ("largest", "radii", "r")
    assert (query.lower, query.upper, query.tolerance) == (0, Fraction(1, 4), Fraction(1, 999))
    assert [r.name for r in query.reports] == ["histogram", "median", "table"]
    assert query.backend is not None
    assert query.backend.options == {"timeout": 10}
    assert [binder.names for binder in query.per] == [("x", "y")]


def test_the_default_tolerance_is_a_thousandth_of_the_interval() -> None:
    query = search("smallest eps in [1, 3] such that robust(test[0].input, 1, eps)")
    assert (query.kind, query.tolerance) == ("smallest", Fraction(2, 1000))


def test_an_optimum_keeps_what_it_ranges_over() -> None:
    spec = checked(
        "maximize net(p)[0] over p in Point, q in Point where p.a <= q.a "
        "for (x, y) in test[0:3] using milp(timeout = 60 `s`, gap = 1/100)"
    )
    (query,) = spec.queries
    assert isinstance(query, OptimizeDeclaration)
    assert [b.names for b in query.binders] == [("p",), ("q",)]
    assert query.where is not None
    assert query.backend is not None
    assert query.backend.options == {"timeout": 60, "gap": Fraction(1, 100)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("maximize net(z)[y] over z in norm_ball(x, 1/10, linf) & Point for (x, y) in test", []),
        ("minimize norm(z - flatten(test[0].input), l1) over z in box([0, 0], [1, 1])", []),
        ("minimize flatten(z)[0] over z in Point where exists q in Point: q.a <= z.a", []),
        ("minimize z.a over z in Point where forall q in Point: q.a <= z.a", ["E0705"]),
        ("largest r in [0, 1] such that not robust(test[0].input, 1, r)", []),
        ("largest r in [0, 1] such that r", ["E0703"]),
        ("largest r in [0, 1] such that net(r)[0] >= 1", ["E0301"]),
        ("maximize z.c over z in Point", ["E0203"]),
        ("maximize net(z)[0] over (z, y) in test[0:9]", []),
    ],
)
def test_queries_are_typed_like_properties(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_a_number_between_ends_with_units_has_their_unit() -> None:
    head = HEAD + "property near(d) = 3 `m` <= d\nproperty late(d) = 3 `s` <= d\n"
    assert codes("largest d in [0 `m`, 9] such that near(d)", head) == []
    assert codes("largest d in [0 `m`, 9] such that late(d)", head) == ["E0401"]
    assert codes("largest d in [0 `m`, 9] tol 1 such that near(d)", head) == []


def test_names_of_checks_and_queries_are_unique() -> None:
    one = "largest r in [0, 1] such that robust(test[0].input, 1, r) as one\n"
    assert codes(one + "check robust(test[0].input, 1, 1/10) as one") == ["E0202"]
    assert codes(one + one) == ["E0202"]


def test_expectations_do_arithmetic_with_figures() -> None:
    one = "largest r in [0, 1] such that robust(x, y, r) for (x, y) in test[0:9] expect "
    for name in QUERY_FIGURES:
        assert codes(f"{one} 2 * {name} - 1/10 >= 0 and not {name} > 3 => {name} / 2 < 1") == []
    assert codes(one + "median >= mean") == []
    assert codes(one + "1 >= 0") == ["E0807"]
    assert codes(one + "median") == ["E0807"]
    assert codes(one + "medain >= 0") == ["E0806"]
    claim = "check forall (x, y) in test[0:9]: robust(x, y, 1/10) expect "
    assert codes(claim + "clean_accuracy - certified_accuracy <= 1/10") == []
    assert codes(claim + "clean_accuracy @ 2 <= 1/10") == ["E0807"]


# --- closed loops --------------------------------------------------------------------------------

LOOP = """spec 1.0
network controller: real[2] -> real[1] = onnx("c.onnx")
const A = [[1, 1], [0, 1]]
const B = [[1/2], [1]]
system loop {
  state x: real[2] in box([2.5, -0.25], [3, 0.25])
  action u = clip(controller(x), -1, 1)
  noise w in box([-1/1000, -1/1000], [1/1000, 1/1000])
  next x = A @ x + B @ u + w
}
region unsafe = box([4, -10], [10, 10])
"""


def test_a_loop_is_kept_and_its_state_is_a_record() -> None:
    spec = checked("property safe = always(0..10, loop.x not in unsafe)\ncheck safe", LOOP)
    assert isinstance(spec.systems["loop"], syntax.System)
    assert [item.kind for item in spec.systems["loop"].items] == [
        "state",
        "action",
        "noise",
        "next",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("next x = A @ x + B @ u + w", "next x = u", ["E0303"]),
        ("next x = A @ x + B @ u + w", "", ["E0711"]),
        ("next x = A @ x + B @ u + w", "next x = x next x = x", ["E0711"]),
        ("next x = A @ x + B @ u + w", "next x = x next u = u", ["E0201"]),
        ("next x = A @ x + B @ u + w", "next x = A @ x + v", ["E0201"]),
        (" in box([2.5, -0.25], [3, 0.25])", "", ["E0711"]),
        (" in box([2.5, -0.25], [3, 0.25])", " in real[2]", ["E0702"]),
        (" in box([2.5, -0.25], [3, 0.25])", " in box(0, 1)", []),
        ("noise w in box([-1/1000, -1/1000], [1/1000, 1/1000])", "noise w in box(-1, 1)", []),
        ("action u = clip(controller(x), -1, 1)", "action u = x[0] >= 1", ["E0302"]),
        ("action u = clip(controller(x), -1, 1)", "action u = controller(w)", []),
        ("state x: real[2]", "state x: label[2]", ["E0302"]),
    ],
)
def test_loops_are_typed(old: str, new: str, expected: list[str]) -> None:
    assert codes("", LOOP.replace(old, new)) == expected


def test_all_next_are_simultaneous_and_see_every_name_of_the_block() -> None:
    head = """spec 1.0
system swap {
  next a = b
  next b = a + sum(w) + u
  action u = b
  noise w in box([0, 0], [1, 1])
  state a: real in [0, 1]
  state b: real in [1, 2]
}
"""
    assert checked("", head).systems.keys() == {"swap"}


# --- training ------------------------------------------------------------------------------------

TRAINING = """spec 1.0
space Image { pixels: real[1, 8, 8] in [0, 1] }
param eps: real = 1/10
network net: Image -> real[10] {
  layer normalize(mean = 0.13, std = 0.3)
  layer c1 = conv(8, kernel = 3, padding = 1)
  layer batch_norm
  layer relu
  skip add(from = c1)
  layer average_pool(2)
  layer dropout(1/2)
  layer flatten
  layer dense(10)
  init = ibp(seed = 0)
}
dataset digits: (Image, label[10]) = sklearn("digits") {
  scale = 1/16  augment = shift(2)  shuffle = true
}
property robust(x, y, r) = forall z in norm_ball(x, r, linf) & Image: argmax(net(z)) == y
property steady(x, p) = forall z in norm_ball(x, 1/10, p) & Image: norm(net(z), linf) <= 99
train net on digits {
  epochs = 20, batch = 64  seed = 1  device = auto  clip = 10  budget = 600 `s`
  optimizer = adam(lr = steps(5e-3, 1e-3 for e in 11..12, 1e-4 for e in 13..19))
  let r = ramp(0, eps, epochs = 1..9, shape = smooth)
  let kappa = ramp(1, 1/2, epochs = 1..9)
  minimize (kappa * clean_loss()
    + (1 - kappa) * certified_loss(robust, r = r, by = crown_ibp(beta = kappa))) / 2
  minimize adversarial_loss(robust, r = r, by = pgd(steps = 8, restarts = 1, alpha = r / 4))
  minimize certified_loss(steady, p = l2)
  regularize 1e-2 * tightness(by = ibp, against = crown) + 1e-4 * relu_stability(r = r)
  regularize 1e-5 * l2(weights)
  constrain violation(robust, r = eps) <= kappa / 100 by lagrangian(lr = 1e-2, init = 0)
  save onnx("net.onnx")
}
"""


def test_a_training_keeps_its_lines() -> None:
    spec = checked("", TRAINING)
    (training,) = spec.trainings
    assert (training.network, training.dataset) == ("net", "digits")
    assert len(training.items) == 16
    # `check` sees every sample once, as it is in the file: only scale and shift change it.
    assert spec.datasets["digits"].settings["augment"] == "shift"
    assert "minimize adversarial_loss(robust" in dump_spec(spec)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("robust, r = eps", "robust, r = eps, r = 2", ["E0803"]),
        ("robust, r = eps", "robust", ["E0713"]),
        ("robust, r = eps", "eps", ["E0302"]),
        ("robust, r = eps", "r = eps", ["E0805"]),
        ("p = l2", "p = l3", ["E0201"]),
        ("p = l2", "p = 2", ["E0302"]),
        ("alpha = r / 4", "alpha = [1, 2]", ["E0303"]),
        ("alpha = r / 4", "alpha = 1 `m`", ["E0401"]),
        ("alpha = r / 4", "alpha = net", ["E0302"]),
        ("steps = 8", "steps = 1/2", ["E0804"]),
        ("1e-3 for e in 11..12", "1e-3 for e in one_of(11, 12)", ["E0804"]),
        ("1e-3 for e in 11..12", "1e-3 for e in 12..11", ["E0403"]),
        ("1e-3 for e in 11..12", "r for e in 11..12", ["E0312"]),
        ("shape = smooth", "shape = round", ["E0804"]),
        ("epochs = 1..9, shape", "shape", ["E0805"]),
        ("augment = shift(2)", "augment = shift", ["E0805"]),
        ("augment = shift(2)", "augment = sift(2)", ["E0804"]),
        ("shuffle = true", "shuffle = 1", ["E0804"]),
        ("init = ibp(seed = 0)", "init = ibp(sed = 0)", ["E0802"]),
        ("minimize adversarial_loss", "minimize kappa * kappa * adversarial_loss", []),
        ("minimize adversarial_loss", "minimize 2 + adversarial_loss", ["E0712"]),
        ("minimize adversarial_loss", "minimize clean_loss() * adversarial_loss", ["E0712"]),
    ],
)
def test_trainings_are_typed(old: str, new: str, expected: list[str]) -> None:
    assert TRAINING.count(old) == 1
    assert codes("", TRAINING.replace(old, new)) == expected


# --- networks ------------------------------------------------------------------------------------


def test_several_inputs_and_outputs_have_their_names() -> None:
    spec = checked(
        "network drive: (p: Point, speed: real `m/s`) -> (steer: real[3], p: Point) = "
        'onnx("d.onnx")\n'
        "property p = forall p in Point, v in [0 `m/s`, 1 `m/s`]: "
        "drive(p, v).steer[0] <= drive(p, v).p.a"
    )
    drive = spec.networks["drive"]
    assert isinstance(drive.input, TupleType)
    assert isinstance(drive.output, TupleType)
    assert [name for name, _ in drive.input.items] == ["p", "speed"]
    assert isinstance(drive.output.items[1][1], RecordType)


def test_outputs_have_any_rank() -> None:
    spec = checked(
        'network field: Point -> real[2, 3, 4] = onnx("d.onnx", denormalize = affine(scale = 2))'
    )
    assert spec.networks["field"].output == TensorType((2, 3, 4))


def test_a_network_can_be_an_expression_of_others() -> None:
    text = 'network head: real[2] -> real = onnx("h.onnx")\n'
    spec = checked(
        text + "network both: Point -> real = net >> head\nnetwork again: Point -> real = both"
    )
    assert spec.networks["both"].onnx is None
    assert spec.networks["both"].value is not None
    assert codes(text + "network both: Point -> real[3] = net >> head") == ["E0301"]
    assert codes(text + "network both: Point -> real[3] = test") == ["E0302"]


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ("layer conv(4, kernel = [3, 5], stride = [1, 2], padding = [1, 0])", "4, 8, 2"),
        ("layer average_pool(2) layer average_pool(3, stride = 1, padding = 1)", "1, 4, 4"),
        ("layer max_pool([2, 4]) layer sigmoid layer tanh layer hardtanh", "1, 4, 2"),
        ("layer c = relu layer average_pool(2) skip add(from = c, by = maxpool(2))", "1, 4, 4"),
        ("skip add(from = input) layer batch_norm(mean = 0, variance = [1])", "1, 8, 8"),
        ("layer flatten layer dropout(1/4) layer dense(6)", "6"),
        ("layer conv_transpose(2, kernel = 3, stride = 2, padding = 1) layer gelu", "2, 15, 15"),
        (
            "layer conv_transpose(2, kernel = 2, stride = [1, 2], output_padding = [0, 1])",
            "2, 9, 17",
        ),
        ("layer instance_norm layer elu(alpha = 1/2) layer group_norm(1) layer mish", "1, 8, 8"),
        ("layer layer_norm(gamma = 2) layer flatten layer softmax layer log_softmax", "64"),
    ],
)
def test_shapes_go_through_every_layer(layers: str, shape: str) -> None:
    head = "spec 1.0\nspace Image { pixels: real[1, 8, 8] in [0, 1] }\n"
    assert codes(f"network f: Image -> real[{shape}] {{ {layers} }}", head) == []
    assert codes(f"network f: Image -> real[77] {{ {layers} }}", head) == ["E0621"]


@pytest.mark.parametrize(
    ("layers", "code"),
    [
        ("layer softmax", "E0621"),
        ("layer layer_norm(gamma = [1, 2])", "E0621"),
        ("layer group_norm(2)", "E0621"),
        ("layer group_norm", "E0805"),
        ("layer flatten layer instance_norm", "E0621"),
        ("layer instance_norm(beta = [1, 2])", "E0621"),
        ("layer elu(alpha = 0)", "E0620"),
        ("layer celu(alpha = 0 - 1)", "E0402"),
        ("layer conv_transpose(2)", "E0620"),
        ("layer conv_transpose(weight = [[[[1]]], [[[1]]]])", "E0621"),
        ("layer conv_transpose(2, kernel = 1, padding = 4)", "E0621"),
        ("layer conv_transpose(2, kernel = 1, output_padding = 1)", "E0621"),
        ("layer conv_transpose(3, weight = [[[[1]]]])", "E0621"),
    ],
)
def test_layers_that_do_not_fit_are_errors_before_anything_is_built(layers: str, code: str) -> None:
    head = "spec 1.0\nspace Image { pixels: real[1, 8, 8] in [0, 1] }\n"
    assert codes(f"network f: Image -> real[64] {{ {layers} }}", head) == [code]


def test_one_hot_fields_are_as_wide_as_their_classes() -> None:
    head = "spec 1.0\nspace S { a: category in [0, 3] encode one_hot  b: real in [0, 1] }\n"
    weight = "[" + ", ".join(["1"] * 5) + "]"
    text = f"network f: S -> real {{ layer dense(weight = [{weight}]) }}"
    assert codes(text, head) == []
    assert codes(text.replace("[1, ", "["), head) == ["E0621"]


# --- datasets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reader",
    [
        'npy("x.npy", "y.npy")',
        'npy("x.npy", labels = "y.npy")',
        'cifar_binary("batch.bin")',
        'cifar_binary("train.bin", classes = 100)',
        'idx("x", "y")',
    ],
)
def test_readers_are_typed(reader: str) -> None:
    text = f"dataset d: (real[3, 32, 32], label[100]) = {reader} {{ scale = 1/255 }}"
    assert codes(text) == []


def test_targets_may_be_numbers() -> None:
    spec = checked('dataset prices: (Point, real) = csv("p.csv", label = "price")')
    assert spec.datasets["prices"].element[1] == TensorType()
    assert codes('dataset prices: (Point, real[2]) = csv("p.csv", label = 0)') == ["E0901"]
    head = HEAD + 'dataset prices: (Point, real) = csv("p.csv", label = 0)\n'
    assert codes("property p = forall (x, t) in prices: |net(x)[0] - t| <= 1", head) == []
    network = "network f: Point -> real { layer dense(1) }\n"
    training = "train f on prices { epochs = 1 optimizer = sgd(1/10) minimize clean_loss() }"
    assert codes(network + training, head) == []


# --- the tables ----------------------------------------------------------------------------------


def every_table() -> list[Table]:
    from specdsl.language import (
        layer_schemas,
        preset_schemas,
        schemas,
        training_methods,
        training_schemas,
    )

    modules = (schemas, layer_schemas, training_methods, preset_schemas, training_schemas)
    return [v for m in modules for v in vars(m).values() if isinstance(v, Table)]


def every_schema() -> list[Schema]:
    from specdsl.language import (
        layer_schemas,
        preset_schemas,
        schemas,
        training_methods,
        training_schemas,
    )

    modules = (schemas, layer_schemas, training_methods, preset_schemas, training_schemas)
    single = [v for m in modules for v in vars(m).values() if isinstance(v, Schema)]
    return [s for t in every_table() for s in t.schemas.values()] + single


def fits_its_kind(option: Option) -> bool:
    if option.kind == "method":
        return option.table is not None
    if option.kind == "word":
        return bool(option.choices)
    return True


def test_the_tables_are_whole() -> None:
    for schema in every_schema():
        assert schema.doc
        names = [option.name for option in schema.options]
        assert len(set(names)) == len(names)
        assert schema.positional <= len(names)
        for option in schema.options:
            assert option.doc
            assert fits_its_kind(option), (schema.name, option.name)
            assert not (option.required and option.default is not None)
            if option.table is not None and option.default is not None:
                assert option.default in option.table.schemas
    for table in every_table():
        assert table.to_come <= table.schemas.keys()
        assert not table.later & table.schemas.keys()


def test_the_figures_of_queries_are_those_that_are_computed() -> None:
    from specdsl.run.query_figures import FIGURES

    assert set(QUERY_FIGURES) == set(FIGURES)
    assert set(QUERY_FIGURES) <= QUERY_REPORTS.schemas.keys()
    assert not set(QUERY_FIGURES) & REPORTS.schemas.keys()
