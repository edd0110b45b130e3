"""Words of a training in plain PyTorch, for scripts that stand alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from specdsl.training.emit.claims import ClaimFunctions
from specdsl.training.emit.lines import WIDTH, call
from specdsl.training.emit.numbers import factor, is_one, number, real
from specdsl.training.emit.plain_lines import remarked
from specdsl.training.emit.skipping import Part, skipping
from specdsl.training.emit.terms import (
    Dialect,
    Lines,
    call_argument,
    claim_argument,
    function_name,
    is_fused,
    number_argument,
    refuse,
    whole_argument,
)
from specdsl.training.plan.clock import Clock
from specdsl.training.plan.plan import Arithmetic, Call, Constant, Number, Stage, Term

LEAVE = "leave `--standalone` away"
WHY = "is not written in plain PyTorch yet"
# Below this a loss counts as nothing: it has no power with a finite gradient.
LEAST_LOSS = 1e-12
# What Shi et al. 2021, arXiv:2103.17268, have on MNIST.
SHI: Mapping[str, Fraction] = MappingProxyType(
    {"tightness": Fraction(1), "relu": Fraction(1), "tau": Fraction(1, 2)}
)


@dataclass(slots=True)
class Plain(Dialect):
    """Inputs in boxes, intervals and CROWN-IBP, FGSM and PGD.

    `labelled`: whether targets are classes; `outputs` of the network; `no_crown`: the layer that
    CROWN-IBP does not cover, if there is one; `view`: what gives points the shape of inputs.
    """

    labelled: bool
    outputs: int
    no_crown: str = ""
    view: str = ""

    # --- attacks ----------------------------------------------------------------------------------

    def attack(self, call: Call, claim: str, lines: Lines, function: str = "pgd") -> str:
        """As Dialect says; `function`: what climbs."""
        if call.name not in {"pgd", "fgsm"}:
            raise refuse(call, WHY, LEAVE)
        alpha = number_argument(call, "alpha")
        options = [] if alpha is None else [f"alpha={number(alpha)}"]
        if call.name == "fgsm":
            return f"fgsm({', '.join(['net', claim, *options])})"
        if call.arguments.get("norm") not in {None, "linf"}:
            raise refuse(call, "in another norm than linf " + WHY, LEAVE)
        options.insert(0, f"steps={whole_argument(call, 'steps')}")
        restarts = whole_argument(call, "restarts")
        if restarts > 1:
            options.append(f"restarts={restarts}")
        at, by = call.arguments.get("decay_at"), number_argument(call, "decay")
        if isinstance(at, tuple) and by is not None and not is_one(by):
            options.append(f"decay={{{', '.join(f'{step}: {number(by)}' for step in at)}}}")
        return f"{function}(net, {claim}, generator, {', '.join(options)})"

    def shaped(self, points: str) -> str:
        """Points in the shape that the network takes."""
        return f"{points}{self.view}"

    # --- bounds -----------------------------------------------------------------------------------

    def margins(self, loss: Call, lines: Lines) -> str:
        """As Dialect says."""
        if loss.arguments.get("samples") is not None:
            raise refuse(loss, "of some samples of a batch " + WHY, LEAVE)
        claim = lines.claim(claim_argument(loss))
        by = call_argument(loss, "by")
        if loss.name == "adversarial_loss":
            points = lines.points(claim, by)
            return lines.define("margins", f"margins_at(net, {claim}, {points})")
        return self.bound(by, claim, lines)

    def bound(self, by: Call, claim: str, lines: Lines) -> str:
        """Lower bounds of the margins of a claim."""
        match by.name:
            case "ibp":
                return self.intervals(claim, lines)[0]
            case "crown_ibp" if is_fused(by):
                raise refuse(by, "with `fused` " + WHY, LEAVE)
            case "crown_ibp":
                return self._crown_ibp(by, claim, lines)
            case "small_box":
                points = lines.points(claim, call_argument(by, "attack"))
                share = number_argument(by, "share")
                assert share is not None, "it is required"
                text = f"small_box({claim}, {points}, {number(share)})"
                return self.bound(call_argument(by, "by"), lines.define("small", text), lines)
            case _:
                raise refuse(by, WHY, LEAVE)

    def intervals(self, claim: str, lines: Lines) -> tuple[str, str]:
        """The variables of interval bounds and of the boxes before ReLUs, worked out once."""
        value = f"intervals(net, {claim})"
        if value not in lines.defined:
            names = f"{lines.fresh('bounds')}, {lines.fresh('boxes')}"
            lines.texts.append(f"{names} = {value}")
            lines.defined[value] = names
        bounds, _, boxes = lines.defined[value].partition(", ")
        return bounds, boxes

    def _crown_ibp(self, by: Call, claim: str, lines: Lines) -> str:
        if self.no_crown:
            raise refuse(by, f"through the layer `{self.no_crown}` {WHY}", LEAVE)
        bounds, boxes = self.intervals(claim, lines)
        value, beta = f"crown(net, {claim}, {boxes})", number_argument(by, "beta")
        assert beta is not None, "it has a default"
        if is_one(beta):
            return lines.define("tighter", value)
        mixed = _mixed(beta, value, bounds)
        if isinstance(beta, Constant):
            return lines.define("tighter", mixed)
        return lines.define("tighter", f"{bounds} if {number(beta)} == 0 else {mixed}")

    # --- losses -----------------------------------------------------------------------------------

    def loss(self, call: Call, lines: Lines) -> str:
        """As Dialect says."""
        match call.name:
            case "clean_loss" if self.labelled:
                return "F.cross_entropy(net(x), y)"
            case "clean_loss":
                return "F.mse_loss(net(x), y.view(len(x), -1))"
            case "certified_loss" | "adversarial_loss":
                return f"robust_cross_entropy({self.margins(call, lines)})"
            case "trades_loss":
                claim, by = lines.claim(claim_argument(call)), call_argument(call, "by")
                if by.name != "pgd":
                    raise refuse(by, "for `trades_loss` " + WHY, LEAVE)
                points = lines.define("points", self.attack(by, claim, lines, "pgd_divergence"))
                moved = lines.define("moved", f"net({self.shaped(points)}).log_softmax(1)")
                usual = lines.define("usual", "net(x).log_softmax(1)")
                return f'F.kl_div({moved}, {usual}, reduction="batchmean", log_target=True)'
            case "convex":
                first, second = (self.margins(part, lines) for part in _pair(call))
                return f"robust_cross_entropy({_mixed(_share(call), first, second)})"
            case "geometric":
                least = f".clamp(min={LEAST_LOSS})"
                first, second = (
                    lines.define(part.name, self.loss(part, lines) + least) for part in _pair(call)
                )
                share, rest = _shares(_share(call))
                return f"{first}.pow({share}) * {second}.pow({rest})"
            case "product":
                first, second = (
                    lines.define(part.name, self.loss(part, lines)) for part in _pair(call)
                )
                return f"{first} * {second}"
            case _:
                raise refuse(call, WHY, LEAVE)

    # --- regularisers -----------------------------------------------------------------------------

    def regularizer(self, call: Call, lines: Lines) -> str:
        """As Dialect says."""
        match call.name:
            case "l1":
                return "sum(p.abs().sum() for p in net.parameters() if p.ndim > 1)"
            case "l2":
                return "sum(p.square().sum() for p in net.parameters() if p.ndim > 1)"
            case "shi":
                claim = lines.claim(claim_argument(call))
                boxes = self.intervals(claim, lines)[1]
                options = [f"{name}={number(value)}" for name, value in unusual(call).items()]
                return f"shi({', '.join([claim, boxes, *options])})"
            case "relu_stability":
                radius = number_argument(call, "r")
                assert radius is not None, "it is required"
                ends = f"x.flatten(1) - {factor(radius)}, x.flatten(1) + {factor(radius)}"
                rows = f"x.new_zeros(1, 1, {self.outputs})"
                around = lines.define("around", f"({ends}, {rows}, x.new_zeros(1, 1))")
                return f"relu_stability({self.intervals(around, lines)[1]})"
            case _:
                raise refuse(call, WHY, LEAVE)


def unusual(shi: Call) -> dict[str, Number]:
    """The weights of Shi's regularisers and their `tau`, where they are not the usual ones."""
    found = {name: number_argument(shi, name) for name in SHI}
    return {
        name: value
        for name, value in found.items()
        if value is not None and not (isinstance(value, Constant) and value.value == SHI[name])
    }


def plain_losses(stage: Stage, dialect: Plain, claims: ClaimFunctions, clock: Clock) -> str:
    """A function that gives all terms of a stage by name, each under its text.

    A term whose weight varies is left out while its weight is 0, unless that leaves no term.
    """
    lines = Lines(dialect, claims)
    skips = not _is_idle(stage, clock)
    for term in stage.terms:
        _term(term, lines, dialect.loss, skips=skips)
    for term in stage.regularizers:
        _term(term, lines, dialect.regularizer, skips=skips)
    given = ["net: Net", "x: Tensor", "y: Tensor", "s: Namespace", "generator: Generator"]
    head = [
        *call(f"def {function_name(stage)}", given, " -> Terms:", depth=0),
        f'    """What stage `{stage.name}` minimises, term by term."""',
        "    terms: Terms = {}",
    ]
    body = remarked(skipping(lines.texts, lines.parts))
    return "\n".join([*head, *body, "    return terms"])


def _is_idle(stage: Stage, clock: Clock) -> bool:
    """Whether all weights are 0 at some time, looked for twice an epoch."""
    weights = [term.weight for term in (*stage.terms, *stage.regularizers)]
    times = [stage.first + Fraction(half, 2) for half in range(2 * stage.epochs)]
    return any(all(clock.number(w, time) == 0 for w in weights) for time in times)


def _term(term: Term, lines: Lines, say: Callable[[Call, Lines], str], *, skips: bool) -> None:
    start = len(lines.texts)
    value, name = say(term.call, lines), lines.named(term.call.name)
    weight = "" if is_one(term.weight) else f"{factor(term.weight)} * "
    if len(f'        terms["{name}"] = {weight}{value}') > WIDTH:
        value = lines.define(term.call.name, value)
    lines.texts += [f"# {term.text}", f'terms["{name}"] = {weight}{value}']
    varies = skips and not isinstance(term.weight, Constant)
    condition = number(term.weight) if varies else ""
    lines.parts.append(Part(start, len(lines.texts), condition))


def _mixed(share: Number, first: str, second: str) -> str:
    """`share` parts of one, the rest of another."""
    part, rest = _shares(share)
    if not isinstance(share, Constant):
        part, rest = factor(share), f"({rest})"
    return f"{part} * {first} + {rest} * {second}"


def _shares(share: Number) -> tuple[str, str]:
    """A share and the rest, each as an expression that stands alone."""
    if isinstance(share, Constant):
        return real(share.value), real(1 - share.value)
    return number(share), number(Arithmetic("-", Constant(Fraction(1)), share))


def _pair(call: Call) -> tuple[Call, Call]:
    return call_argument(call, "first"), call_argument(call, "second")


def _share(call: Call) -> Number:
    share = number_argument(call, "alpha")
    assert share is not None, "it is required"
    return share
