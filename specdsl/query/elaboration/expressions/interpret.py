"""What an expression of a property means once files are at hand: exact tensors and formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.constants import MAX_CALL_DEPTH, NORMS
from specdsl.language.spec import Spec
from specdsl.query.elaboration.expressions.access import (
    apply_network,
    attribute,
    hidden_value,
    index,
    loops_later,
    subset,
)
from specdsl.query.elaboration.expressions.arithmetic import magnitude, numeric
from specdsl.query.elaboration.expressions.operators import comparison, operation
from specdsl.query.elaboration.expressions.unrolling import comprehended, unrolled
from specdsl.query.elaboration.values import regions
from specdsl.query.elaboration.values.environment import (
    EMPTY,
    Closure,
    Environment,
    Fixed,
    Local,
    Sample,
    SamplePart,
    Thunk,
    body_environment,
    clauses_of,
    let_locals,
    thunks,
)
from specdsl.query.elaboration.values.formula import (
    Formula,
    conjunction,
    disjunction,
    negate,
    truth,
)
from specdsl.query.elaboration.values.known import decide, winner
from specdsl.query.elaboration.values.meaning import (
    Choice,
    Claim,
    DatasetValue,
    FieldLabel,
    Group,
    ImageSet,
    Meaning,
    Truths,
    misfit,
    value_meaning,
)
from specdsl.query.elaboration.values.networks import (
    Composition,
    HiddenValue,
    LoadedNetwork,
    Smoothed,
)
from specdsl.query.elaboration.values.regions import FiniteSet, Member, Region
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.elaboration.values.samples import members, sample_part
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import Prediction, Tensor, constant

BuiltIn = Callable[["Interpreter", syntax.Call, Environment], "Meaning"]
"""The meaning of a call of one of the language's own functions."""


class Interpreter:
    """Gives expressions their meaning for one obligation, in the scene of its query."""

    def __init__(
        self, spec: Spec, scene: Scene, resources: Resources, builtins: Mapping[str, BuiltIn]
    ) -> None:
        self.spec = spec
        self.scene = scene
        self.resources = resources
        self.builtins = builtins
        # Arguments are named many times but evaluated once. The thunk is kept with its value, so
        # that its identity is not reused.
        self._thunks: dict[int, tuple[Thunk, Meaning]] = {}
        self._lets: dict[str, Local] = {}

    # --- entries ---------------------------------------------------------------------------------

    def meaning(self, expression: syntax.Expr, environment: Environment) -> Meaning:
        """The meaning of any expression. Raises SpecError placed at the expression at fault."""
        if environment.depth > MAX_CALL_DEPTH:
            raise SpecError.of("E0205", "calls nest too deeply", expression.span)
        try:
            return self._meaning(expression, environment)
        except SpecError as error:
            raise error.at(expression.span) from error

    def tensor(self, expression: syntax.Expr, environment: Environment) -> Tensor:
        """An expression that is a tensor of numbers."""
        found = self.meaning(expression, environment)
        try:
            tensor = numeric(found, self.scene)
        except SpecError as error:
            raise error.at(expression.span) from error
        if tensor is None:
            raise misfit("a number or tensor", expression)
        return tensor

    def formula(self, expression: syntax.Expr, environment: Environment) -> Formula:
        """An expression that is true or false."""
        found = self.meaning(expression, environment)
        match found:
            case Claim(formula):
                return formula
            case Truths(parts) if len(parts) == 1:
                return parts[0]
            case _:
                raise misfit("a claim", expression)

    def truth(self, expression: syntax.Expr, environment: Environment) -> bool | None:
        """A claim's truth value where it is a constant, else None."""
        formula = decide(self.formula(expression, environment), self.scene)
        for value in (True, False):
            if formula == truth(value):
                return value
        return None

    def number(self, expression: syntax.Expr, environment: Environment) -> Fraction:
        """An expression that is one constant number, or the label that a network gives a constant.

        Raises SpecError E0312 where that label is undecided because the best scores tie.
        """
        found = self.meaning(expression, environment)
        label = winner(found, self.scene) if isinstance(found, Prediction) else None
        if label is not None:
            if label < 0:
                text = "the best scores tie, so there is no label"
                raise SpecError.of("E0312", text, expression.span)
            return Fraction(label)
        if isinstance(found, Tensor) and isinstance(found.scalar, Fraction):
            return found.scalar
        raise misfit("a constant number", expression)

    def integer(self, expression: syntax.Expr, environment: Environment) -> int:
        """An expression that is one constant whole number."""
        found = self.number(expression, environment)
        if found.denominator != 1:
            raise misfit("a whole number", expression)
        return int(found)

    def set(
        self, expression: syntax.Expr, environment: Environment
    ) -> Region | FiniteSet | ImageSet:
        """An expression after `in`. A dataset becomes its members."""
        if isinstance(expression, syntax.List):
            if len(expression.items) != 2:
                raise misfit("an interval `[a, b]`", expression)
            low, high = (self.tensor(end, environment) for end in expression.items)
            return regions.interval(low, high)
        found = self.meaning(expression, environment)
        match found:
            case Region() | FiniteSet() | ImageSet():
                return found
            case DatasetValue():
                return members(found, self.spec, self.resources, expression.span)
            case _:
                raise misfit("a set", expression)

    def resolve(self, local: Local) -> Meaning:
        """The meaning of what a local name is bound to."""
        match local:
            case Thunk():
                return self._force(local)
            case SamplePart(sample, part):
                return self.sample(sample, part)
            case Fixed(value):
                return value  # type: ignore[return-value]
            case _:
                return local

    # --- dispatch --------------------------------------------------------------------------------

    def _meaning(self, expression: syntax.Expr, environment: Environment) -> Meaning:
        match expression:
            case syntax.Number(value=value):
                return constant(value)
            case syntax.String(value=text):
                return text
            case syntax.Boolean(value=value):
                return Claim(truth(value))
            case syntax.Name():
                return self._name(expression, environment)
            case syntax.Attribute():
                return attribute(expression, environment, self)
            case syntax.Index():
                return index(expression, environment, self)
            case syntax.Call():
                return self._call(expression, environment)
            case syntax.Unary() | syntax.Binary():
                return operation(expression, environment, self)
            case syntax.Comparison() | syntax.Membership():
                return comparison(expression, environment, self)
            case _:
                return self._composite(expression, environment)

    def _composite(self, expression: syntax.Expr, environment: Environment) -> Meaning:
        match expression:
            case syntax.Quantifier():
                return Claim(unrolled(clauses_of(expression), environment, self))
            case syntax.IfThenElse(condition=condition, yes=yes, no=no):
                decided = self.truth(condition, environment)
                if decided is None:
                    return self._choice(condition, yes, no, environment)
                return self.meaning(yes if decided else no, environment)
            case syntax.Range(first=first, last=last):
                low, high = self.integer(first, environment), self.integer(last, environment)
                numbers = range(low, high + 1)
                return FiniteSet(tuple(Member(constant(Fraction(n)), str(n)) for n in numbers))
            case syntax.Tuple(items=items):
                return tuple(self.meaning(item, environment) for item in items)
            case syntax.List(items=items):
                values = [self.tensor(item, environment).values for item in items]
                if len({v.shape for v in values}) != 1:
                    raise misfit("a list of equal shapes", expression)
                return Tensor(np.stack(values))
            case syntax.Absolute(operand=operand):
                return magnitude(self.meaning(operand, environment), self.scene)
            case syntax.Subset():
                return subset(expression, environment, self)
            case syntax.SetOf():
                return self._image(expression, environment)
            case _:
                raise SpecError.of("E0901", "this is not supported yet", expression.span)

    def _choice(
        self, condition: syntax.Expr, yes: syntax.Expr, no: syntax.Expr, environment: Environment
    ) -> Meaning:
        """`if` with a condition that varies: claims by cases, numbers as a choice."""
        holds = self.formula(condition, environment)
        first, second = self.meaning(yes, environment), self.meaning(no, environment)
        if isinstance(first, Claim | Truths):
            claims = (self.formula(yes, environment), self.formula(no, environment))
            met = conjunction((holds, claims[0]))
            return Claim(disjunction((met, conjunction((negate(holds), claims[1])))))
        return Choice(((holds, first), (negate(holds), second)))

    def _image(self, expression: syntax.SetOf, environment: Environment) -> Meaning:
        """`{ body for binders where condition }`: its members where all binders are finite."""
        sets = [self.set(binder.set, environment) for binder in expression.binders[:1]]
        if not all(isinstance(found, FiniteSet) for found in sets):
            return ImageSet(expression, environment)
        comprehension = syntax.Comprehension(
            expression.body, expression.binders, expression.where, span=expression.span
        )
        values = comprehended(comprehension, environment, self)
        members = (Member(Fixed(value), str(i)) for i, value in enumerate(values))
        return FiniteSet(tuple(members))

    # --- names -----------------------------------------------------------------------------------

    def _name(self, expression: syntax.Name, environment: Environment) -> Meaning:
        name, spec = expression.name, self.spec
        if name in environment.names:
            return self.resolve(environment.names[name])
        if name in spec.values:
            return value_meaning(spec.values[name])
        if name in spec.functions:
            return self._let(spec.functions[name], name)
        if name in spec.regions or name in spec.properties:
            definition = spec.regions.get(name) or spec.properties[name]
            closure = Closure(definition, EMPTY)
            return closure if definition.parameters is not None else self.enter(closure, [])
        return self._declared(name)

    def _declared(self, name: str) -> Meaning:
        spec = self.spec
        if name in spec.networks:
            return self._network(name)
        if name in spec.datasets:
            return DatasetValue(name, 0, None)
        if name in spec.spaces:
            return regions.of_space(spec.spaces[name])
        if name in spec.enums:
            labels = spec.enums[name].labels
            members = (Member(constant(Fraction(i)), label) for i, label in enumerate(labels))
            return FiniteSet(tuple(members))
        for enum in spec.enums.values():
            if name in enum.labels:
                return constant(Fraction(enum.labels.index(name)))
        if name in NORMS:
            return name
        if name in spec.systems:
            raise loops_later()
        if any(name == field.name for space in spec.spaces.values() for field in space.fields):
            return FieldLabel(name)
        raise SpecError.of("E0201", f"nothing is called `{name}`")

    def _network(self, name: str) -> Meaning:
        """A network from a file or layers, or the expression of others that it stands for."""
        declaration = self.spec.networks[name]
        if declaration.value is None:
            return self.resources.network(self.spec, name)
        return self.meaning(declaration.value, EMPTY)

    def _let(self, definition: syntax.Let, name: str) -> Meaning:
        if name not in self._lets:
            # One thunk for each name, so that it is evaluated once for this obligation.
            self._lets[name] = let_locals(definition, EMPTY)[name]
        return self.resolve(self._lets[name])

    def _force(self, thunk: Thunk) -> Meaning:
        if id(thunk) not in self._thunks:
            found = self.meaning(thunk.expression, thunk.environment)
            if thunk.position is not None:
                found = self._part(found, thunk.position, thunk.expression)
            self._thunks[id(thunk)] = (thunk, found)
        return self._thunks[id(thunk)][1]

    def _part(self, found: Meaning, position: int, expression: syntax.Expr) -> Meaning:
        if isinstance(found, tuple) and position < len(found):
            return found[position]
        if isinstance(found, Sample):
            return self.sample(found, "label" if position else "input")
        if isinstance(found, Group) and position < len(found.values):
            return found.values[position]
        raise misfit("several values", expression)

    def sample(self, sample: Sample, part: str) -> Tensor:
        """The input or label of a sample."""
        return sample_part(sample, part, self.spec, self.resources)

    # --- calls -----------------------------------------------------------------------------------

    def _call(self, expression: syntax.Call, environment: Environment) -> Meaning:
        function = expression.function
        if (
            isinstance(function, syntax.Name)
            and function.name in self.builtins
            and not self._is_declared(function.name, environment)
        ):
            return self.builtins[function.name](self, expression, environment)
        if isinstance(function, syntax.Attribute) and function.name == "hidden":
            base = self.meaning(function.base, environment)
            if isinstance(base, LoadedNetwork | Composition):
                return hidden_value(base, expression, environment, self)
        found = self.meaning(function, environment)
        if isinstance(found, Closure):
            return self.enter(found, thunks(expression, environment), environment)
        if isinstance(found, LoadedNetwork | Composition | HiddenValue | Smoothed):
            arguments = [t.expression for t in thunks(expression, environment)]
            tensors = [self.tensor(argument, environment) for argument in arguments]
            return apply_network(found, tensors, self)
        raise misfit("a function", function)

    def callee(
        self, expression: syntax.Name | syntax.Call, environment: Environment
    ) -> tuple[Closure, Environment] | None:
        """The definition that a name or call stands for, and the names its body sees.

        None for everything that is no user's property or function.
        """
        function = expression.function if isinstance(expression, syntax.Call) else expression
        if not isinstance(function, syntax.Name):
            return None
        closure = self._closure(function.name, environment)
        is_call = isinstance(expression, syntax.Call)
        if closure is None or (closure.definition.parameters is None) == is_call:
            return None
        arguments = thunks(expression, environment) if isinstance(expression, syntax.Call) else []
        return closure, body_environment(closure, arguments, environment)

    def _closure(self, name: str, environment: Environment) -> Closure | None:
        local = environment.names.get(name)
        if local is not None:
            return local if isinstance(local, Closure) else None
        definition = self.spec.properties.get(name) or self.spec.functions.get(name)
        if definition is None or (isinstance(definition, syntax.Let) and len(definition.names) > 1):
            return None
        return Closure(definition, EMPTY)

    def _is_declared(self, name: str, environment: Environment) -> bool:
        spec = self.spec
        places = (environment.names, spec.functions, spec.regions, spec.properties, spec.networks)
        return any(name in place for place in places)

    def enter(
        self,
        closure: Closure,
        arguments: Sequence[Local],
        environment: Environment = EMPTY,
    ) -> Meaning:
        """The meaning of a function's, region's or property's body for these arguments."""
        inner = body_environment(closure, arguments, environment)
        definition = closure.definition
        if isinstance(definition, syntax.Property) and definition.value is None:
            return Claim(unrolled(definition.clauses, inner, self))
        if definition.value is None:
            raise SpecError.of("E0752", "a definition without a value", definition.span)
        if isinstance(definition, syntax.Region):
            return self.set(definition.value, inner)
        return self.meaning(definition.value, inner)
