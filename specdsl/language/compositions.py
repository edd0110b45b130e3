"""Networks behind one another: which declared networks an expression such as `a >> b` is made of.

A training may put a code that is drawn between them: `let code = normal(mean, log_deviation)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from specdsl.language import syntax
from specdsl.language.spec import NetworkDeclaration


@dataclass(frozen=True, slots=True)
class Drawn:
    """A code of a training: `mean + exp(log_deviation) * noise`, both given by networks.

    `name`: what the block calls it.
    """

    name: str
    mean: Composition
    log_deviation: Composition


@dataclass(frozen=True, slots=True)
class Composition:
    """Declared networks, by name, and codes: what each gives the next one takes."""

    steps: tuple[str | Drawn, ...]

    @property
    def networks(self) -> tuple[str, ...]:
        """All networks in it, those of codes too, each once and in order."""
        return tuple(dict.fromkeys(self._names()))

    @property
    def first(self) -> str:
        """The network that takes the input."""
        return next(self._names())

    def _names(self) -> Iterator[str]:
        for step in self.steps:
            if isinstance(step, str):
                yield step
            else:
                yield from step.mean.networks
                yield from step.log_deviation.networks


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """What names of networks stand for: `declared` in a file or with layers, or expressions of
    others, as `lets` may be too. `codes`: those of a training.
    """

    declared: Mapping[str, NetworkDeclaration]
    lets: Mapping[str, syntax.Let]
    codes: Mapping[str, Drawn] = field(default_factory=lambda: MappingProxyType({}))

    def composition(self, expression: syntax.Expr) -> Composition | None:
        """The networks of an expression in order; None where it is made of anything else."""
        steps = self._steps(expression)
        return None if steps is None else Composition(steps)

    def _steps(self, expression: syntax.Expr) -> tuple[str | Drawn, ...] | None:
        match expression:
            case syntax.Binary(operator=">>", left=left, right=right):
                first, second = self._steps(left), self._steps(right)
                return None if first is None or second is None else (*first, *second)
            case syntax.Name(name=name):
                return self._named(name)
            case _:
                return None

    def _named(self, name: str) -> tuple[str | Drawn, ...] | None:
        if name in self.codes:
            return (self.codes[name],)
        let = self.lets.get(name)
        if let is not None:
            plain = let.parameters is None and len(let.names) == 1
            # A `let` of the file sees no code of a training.
            return Networks(self.declared, self.lets)._steps(let.value) if plain else None
        network = self.declared.get(name)
        if network is None:
            return None
        if network.value is None:
            return (name,)
        return Networks(self.declared, self.lets)._steps(network.value)


def code_arguments(expression: syntax.Expr) -> tuple[syntax.Expr, syntax.Expr] | None:
    """The two networks of `normal(mean, log_deviation)`; None for anything else."""
    match expression:
        case syntax.Call(function=syntax.Name(name="normal"), arguments=arguments):
            names = ("mean", "log_deviation")
            given: dict[str, syntax.Expr] = {}
            for name, argument in zip(names, arguments, strict=False):
                if isinstance(argument, syntax.NamedArgument):
                    given[argument.name] = argument.value
                elif not isinstance(argument, syntax.Comprehension):
                    given[name] = argument
            return (given["mean"], given["log_deviation"]) if set(given) == set(names) else None
        case _:
            return None


def drawn(name: str, expression: syntax.Expr, networks: Networks) -> Drawn | None:
    """The code that `let name = normal(...)` declares; None where it declares none."""
    arguments = code_arguments(expression)
    if arguments is None:
        return None
    mean, deviation = (networks.composition(each) for each in arguments)
    return None if mean is None or deviation is None else Drawn(name, mean, deviation)


def prefix_in_file(parts: tuple[str, ...], name: str) -> str:
    """What stands before the tensors of a network in the file that its training saves.

    A file of several networks has them by name: `encoder.0.weight`.
    """
    return f"{name}." if len(parts) > 1 else ""
