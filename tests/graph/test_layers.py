"""Inline layers: exact in the graph, rounded in the export, located diagnostics for mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from specdsl.diagnostics import SpecError, render
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.layer_builders import BUILDERS
from specdsl.graph.layers import build_network
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.graph.runtime import Runtime
from specdsl.language import syntax
from specdsl.language.evaluation import evaluate as evaluate_constant
from specdsl.language.layer_schemas import LAYERS
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Value
from specdsl.source import Source, Span

Argument = int | float | str | Fraction | Sequence["Argument"]
Given = tuple[str, tuple[Argument, ...], dict[str, Argument]]


def fractions(value: Argument) -> np.ndarray:
    array = np.array(value, dtype=object)
    result = np.empty(array.shape, dtype=object)
    result.reshape(-1)[:] = [Fraction(v) for v in array.reshape(-1)]
    return result


def network(layers: Sequence[Given], shape: tuple[int, ...]) -> ImportedNetwork:
    """Layers as the parser hands them over; a constant is a name looked up in a table."""
    text = "\n".join(f"layer {kind}(...)" for kind, _, _ in layers)
    source = Source("net.spec", text)
    constants: dict[str, Argument] = {}

    def constant(value: Argument, span: Span) -> syntax.Name:
        name = f"c{len(constants)}"
        constants[name] = value
        return syntax.Name(name, span=span)

    def lookup(expression: syntax.Expr) -> Value:
        assert isinstance(expression, syntax.Name)
        value = constants[expression.name]
        if isinstance(value, str):
            return value
        array = fractions(value)
        return array[()] if array.ndim == 0 else array

    nodes: list[syntax.Layer] = []
    for i, (kind, positional, named) in enumerate(layers):
        start = source.line_starts[i]
        span = Span(source, start, start + len(f"layer {kind}(...)"))
        function = syntax.Name(kind, span=Span(source, start + 6, start + 6 + len(kind)))
        arguments = tuple(
            [constant(a, span) for a in positional]
            + [syntax.NamedArgument(k, constant(v, span), span=span) for k, v in named.items()]
        )
        call = syntax.Call(function, arguments, span=span)
        value = call if arguments else function
        nodes.append(syntax.Layer(f"l{i}", value, span=span))
    return build_network("net", nodes, shape, lookup)


def exact_output(net: ImportedNetwork, point: Argument) -> list[Fraction]:
    graph = net.graph
    value = fractions(point).reshape(graph.shapes[graph.input])
    found = evaluate_exact(graph, {graph.input: value}, nodes=[graph.output])[graph.output]
    return list(found.reshape(-1))


THIRD = Fraction(1, 3)


def test_every_layer_of_the_language_is_built() -> None:
    assert set(BUILDERS) == set(LAYERS.schemas) - LAYERS.to_come


def test_the_tiny_network_of_the_examples() -> None:
    net = network(
        [
            ("dense", (), {"weight": [[1, -1], [1, 1]], "bias": [0, 0]}),
            ("relu", (), {}),
            ("dense", (), {"weight": [[1, 1]], "bias": [Fraction(-1, 2)]}),
        ],
        (2,),
    )
    assert exact_output(net, [THIRD, THIRD / 2]) == [THIRD / 2 + THIRD * 3 / 2 - Fraction(1, 2)]
    assert net.graph.order == ("input", "l0", "l1", "l2")


def test_fractions_stay_exact_and_the_export_is_near() -> None:
    net = network(
        [
            ("normalize", (), {"mean": Fraction(1307, 10_000), "std": Fraction(3081, 10_000)}),
            ("conv", (), {"weight": [[[[THIRD]]]], "bias": [Fraction(1, 7)], "stride": 2}),
            ("leaky_relu", (Fraction(1, 10),), {}),
            ("clip", (Fraction(-1, 10), Fraction(7, 10)), {}),
            ("flatten", (), {}),
        ],
        (1, 1, 2),
    )

    def expected(x: Fraction) -> Fraction:
        y = (x - Fraction(1307, 10_000)) / Fraction(3081, 10_000) * THIRD + Fraction(1, 7)
        y = y if y >= 0 else y / 10
        return min(max(y, Fraction(-1, 10)), Fraction(7, 10))

    for x in (Fraction(-3), Fraction(0), THIRD, Fraction(5)):
        assert exact_output(net, [x, 9]) == [expected(x)]
        point = np.array([[[[float(x), 9.0]]]], dtype=np.float32)
        assert np.allclose(Runtime(net.model, "net").run(point), float(expected(x)), atol=1e-6)


def test_a_value_in_another_shape_has_the_same_entries() -> None:
    net = network([("reshape", ([2, 3],), {}), ("reshape", ([3, 2, 1],), {})], (6,))
    assert net.graph.shapes[net.graph.output] == (1, 3, 2, 1)
    assert exact_output(net, [1, 2, 3, 4, 5, 6]) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(SpecError, match="E0621"):
        network([("reshape", ([2, 2],), {})], (6,))


def test_numbers_that_floats_hold_make_plain_ops() -> None:
    net = network([("leaky_relu", (Fraction(1, 8),), {}), ("clip", (0, 6), {})], (3,))
    kinds = [type(net.graph.op(n)) for n in net.graph.order]
    assert kinds == [ops.Input, ops.LeakyRelu, ops.Clip]


def test_channels_may_have_their_own_normalisation() -> None:
    net = network([("normalize", (), {"mean": [1, 2], "std": [1, 2]})], (2, 1, 1))
    assert exact_output(net, [2, 4]) == [1, 1]


def test_a_convolution_pads_and_strides_as_told() -> None:
    weight = np.arange(8.0).reshape(1, 2, 2, 2).tolist()
    net = network([("conv", (), {"weight": weight, "stride": [2, 1], "padding": 1})], (2, 3, 3))
    assert net.graph.shapes[net.graph.output] == (1, 1, 2, 4)
    assert evaluate(net.graph, {"input": np.ones((1, 1, 2, 3, 3))})


MISTAKES: dict[str, tuple[list[Given], tuple[int, ...], str]] = {
    "unknown layer": ([("dens", (), {})], (2,), "E0620"),
    "unknown argument": ([("relu", (), {"slope": 1})], (2,), "E0620"),
    "too many arguments": ([("relu", (1,), {})], (2,), "E0620"),
    "size alone": ([("dense", (100,), {})], (2,), "E0622"),
    "not a matrix": ([("dense", (), {"weight": [1, 2]})], (2,), "E0621"),
    "wrong width": ([("dense", (), {"weight": [[1, 2, 3]]})], (2,), "E0621"),
    "not flat": ([("dense", (), {"weight": [[1, 2, 3, 4]]})], (2, 2), "E0621"),
    "wrong bias": ([("dense", (), {"weight": [[1, 2]], "bias": [1, 2]})], (2,), "E0621"),
    "conv on a vector": ([("conv", (), {"weight": [[[[1]]]]})], (2,), "E0621"),
    "wrong channels": ([("conv", (), {"weight": [[[[1]]]]})], (2, 3, 3), "E0621"),
    "large kernel": ([("conv", (), {"weight": [[[[1, 1, 1, 1]]]]})], (1, 3, 3), "E0621"),
    "stride zero": ([("conv", (), {"weight": [[[[1]]]], "stride": 0})], (1, 3, 3), "E0620"),
    "half a stride": (
        [("conv", (), {"weight": [[[[1]]]], "stride": Fraction(1, 2)})],
        (1, 3, 3),
        "E0620",
    ),
    "no slope": ([("leaky_relu", (), {})], (2,), "E0620"),
    "negative slope": ([("leaky_relu", (-1,), {})], (2,), "E0620"),
    "one bound": ([("clip", (0,), {})], (2,), "E0620"),
    "crossed bounds": ([("clip", (1, 0), {})], (2,), "E0620"),
    "std zero": ([("normalize", (), {"std": 0})], (2,), "E0620"),
    "means": ([("normalize", (), {"mean": [1, 2, 3]})], (2, 4, 4), "E0621"),
    "text": ([("dense", (), {"weight": "w"})], (2,), "E0620"),
    "too large": ([("dense", (), {"weight": [[Fraction(10**40), 1]]})], (2,), "E0620"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_diagnostics_at_the_layer(name: str) -> None:
    layers, shape, code = MISTAKES[name]
    with pytest.raises(SpecError) as caught:
        network(layers, shape)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.primary is not None
    assert "net.spec:1" in render(found)


def test_a_missing_flatten_is_what_the_help_says() -> None:
    with pytest.raises(SpecError) as caught:
        network(*MISTAKES["not flat"][:2])
    assert caught.value.diagnostics[0].help == "put `layer flatten` before it"


def test_pools_and_batch_norm_with_given_numbers() -> None:
    net = network(
        [
            ("average_pool", (2,), {"stride": 1, "padding": 1}),
            ("batch_norm", (), {"mean": 1, "variance": [3, 3], "gamma": 2, "epsilon": 1}),
            ("avgpool", ([3, 1],), {}),
            ("hardtanh", (), {}),
            ("dropout", (Fraction(1, 2),), {}),
        ],
        (2, 2, 2),
    )
    assert net.graph.shapes[net.graph.output] == (1, 2, 1, 3)
    first = [1, 2, 3, 4]
    # Windows of 2 x 2 with a border of zeros, minus 1, over sqrt(3 + 1), times 2; then columns.
    windows = [[Fraction(w, 4) - 1 for w in row] for row in ([1, 3, 2], [4, 10, 6], [3, 7, 4])]
    columns = [sum(column, Fraction(0)) / 3 for column in zip(*windows, strict=True)]
    expected = [min(max(c, Fraction(-1)), Fraction(1)) for c in columns]
    assert exact_output(net, [*first, *first]) == expected * 2
    point = np.array([*first, *first], dtype=np.float32).reshape(1, 2, 2, 2)
    ran = Runtime(net.model, "net").run(point)
    assert np.allclose(ran.reshape(-1), [float(v) for v in expected * 2], atol=1e-6)


def parsed(text: str, shape: tuple[int, ...]) -> ImportedNetwork:
    (item,) = parse(Source("t.spec", f"network f: A -> B {{ {text} }}")).items
    assert isinstance(item, syntax.Network)
    return build_network("f", item.layers, shape, lambda e: evaluate_constant(e, {}))


def test_skips_add_what_a_named_layer_gave() -> None:
    net = parsed(
        "layer c1 = dense(weight = [[1, 2], [3, 4]]) layer relu "
        "skip add(from = c1, by = dense(weight = [[1, 0], [0, -1]], bias = [1/3, 0])) "
        "skip add(from = input) init = ibp(seed = 0)",
        (2,),
    )
    x, y = Fraction(-2), Fraction(1, 7)
    c1 = [x + 2 * y, 3 * x + 4 * y]
    relu = [max(c, Fraction(0)) for c in c1]
    assert exact_output(net, [x, y]) == [relu[0] + c1[0] + THIRD + x, relu[1] - c1[1] + y]
    point = np.array([[float(x), float(y)]], dtype=np.float32)
    ran = Runtime(net.model, "f").run(point).reshape(-1)
    assert np.allclose(ran, [float(v) for v in exact_output(net, [x, y])], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("skip concat(from = input)", "E0620"),
        ("skip input", "E0620"),
        ("skip add(from = c9)", "E0620"),
        ("skip add(by = relu)", "E0620"),
        ("layer c = dense(weight = [[1, 1]]) skip add(from = input)", "E0621"),
        ("layer average_pool(2)", "E0621"),
        ("layer batch_norm", "E0622"),
        ("layer dense(3)", "E0622"),
        ("layer batch_norm(mean = 0, variance = 0, epsilon = 0)", "E0620"),
        ("layer batch_norm(mean = [1, 2, 3], variance = 0)", "E0621"),
    ],
)
def test_what_cannot_be_built_is_refused_where_it_stands(text: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        parsed(text, (2,))
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.primary is not None
