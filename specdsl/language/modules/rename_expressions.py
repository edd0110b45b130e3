"""Names in expressions and types, rewritten to what they are called in the whole program.

The pass changes names and nothing else. It follows the scopes of the language: formal parameters,
binders, patterns and `let`s of a block hide what the file declares, and so are left alone.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from typing import TypeVar, cast

from specdsl.diagnostics import Diagnostics, diagnostic, suggestion
from specdsl.language import syntax
from specdsl.language.layer_schemas import INITIALIZERS, LAYERS
from specdsl.language.modules.namespaces import Namespace
from specdsl.language.schemas import (
    AUGMENTATIONS,
    BACKENDS,
    NETWORK_SOURCES,
    READERS,
    REPORTS,
    Table,
)
from specdsl.language.syntax import Expr, Node
from specdsl.source import Span

Locals = frozenset[str]
NOTHING_LOCAL: Locals = frozenset()

_N = TypeVar("_N", bound=Node)
_Slot = Expr | syntax.Slice | syntax.NamedArgument | syntax.Comprehension


# Arguments of these may be words of the language, never names.
TABLES: tuple[Table, ...] = (BACKENDS, READERS, LAYERS, NETWORK_SOURCES, REPORTS)


@cache
def _words(head: str, at: str | int) -> frozenset[str]:
    """What an argument of `head` may be that is no name; `at`: its name or position.

    Other arguments may well have a name that is a word elsewhere: `conv(width, kernel = 3)`.
    """
    found: set[str] = set()
    for schema in (table.schemas[head] for table in TABLES if head in table.schemas):
        option = schema.option(at) if isinstance(at, str) else None
        if isinstance(at, int):
            option = schema.options[at] if at < len(schema.options) else schema.rest
        found.update(() if option is None else option.choices)
    return frozenset(found)


# Heads that only mean something as the value of an option.
OPTION_HEADS = frozenset({"affine", *AUGMENTATIONS.schemas, *INITIALIZERS.schemas})


@cache
def setting_words(name: str) -> frozenset[str]:
    """What a setting in braces may be that is no name."""
    schemas = [schema for table in TABLES for schema in table.schemas.values()]
    options = [schema.option(name) for schema in schemas]
    return frozenset(word for option in options if option for word in option.choices)


class ExpressionRenamer:
    """Rewrites one file. What it cannot resolve is added to `diagnostics` and left as it is.

    `free` collects the names that nothing in the file declares: words of the language, or mistakes.
    """

    def __init__(self, space: Namespace, diagnostics: Diagnostics) -> None:
        self.space = space
        self.diagnostics = diagnostics
        self.free: dict[str, Span] = {}

    def declared(self, name: str) -> str:
        """What a name that this file declares is called in the whole program."""
        return self.space.prefix + name

    # --- expressions -----------------------------------------------------------------------------

    def expr(self, node: Expr, local: Locals) -> Expr:
        """An expression where the names in `local` hide those of the file."""
        return self._node(node, local)

    def _node(self, node: _N, local: Locals) -> _N:
        """Any node below a statement, with two frames of the stack a level: trees may be deep."""
        match node:
            case syntax.Name():
                return cast(_N, self._name(node, local))
            case syntax.Attribute():
                return cast(_N, self._attribute(node, local))
            case syntax.TypeName():
                return cast(_N, self._type(node, local))
            case syntax.NamedArgument(name="after", value=syntax.Name()):
                return node  # a layer of the network that is trained
            case syntax.Call():
                return cast(_N, self._call(node, local))
            case syntax.Quantifier() | syntax.Comprehension() | syntax.SetOf():
                return cast(_N, self._bound(node, local))
            case syntax.Subset(member=syntax.Membership(element=syntax.Name() as bound) as member):
                inner = replace(member, set=self._node(member.set, local))
                condition = self._node(node.condition, local | {bound.name})
                return cast(_N, replace(node, member=inner, condition=condition))
            case _:
                return self._rebuilt(node, local)

    def _rebuilt(self, node: _N, local: Locals) -> _N:
        """The node with its parts rewritten; none of them is bound here."""
        changed: dict[str, object] = {}
        for name in _parts(type(node)):
            value = getattr(node, name)
            if isinstance(value, Node):
                changed[name] = self._node(value, local)
            elif isinstance(value, tuple) and value and isinstance(value[0], Node):
                rewritten: list[Node] = []
                for each in cast(tuple[Node, ...], value):
                    rewritten.append(self._node(each, local))
                changed[name] = tuple(rewritten)
        return replace(node, **changed) if changed else node

    def _all(self, nodes: tuple[_N, ...], local: Locals) -> tuple[_N, ...]:
        return tuple([self._node(node, local) for node in nodes])

    def _binders(
        self, binders: tuple[syntax.Binder, ...], local: Locals
    ) -> tuple[tuple[syntax.Binder, ...], Locals]:
        """Each set sees the names bound before it."""
        rewritten: list[syntax.Binder] = []
        for binder in binders:
            rewritten.append(replace(binder, set=self._node(binder.set, local)))
            local |= set(binder.names)
        return tuple(rewritten), local

    def _bound(
        self, node: syntax.Quantifier | syntax.Comprehension | syntax.SetOf, local: Locals
    ) -> Node:
        binders, inner = self._binders(node.binders, local)
        where = None if node.where is None else self._node(node.where, inner)
        return replace(node, binders=binders, where=where, body=self._node(node.body, inner))

    def _call(self, node: syntax.Call, local: Locals) -> syntax.Call:
        kept = self._fields_among(node, local)
        if not kept:
            return self._rebuilt(node, local)
        arguments: list[_Slot] = []
        for position, argument in enumerate(node.arguments):
            arguments.append(argument if position in kept else self._node(argument, local))
        return replace(node, arguments=tuple(arguments))

    def _fields_among(self, node: syntax.Call, local: Locals) -> frozenset[int]:
        """Positions of the arguments that name fields of a space, not something declared."""
        head = head_of(node)
        if head in local or head in self.space.names:
            return frozenset()
        numbered = enumerate(node.arguments)
        if head == "same_except":
            return frozenset(i for i, a in numbered if i >= 2 and isinstance(a, syntax.Name))
        if head == "norm_ball":
            named = ((i, a) for i, a in numbered if isinstance(a, syntax.NamedArgument))
            return frozenset(i for i, a in named if a.name == "only")
        return frozenset()

    # --- closed words ----------------------------------------------------------------------------

    def _closed(self, node: Expr, local: Locals) -> Expr:
        """`word` or `word(options)` from a closed table: the word is no name of the file."""
        if isinstance(node, syntax.Name):
            return node
        if not isinstance(node, syntax.Call) or not isinstance(node.function, syntax.Name):
            return self._node(node, local)
        arguments: list[_Slot] = []
        head = node.function.name
        for position, argument in enumerate(node.arguments):
            if not isinstance(argument, syntax.NamedArgument):
                arguments.append(self._option(argument, local, _words(head, position)))
            elif argument.name == "from":  # a layer of the same network
                arguments.append(argument)
            elif argument.name == "by":
                arguments.append(replace(argument, value=self._closed(argument.value, local)))
            else:
                value = self._option(argument.value, local, _words(head, argument.name))
                arguments.append(replace(argument, value=value))
        return replace(node, arguments=tuple(arguments))

    def _option(self, node: _N, local: Locals, words: frozenset[str]) -> _N:
        """The value of an option, which may be one of some words of the language."""
        if isinstance(node, syntax.Name) and node.name in words:
            return node
        if isinstance(node, syntax.Call) and head_of(node) in OPTION_HEADS:
            return cast(_N, self._closed(node, local))
        return self._node(node, local)

    # --- names -----------------------------------------------------------------------------------

    def _name(self, node: syntax.Name, local: Locals) -> syntax.Name:
        name = node.name
        if name in local:
            return node
        if name in self.space.names:
            return replace(node, name=self.declared(name)) if self.space.prefix else node
        if name in self.space.modules:
            self._no_value(node, self.space.modules[name])
        elif name in self.space.broken:
            return replace(node, name=self.declared(name))
        else:
            self.free.setdefault(name, node.span)
        return replace(node, name=self.declared(name)) if self._is_alias(name) else node

    def _is_alias(self, name: str) -> bool:
        return name in self.space.modules or name in self.space.broken

    def _attribute(self, node: syntax.Attribute, local: Locals) -> Expr:
        module = self.module(node.base, local)
        if module is None:
            return self._rebuilt(node, local)
        if node.name in module.names:
            return syntax.Name(module.prefix + node.name, span=node.span)
        if node.name in module.modules:
            self._no_value(node, module.modules[node.name])
        elif node.name not in module.broken:
            self._missing(node.name, node.name_span, _text(node.base), module)
        # The checker knows the alias as something already reported, and says no more.
        return syntax.Name(module.prefix[:-1], span=node.span)

    def module(self, node: Expr, local: Locals = NOTHING_LOCAL) -> Namespace | None:
        """The module that an expression names, if it names one."""
        match node:
            case syntax.Name(name=name) if name not in local and name not in self.space.names:
                return self.space.modules.get(name)
            case syntax.Attribute(base=base, name=name):
                outer = self.module(base, local)
                if outer is None or name in outer.names:
                    return None
                return outer.modules.get(name)
            case _:
                return None

    def _type(self, node: syntax.TypeName, local: Locals) -> syntax.TypeName:
        renamed = self._rebuilt(node, local)
        first, *rest = node.name.split(".")
        if first in self.space.names:
            return replace(renamed, name=self.declared(node.name))
        if not self._is_alias(first):
            self.free.setdefault(node.name, node.span)
            return renamed
        module, written = self.space.modules.get(first), first
        for part in rest:
            if module is None:
                break
            if part in module.names:
                return replace(renamed, name=module.prefix + part)
            if part not in module.modules and part not in module.broken:
                self._missing(part, node.span, written, module)
                return replace(renamed, name=module.prefix + part)
            module, written = module.modules.get(part), f"{written}.{part}"
        if module is not None:
            self._no_value(node, module)
        return replace(renamed, name=self.declared(node.name))

    # --- findings --------------------------------------------------------------------------------

    def _missing(self, name: str, span: Span, written: str, module: Namespace) -> None:
        if any(run.options.name == name for run in module.runs):
            message = f"`{written}.{name}` is a check, not a value"
            help = f"run it: `check {written}.{name}`"
            self.diagnostics.add(diagnostic("E0212", message, span, help=help))
            return
        known = ", ".join(f"`{n}`" for n in sorted(module.members, key=str.lower))
        self.diagnostics.add(
            diagnostic(
                "E0211",
                f"the module `{written}` has nothing called `{name}`",
                span,
                label=suggestion(name, module.members) or "",
                help=f"{module.file} declares {known}" if known else f"{module.file} is empty",
            )
        )

    def _no_value(self, node: Node, module: Namespace) -> None:
        written = _text(node)
        names = ", ".join(f"`{written}.{n}`" for n in sorted(module.names, key=str.lower))
        self.diagnostics.add(
            diagnostic(
                "E0212",
                f"`{written}` is a module, not a value",
                node.span,
                help=f"pick something from it: {names}" if names else None,
            )
        )


def head_of(node: Expr) -> str | None:
    """The name of what is called."""
    if isinstance(node, syntax.Call) and isinstance(node.function, syntax.Name):
        return node.function.name
    return None


def _text(node: Node) -> str:
    return "".join(node.span.text.split())


@cache
def _parts(kind: type[Node]) -> tuple[str, ...]:
    """The fields of a node that may hold nodes."""
    plain = {"span", "name_span", "name", "names", "operator", "operators", "kind"}
    return tuple(f.name for f in fields(kind) if f.name not in plain)
