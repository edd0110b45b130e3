"""Any syntax tree the grammar can produce, for hypothesis. All spans are empty."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from specdsl.language import syntax as s
from specdsl.source import Source, Span

HERE = Span(Source("tree", ""), 0, 0)

PLAIN_NAMES = ("a", "b", "x1", "_", "inside", "forall_x", "letter", "e5", "COC", "nothing", "ifs")
KEYWORDS = (
    *("spec", "import", "param", "const", "enum", "space", "network", "dataset", "region", "let"),
    *("property", "system", "train", "check", "maximize", "minimize", "largest", "smallest", "as"),
    *("with", "layer", "skip", "show", "state", "action", "noise", "next", "on", "regularize"),
    *(
        "constrain",
        "save",
        "stage",
        "prune",
        "keep",
        "certify",
        "best",
        "over",
        "tol",
        "such",
        "that",
        "using",
        "report",
        "expect",
    ),
    *("by", "normalize", "encode"),
)
"""Contextual keywords, which are names wherever a name may stand."""

names = words = st.sampled_from([*PLAIN_NAMES, *KEYWORDS])
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=6)
units = st.sampled_from(["m", "m/s", "EUR", "kg*m^2", "°C"])


def make(kind: type, *args: Any, **kwargs: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, *args, span=st.just(HERE), **kwargs)


def several(strategy: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[Any]:
    return st.lists(strategy, min_size=least, max_size=least + 2).map(tuple)


def perhaps(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def numbers(draw: st.DrawFn) -> s.Number:
    whole = draw(st.sampled_from(["0", "7", "12", "1_000", "007"]))
    part = draw(st.sampled_from(["", ".5", ".25", ".1_0", ".0"]))
    power = draw(st.sampled_from([None, 0, 3, -2]))
    digits = part.replace("_", "").removeprefix(".")
    value = Fraction(int(whole.replace("_", "") + digits), 10 ** len(digits))
    value *= Fraction(10) ** (power or 0)
    text = whole + part + ("" if power is None else f"{draw(st.sampled_from('eE'))}{power}")
    return s.Number(value, text, draw(perhaps(units)), span=HERE)


atoms = numbers() | make(s.String, texts) | make(s.Boolean, st.booleans()) | make(s.Name, names)


def operators(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Expressions with operators, where parentheses matter."""
    binary = st.sampled_from(["+", "-", "*", "/", "@", ">>", "&", "^", "and", "or", "=>"])
    signs = st.sampled_from(["<=", ">=", "==", "!=", "<", ">"])
    comparison = st.lists(st.tuples(signs, inner), min_size=1, max_size=2).flatmap(
        lambda tail: make(
            s.Comparison,
            inner.map(lambda first: (first, *(each for _, each in tail))),
            st.just(tuple(sign for sign, _ in tail)),
        )
    )
    return (
        make(s.Binary, binary, inner, inner)
        | make(s.Unary, st.sampled_from(["-", "not"]), inner)
        | comparison
        | make(s.Membership, inner, inner, st.booleans())
        | make(s.Range, inner, inner)
        | make(s.Attribute, inner, names, st.just(HERE))
    )


def binders_over(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return several(make(s.Binder, several(names, 1), inner), 1)


def compounds(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any expression around others."""
    binders = binders_over(inner)
    comprehension = make(s.Comprehension, inner, binders, perhaps(inner))
    argument = inner | make(s.NamedArgument, names, inner) | comprehension
    member = make(s.Membership, make(s.Name, names), inner, st.just(False))
    return (
        operators(inner)
        | make(s.Index, inner, several(inner | make(s.Slice, perhaps(inner), perhaps(inner)), 1))
        | make(s.Call, inner, several(argument))
        | make(s.Call, inner, st.tuples(comprehension))
        | make(s.IfThenElse, inner, inner, inner)
        | make(s.Quantifier, st.sampled_from(["forall", "exists"]), binders, perhaps(inner), inner)
        | make(s.Tuple, several(inner, 2))
        | make(s.List, several(inner))
        | make(s.Absolute, inner)
        | make(s.SetOf, inner, binders, perhaps(inner))
        | make(s.Subset, member, inner)
    )


operations = st.recursive(atoms, operators, max_leaves=8)
expressions = st.recursive(atoms, compounds, max_leaves=8)
small = st.recursive(atoms, compounds, max_leaves=3)

_dotted = names | st.tuples(names, names).map(".".join)
type_names = make(s.TypeName, _dotted, perhaps(several(small, 1)), perhaps(units))
types = st.recursive(
    type_names,
    lambda inner: make(s.TypeTuple, several(make(s.TypeSlot, perhaps(names), inner), 2)),
    max_leaves=3,
)

binders = binders_over(small)
intervals = make(s.Interval, small, small)
settings = make(s.Setting, words, small)
formals = perhaps(several(make(s.Parameter, names, perhaps(types))))
lets = make(s.Let, names.map(lambda name: (name,)), formals, perhaps(types), small) | make(
    s.Let, several(names, 2), st.none(), perhaps(types), small
)


def declared(kind: type, **fields: Any) -> st.SearchStrategy[Any]:
    return make(kind, names, st.just(HERE), **fields)


_field = make(
    s.SpaceField,
    words,
    st.just(HERE),
    type=types,
    interval=perhaps(intervals),
    normalize=perhaps(several(small | make(s.NamedArgument, names, small))),
    encode=perhaps(small),
)
_layer = make(s.Layer, perhaps(names), small) | make(s.Skip, small) | settings
_network = st.booleans().flatmap(
    lambda block: declared(
        s.Network,
        input_type=types,
        output_type=types,
        value=st.none() if block else small,
        layers=several(_layer) if block else st.just(()),
    )
)
_network_block = declared(
    s.Network,
    input_type=type_names,
    output_type=type_names,
    value=st.none(),
    layers=st.tuples(make(s.Layer, perhaps(names), small), make(s.Skip, small)),
)
_quantifier_clause = make(s.QuantifierClause, st.sampled_from(["forall", "exists"]), binders)
_clause = _quantifier_clause | make(s.WhereClause, small) | make(s.ShowClause, small) | lets
# Trees this large are seldom drawn unless they stand in the list of items by themselves.
_property = declared(s.Property, parameters=formals, value=small, clauses=st.just(()))
_property_block = declared(
    s.Property,
    parameters=formals,
    value=st.none(),
    clauses=several(_clause, 1) | st.just(()),
)
_quantified_block = declared(
    s.Property,
    parameters=formals,
    value=st.none(),
    clauses=st.tuples(_quantifier_clause, make(s.ShowClause, small)),
)
_system_item = make(s.SystemItem, st.just("state"), names, types, perhaps(small)) | make(
    s.SystemItem, st.sampled_from(["action", "noise", "next"]), names, st.none(), small
)
_stage_item = (
    settings
    | make(s.TrainItem, st.sampled_from(["minimize", "regularize", "prune"]), small)
    | make(s.TrainItem, st.just("constrain"), small, by=perhaps(small))
    | make(s.TrainItem, st.just("let"), small, name=names)
)
_keep = make(s.Keep, small, small, perhaps(small))
_certify = make(s.Certify, small, small, several(small))
_stage = make(s.Stage, names, several(_stage_item))
_train_item = _stage_item | make(s.TrainItem, st.just("save"), small) | _keep | _certify | _stage
_options = make(s.Options, perhaps(names), perhaps(small), several(small), several(small))

KINDS: tuple[st.SearchStrategy[Any], ...] = (
    make(s.Import, make(s.String, texts), perhaps(names), several(settings)),
    declared(s.Param, type=perhaps(types), default=perhaps(small), interval=perhaps(intervals)),
    declared(s.Const, type=perhaps(types), value=small),
    declared(s.Enum, labels=several(names, 1)),
    declared(s.Space, fields=several(_field)),
    _network,
    _network_block,
    declared(s.Dataset, type=types, value=small, settings=several(settings)),
    declared(s.Region, parameters=formals, value=small),
    lets,
    _property,
    _property_block,
    _quantified_block,
    declared(s.System, items=several(_system_item, 1) | st.just(())),
    make(s.Train, small, small, several(_train_item)),
    make(s.Train, small, small, st.tuples(_keep, _stage), several(small, 1)),
    make(s.Check, several(small, 1), _options),
    make(
        s.Optimize,
        st.sampled_from(["maximize", "minimize"]),
        *(small, binders, perhaps(small), st.just(()) | binders, _options),
    ),
    make(
        s.Search,
        st.sampled_from(["largest", "smallest"]),
        *(names, intervals, perhaps(small), small, st.just(()) | binders, _options),
    ),
)
"""One strategy for each kind of statement; several for kinds that would seldom be large."""
items = st.one_of(*KINDS)
programs = make(s.Program, perhaps(st.just("1.0")), several(items))
