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
from specdsl.graph.layers import _BUILDERS, build_network
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.graph.runtime import Runtime
from specdsl.language import syntax
from specdsl.language.schemas import LAYERS
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
    assert set(_BUILDERS) == set(LAYERS.schemas)


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


def test_skips_and_settings_are_not_supported_yet() -> None:
    source = Source("net.spec", "skip add(from = a, by = b)")
    span = Span(source, 0, 4)
    name = syntax.Name("a", span=span)
    for layer in (syntax.Skip(name, span=span), syntax.Setting("init", name, span=span)):
        with pytest.raises(SpecError) as caught:
            build_network("net", [layer], (2,), lambda _: Fraction(0))
        assert caught.value.diagnostics[0].code == "E0901"
