"""Statements of one file, under the names they have in the whole program."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar, cast

from specdsl.language import syntax
from specdsl.language.modules.rename_expressions import (
    NOTHING_LOCAL,
    ExpressionRenamer,
    Locals,
    head_of,
    setting_words,
)
from specdsl.language.schemas import NETWORK_SOURCES
from specdsl.language.syntax import Node

_N = TypeVar("_N", bound=Node)


class Renamer(ExpressionRenamer):
    """Rewrites one file, statement by statement."""

    # --- statements ------------------------------------------------------------------------------

    def item(self, node: syntax.Item) -> syntax.Item:
        """A statement, under its name in the whole program."""
        match node:
            case syntax.Import(alias=alias):
                named = None if alias is None else self.declared(alias)
                return replace(node, alias=named, settings=self._all(node.settings, NOTHING_LOCAL))
            case syntax.Let(names=names):
                renamed = self._function(node, node.parameters)
                return replace(renamed, names=tuple(map(self.declared, names)))
            case syntax.Train():
                return self._train(node)
            case syntax.Check() | syntax.Optimize() | syntax.Search():
                return self.run(node)
            case _:
                renamed = self._declaration(node)
                return cast(syntax.Item, replace(renamed, name=self.declared(node.name)))

    def run(
        self, node: syntax.Check | syntax.Optimize | syntax.Search
    ) -> syntax.Check | syntax.Optimize | syntax.Search:
        """A check or query; its own name stays as it is."""
        options = self.options(node.options)
        match node:
            case syntax.Check(properties=properties):
                claims = self._all(properties, NOTHING_LOCAL)
                return replace(node, properties=claims, options=options)
            case syntax.Optimize():
                per, inner = self._binders(node.per, NOTHING_LOCAL)
                binders, inner = self._binders(node.binders, inner)
                where = None if node.where is None else self.expr(node.where, inner)
                objective = self.expr(node.objective, inner)
                return replace(
                    node,
                    objective=objective,
                    binders=binders,
                    where=where,
                    per=per,
                    options=options,
                )
            case syntax.Search():
                per, inner = self._binders(node.per, NOTHING_LOCAL)
                tolerance = node.tolerance
                return replace(
                    node,
                    interval=self._node(node.interval, NOTHING_LOCAL),
                    tolerance=None if tolerance is None else self.expr(tolerance, NOTHING_LOCAL),
                    condition=self.expr(node.condition, inner | {node.name}),
                    per=per,
                    options=options,
                )

    def options(self, node: syntax.Options) -> syntax.Options:
        """`using`, `report` and `expect`."""
        using = None if node.using is None else self._closed(node.using, NOTHING_LOCAL)
        return replace(
            node,
            using=using,
            reports=tuple(self._closed(each, NOTHING_LOCAL) for each in node.reports),
            expects=self._all(node.expects, NOTHING_LOCAL),
        )

    def _declaration(self, node: syntax.Declaration) -> syntax.Declaration:
        match node:
            case syntax.Region():
                return self._function(node, node.parameters)
            case syntax.Property():
                return self._property(node)
            case syntax.Network():
                return self._network(node)
            case syntax.Dataset():
                return replace(
                    node,
                    type=self._node(node.type, NOTHING_LOCAL),
                    value=self._closed(node.value, NOTHING_LOCAL),
                    settings=tuple(self._setting(each) for each in node.settings),
                )
            case syntax.Space():
                return replace(node, fields=tuple(self._field(each) for each in node.fields))
            case syntax.System():
                return self._system(node)
            case _:  # param, const, enum: nothing in them is local
                return self._rebuilt(node, NOTHING_LOCAL)

    def _function(self, node: _N, parameters: tuple[syntax.Parameter, ...] | None) -> _N:
        """A `let` or `region` at the top level: its parameters are local to its value."""
        formals = None if parameters is None else self._all(parameters, NOTHING_LOCAL)
        local = frozenset(p.name for p in parameters or ())
        changed: dict[str, object] = {"parameters": formals}
        changed["value"] = self.expr(node.value, local)  # type: ignore[attr-defined]
        if isinstance(node, syntax.Let) and node.type is not None:
            changed["type"] = self._node(node.type, NOTHING_LOCAL)
        return replace(node, **changed)

    def _property(self, node: syntax.Property) -> syntax.Property:
        formals = None if node.parameters is None else self._all(node.parameters, NOTHING_LOCAL)
        local = frozenset(p.name for p in node.parameters or ())
        value = None if node.value is None else self.expr(node.value, local)
        clauses: list[syntax.Clause] = []
        for clause in node.clauses:
            match clause:
                case syntax.QuantifierClause():
                    binders, local = self._binders(clause.binders, local)
                    clauses.append(replace(clause, binders=binders))
                case syntax.Let():
                    clauses.append(self._local_let(clause, local))
                    local |= set(clause.names)
                case _:
                    clauses.append(self._node(clause, local))
        return replace(node, parameters=formals, value=value, clauses=tuple(clauses))

    def _local_let(self, clause: syntax.Let, local: Locals) -> syntax.Let:
        formals = clause.parameters
        inner = local | {p.name for p in formals or ()}
        return replace(
            clause,
            parameters=None if formals is None else self._all(formals, local),
            type=None if clause.type is None else self._node(clause.type, local),
            value=self.expr(clause.value, inner),
        )

    def _network(self, node: syntax.Network) -> syntax.Network:
        value = node.value
        if value is not None:
            read = head_of(value) in {*NETWORK_SOURCES.schemas, *NETWORK_SOURCES.later}
            value = (self._closed if read else self.expr)(value, NOTHING_LOCAL)
        return replace(
            node,
            input_type=self._node(node.input_type, NOTHING_LOCAL),
            output_type=self._node(node.output_type, NOTHING_LOCAL),
            value=value,
            layers=tuple(self._layer(layer) for layer in node.layers),
        )

    def _layer(
        self, node: syntax.Layer | syntax.Skip | syntax.Setting
    ) -> syntax.Layer | syntax.Skip | syntax.Setting:
        if isinstance(node, syntax.Setting):
            return self._setting(node)
        return replace(node, value=self._closed(node.value, NOTHING_LOCAL))

    def _field(self, node: syntax.SpaceField) -> syntax.SpaceField:
        """`encode` takes a word of the language."""
        return replace(self._rebuilt(node, NOTHING_LOCAL), encode=node.encode)

    def _setting(self, node: syntax.Setting) -> syntax.Setting:
        return replace(
            node, value=self._option(node.value, NOTHING_LOCAL, setting_words(node.name))
        )

    def _system(self, node: syntax.System) -> syntax.System:
        """The names of its lines are local to the whole block."""
        local = frozenset(item.name for item in node.items)
        return replace(node, items=self._all(node.items, local))

    def _train(self, node: syntax.Train) -> syntax.Train:
        """Schedules and attacks of a `let` are known in the whole block, to a `let` those above."""
        lets = [i for i in node.items if isinstance(i, syntax.TrainItem) and i.name is not None]
        every = frozenset(item.name for item in lets if item.name is not None)
        items: list[syntax.TrainLine] = []
        local = NOTHING_LOCAL
        for item in node.items:
            is_let = isinstance(item, syntax.TrainItem) and item.name is not None
            items.append(self._node(item, local if is_let else every))
            if isinstance(item, syntax.TrainItem) and item.name is not None:
                local |= {item.name}
        network, data = (self.expr(each, NOTHING_LOCAL) for each in (node.network, node.data))
        others = tuple(self.expr(each, NOTHING_LOCAL) for each in node.others)
        return replace(node, network=network, data=data, items=tuple(items), others=others)
