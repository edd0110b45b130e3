"""A VNN-LIB 2.0 file and its networks as a `Query`. The file states the unsafe set already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError, suggestion
from specdsl.graph.graph import NodeId
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.language.spec import NetworkDeclaration
from specdsl.language.types import TensorType
from specdsl.query.elaboration.questions.assemble import MAX_CASES, Assembly, bound_of
from specdsl.query.elaboration.questions.emission import emit
from specdsl.query.elaboration.questions.layout import Layout, lay_out, shown_variables
from specdsl.query.elaboration.values.formula import (
    Below,
    Formula,
    TooManyClauses,
    compare,
    conjunction,
    disjunction,
)
from specdsl.query.elaboration.values.networks import Affine, LoadedNetwork, Port
from specdsl.query.elaboration.values.regions import Region, Unbounded
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import EntryArray, Linear, entries, weighted
from specdsl.query.query import Case, Nonlinear, Query
from specdsl.query.vnnlib import v2_tree as tree
from specdsl.query.vnnlib.forms import shown, too_many_cases
from specdsl.query.vnnlib.v2_ties import Ties

TAKEN = tree.REALS | {"float32"}
"""Element types of variables whose networks can be imported."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundQuery:
    """A query, and what its flat input stands for.

    `places`: for every declared input, where its entries stand in the flat input; -1 where the file
    defines an entry by others (`ties`).
    """

    query: Query
    specification: tree.Specification
    networks: Mapping[str, ImportedNetwork]
    ties: Ties
    places: Mapping[str, npt.NDArray[np.int64]]


def bind(specification: tree.Specification, networks: Mapping[str, ImportedNetwork]) -> BoundQuery:
    """Join a file to the networks it declares without `equal-to`, by name.

    Raises SpecError: E1006 an input without a bound, E1007 too many cases, E1009 and E1011 networks
    that do not fit, E1012 networks missing or left over.
    """
    _check_names(specification, networks)
    return _Binder(specification, networks).bind()


def _check_names(
    specification: tree.Specification, networks: Mapping[str, ImportedNetwork]
) -> None:
    wanted = {n.name: n for n in specification.networks if n.relation != "equal-to"}
    for name, network in wanted.items():
        if name not in networks:
            help_ = f"add `--network {name}=FILE.onnx`"
            text = f"no file is given for the network `{name}`"
            raise specification.error("E1012", text, network.start, help_)
    extra = sorted(set(networks) - set(wanted))
    if extra:
        hint = suggestion(extra[0], wanted)
        others = {n.name for n in specification.networks} - set(wanted)
        if extra[0] in others:
            hint = f"`{extra[0]}` is equal to another network and takes that one's file"
        text = f"`{specification.source.name}` declares no network `{extra[0]}` with a file"
        raise SpecError.of("E1012", text, help=hint)


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the axes of one entry, by which files and models differ."""
    return tuple(n for n in shape if n != 1)


@dataclass(slots=True)
class _Binder:
    specification: tree.Specification
    networks: Mapping[str, ImportedNetwork]
    scene: Scene = field(default_factory=Scene)
    ties: Ties = field(init=False)
    loaded: dict[str, LoadedNetwork] = field(default_factory=dict)
    values: dict[str, EntryArray] = field(default_factory=dict)
    free: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ties = Ties(self.specification)

    def bind(self) -> BoundQuery:
        for network in self.specification.networks:
            self._load(network)
        for network in self.specification.networks:
            for variable in network.of("input"):
                self._quantify(variable)
        by_name = {network.name: network for network in self.specification.networks}
        for step in self.ties.order():
            if isinstance(step, str):
                self._call(by_name[step])
            else:
                self.values[step[0]][step[1]] = self._number(self.ties.definitions[step])
        bounds, rest = self._assertions()
        layout = _tightened(lay_out(self.scene), bounds)
        assembly = Assembly(self.scene, layout)
        cases = self._cases(assembly, conjunction(rest))
        emitted = emit(self.scene, layout, tuple(assembly.rows))
        name = self.specification.source.name
        query = Query(
            name=name,
            graph=emitted.graph,
            cases=cases,
            variables=shown_variables(self.scene, layout),
            calls=emitted.calls,
            property_name=name,
            nonlinear=tuple(self.scene.nonlinear),
        )
        return BoundQuery(query, self.specification, self.networks, self.ties, self.free)

    # --- networks and variables -----------------------------------------------------------------

    def _load(self, network: tree.Network) -> None:
        if network.relation == "equal-to":
            self.loaded[network.name] = self.loaded[network.model]
            return
        imported = self.networks[network.name]
        graph = imported.graph
        ports: list[tuple[Port, ...]] = []
        sides: tuple[tuple[tree.Kind, tuple[NodeId, ...]], ...] = (
            ("input", graph.inputs),
            ("output", graph.outputs),
        )
        for kind, nodes in sides:
            declared = network.of(kind)
            if len(declared) != len(nodes):
                text = (
                    f"`{network.name}` is declared with {len(declared)} {kind}s, but its network "
                    f"has {len(nodes)}"
                )
                raise self.specification.error("E1009", text, network.start)
            for variable, node in zip(declared, nodes, strict=True):
                self._check_variable(variable, graph.shapes[node])
            ports.append(tuple(_port(variable) for variable in declared))
        for variable in network.of("hidden"):
            self._check_hidden(variable, imported)
        declaration = NetworkDeclaration(
            network.name,
            TensorType(network.of("input")[0].shape),
            TensorType(network.of("output")[0].shape),
            onnx=None,
            layers=(),
            span=self.specification.span(network.start),
        )
        self.loaded[network.name] = LoadedNetwork(imported, declaration, *ports)

    def _check_variable(self, variable: tree.Declaration, shape: tuple[int, ...]) -> None:
        if _squeezed(variable.shape) != _squeezed(shape):
            text = f"`{variable.name}` has shape {list(variable.shape)}, its network {list(shape)}"
            raise self.specification.error("E1009", text, variable.start)
        if variable.element not in TAKEN:
            text = f"`{variable.name}` is {variable.element}, its network computes in float32"
            raise self.specification.error("E1011", text, variable.start)

    def _check_hidden(self, variable: tree.Declaration, imported: ImportedNetwork) -> None:
        known = imported.value_nodes
        value = variable.value or ""
        if value not in known:
            text = f"the network `{imported.name}` has no value `{value}`"
            names = list(known)
            hint = suggestion(value, names) or "its values are " + ", ".join(
                f"`{n}`" for n in names[:12]
            )
            raise self.specification.error("E1009", text, variable.start, hint)
        self._check_variable(variable, imported.graph.shapes[known[value]])

    def _quantify(self, variable: tree.Declaration) -> None:
        """Make the entries without a definition a variable of the scene."""
        tied = [
            (variable.name, position) in self.ties.definitions for position in range(variable.size)
        ]
        values = np.empty(variable.size, dtype=object)
        places = np.full(variable.size, -1, dtype=np.int64)
        free = np.flatnonzero(~np.array(tied, dtype=bool))
        if free.size:
            shape = variable.shape if free.size == variable.size else (free.size,)
            nothing = np.full(free.size, None, dtype=object)
            places[free] = self.scene.input_size + np.arange(free.size)
            span = self.specification.span(variable.start)
            region = Region(shape, None, nothing, nothing.copy())
            values[free] = self.scene.quantify(variable.name, region, span).flat
        self.values[variable.name], self.free[variable.name] = values, places

    def _call(self, network: tree.Network) -> None:
        loaded = self.loaded[network.name]
        arguments = [self.values[variable.name] for variable in network.of("input")]
        said = self.scene.call(loaded, arguments)
        for variable, tensor in zip(network.of("output"), said, strict=True):
            self.values[variable.name] = tensor.flat
        for variable in network.of("hidden"):
            hidden = self.scene.hidden(loaded, variable.value or "", arguments)
            self.values[variable.name] = hidden.flat

    # --- formulas -------------------------------------------------------------------------------

    def _assertions(self) -> tuple[list[Below], list[Formula]]:
        """Closed bounds that hold in every case, and the other assertions."""
        bounds: list[Below] = []
        rest: list[Formula] = []
        for part in self.ties.rest:
            formula = self._formula(part)
            if (
                isinstance(formula, Below)
                and not formula.strict
                and bound_of(formula.expression, formula.strict)
            ):
                bounds.append(formula)
            else:
                rest.append(formula)
        return bounds, rest

    def _formula(self, formula: tree.Formula) -> Formula:
        """Depth is capped by the reader of the text."""
        if isinstance(formula, tree.Comparison):
            left, right = self._number(formula.left), self._number(formula.right)
            return compare(formula.comparator, left, right)
        parts = (self._formula(part) for part in formula.parts)
        return conjunction(parts) if formula.kind == "and" else disjunction(parts)

    def _number(self, expression: tree.Expression) -> Fraction | Linear:
        match expression:
            case tree.Number(value):
                return value
            case tree.Reference(variable, position):
                return self.values[variable][position]
            case tree.Operation("*", operands):
                return self._products([operands], expression)[0]
            case tree.Operation(operator, operands):
                terms = self._terms(operands, expression)
                if len(terms) == 1:
                    return -terms[0]
                others = Fraction(1 if operator == "+" else -1)
                signs = [Fraction(1), *[others] * (len(terms) - 1)]
                return weighted(signs, terms, Fraction(0))

    def _terms(
        self, operands: Sequence[tree.Expression], place: tree.Operation
    ) -> list[Fraction | Linear]:
        """The operands' values; products among them are computed together, as one step."""
        products = [o for o in operands if isinstance(o, tree.Operation) and o.operator == "*"]
        made = iter(self._products([p.operands for p in products], place))
        chosen = {id(product) for product in products}
        return [next(made) if id(o) in chosen else self._number(o) for o in operands]

    def _products(
        self, products: Sequence[Sequence[tree.Expression]], place: tree.Operation
    ) -> list[Fraction | Linear]:
        """Products of any numbers of factors, factor by factor."""
        factors = [[self._number(factor) for factor in product] for product in products]
        results = [product[0] for product in factors]
        for number in range(1, max(map(len, factors), default=0)):
            there = [i for i, product in enumerate(factors) if len(product) > number]
            left = entries((results[i] for i in there), (len(there),))
            right = entries((factors[i][number] for i in there), (len(there),))
            said = self.scene.multiply(left, right, self._place(place))
            for i, value in zip(there, said, strict=True):
                results[i] = value
        return results

    def _place(self, operation: tree.Operation) -> Nonlinear:
        span = self.specification.span(operation.start)
        return Nonlinear(shown(span.text, MAX_SHOWN), span)

    # --- cases ----------------------------------------------------------------------------------

    def _cases(self, assembly: Assembly, formula: Formula) -> tuple[Case, ...]:
        try:
            return assembly.cases(formula)
        except TooManyClauses as error:
            source = self.specification.source
            raise too_many_cases(source, error.count, MAX_CASES, 0) from error
        except Unbounded as error:
            raise self._unbounded(error.position) from error

    def _unbounded(self, position: int) -> SpecError:
        for name, places in self.free.items():
            here = np.flatnonzero(places == position)
            if here.size:
                variable = self.ties.variables[name]
                entry = variable.entry(int(here[0]))
                help_ = f"add `(assert (and (>= {entry} ...) (<= {entry} ...)))`"
                text = f"`{entry}` has no lower or no upper bound"
                return self.specification.error("E1006", text, variable.start, help_)
        raise AssertionError("every entry of the flat input is one of a variable")


MAX_SHOWN = 80
"""Longer products are cut in messages."""


def _port(variable: tree.Declaration) -> Port:
    ones = np.full(variable.size, Fraction(1), dtype=object)
    zeros = np.full(variable.size, Fraction(0), dtype=object)
    return Port(variable.name, variable.shape, Affine(ones, zeros))


def _tightened(layout: Layout, bounds: Sequence[Below]) -> Layout:
    """The layout within bounds that hold in every case."""
    lower, upper = layout.lower.copy(), layout.upper.copy()
    for below in bounds:
        bound = bound_of(below.expression, strict=False)
        if bound is None:
            continue
        side, choose = (upper, min) if bound.upper else (lower, max)
        old = side[bound.position]
        side[bound.position] = bound.value if old is None else choose(old, bound.value)
    return replace(layout, lower=lower, upper=upper)
