"""Words of a training as calls of the runtime, for the scripts that `specdsl train` runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from specdsl.language.compositions import Composition
from specdsl.training.emit.common import Joint
from specdsl.training.emit.data import identifier
from specdsl.training.emit.flow import Flow
from specdsl.training.emit.numbers import factor, is_one, number, real
from specdsl.training.emit.terms import (
    Dialect,
    Lines,
    call_argument,
    claim_argument,
    is_fused,
    number_argument,
    refuse,
    whole_argument,
)
from specdsl.training.plan.plan import Call, ClaimUse, Constant, NetworkUse, Number

# Words whose bounds are proven, by the functions that give them.
PROVEN = {
    "ibp": "interval",
    "crown": "crown",
    "crown_ibp": "crown_ibp",
    "fast_lin": "fast_lin",
    "forward": "forward",
    "wong_kolter": "wong_kolter",
}


@dataclass(slots=True)
class Runtime(Dialect):
    """Everything that the language knows. `names`: what a script has to import for it.

    `judged`: the property of regularisers that name none. `relus`: by the names of layers that are
    ReLUs, which of them it is, from 1. `normalized`: whether samples are not yet what the network
    takes. `teachers`: networks that stand beside it, with the names they have in the script.
    `free`: attacks with a perturbation that stays, by what they are made for: their names there.
    `balances`: pairs of losses with weights that follow them, by their text: their names there.
    `joint`: the networks, where several are trained; `shape`: of one sample.
    """

    judged: ClaimUse | None
    relus: Mapping[str, int]
    normalized: bool = False
    joint: Joint | None = None
    shape: tuple[int, ...] = ()
    names: set[str] = field(default_factory=set[str])
    teachers: dict[str, str] = field(default_factory=dict[str, str])
    free: dict[str, str] = field(default_factory=dict[str, str])
    balances: dict[str, str] = field(default_factory=dict[str, str])

    def use(self, name: str) -> str:
        """A name of the runtime."""
        self.names.add(name)
        return name

    def scores(self, lines: Lines) -> str:
        """The outputs on the batch, computed once."""
        return lines.define("scores", f"net({self.point('x')})")

    def outputs(self, call: Call, lines: Lines) -> str:
        """The outputs that a loss is about: of the trained network, or of those that it names."""
        found = call.arguments["of"]
        chain = None if self.joint is None else self.joint.chain
        if found is None or chain is None or _composition(call).steps == chain:
            return self.scores(lines)
        return self._flow(lines).outputs(_composition(call))

    def _flow(self, lines: Lines) -> Flow:
        assert self.joint is not None, "a plan with compositions is one of several networks"
        return Flow(self.joint, self.shape, lines, self.use, self._fixed)

    def _fixed(self, network: str) -> str:
        """The function of a network that is not trained."""
        return self.teachers.setdefault(network, f"teacher_{identifier(network)}")

    def point(self, x: str) -> str:
        """What the network takes of samples."""
        return f"network_input({x})" if self.normalized else x

    def around(self, x: str, radius: Number) -> str:
        """The region of all inputs within a radius of samples, in linf."""
        if not self.normalized:
            return f"{self.use('intersect')}({self.use('ball')}({x}, {number(radius)}))"
        self.names |= {"InputRegion", "box", "intersect"}
        return f"within({x}, {number(radius)})"

    # --- attacks ----------------------------------------------------------------------------------

    def attack(self, call: Call, claim: str, lines: Lines) -> str:
        """As Dialect says."""
        if call.name == "free":
            return self._free(call, claim, lines)
        made = lines.define("attack", self.attack_text(call))
        return f"{made}(net, {claim}, generator)"

    def _free(self, call: Call, claim: str, lines: Lines) -> str:
        """Points of the perturbation that goes with a property: each has one of its own."""
        if lines.bare:
            raise refuse(call, "cannot be used here", "use `pgd`")
        made = next(value for value, name in lines.defined.items() if name == claim)
        name = self.free.setdefault(f"{call.text} {made}", f"FREE{len(self.free) + 1}")
        self.use("Free")
        return f"{name}.points({', '.join([claim, *self._absolute(call)])})"

    def attack_text(self, call: Call) -> str:
        """What makes an attack."""
        match call.name:
            case "fgsm":
                return f"{self.use('fgsm')}({', '.join(self._absolute(call))})"
            case "pgd" | "targeted":
                return f"{self.use(call.name)}({', '.join(self._options(call))})"
            case "friendly":
                tau = _known(call, "tau")
                steps = str(whole_argument(call, "steps"))
                options = [steps, f"tau=round({number(tau)})", *self._length(call)]
                return f"{self.use('friendly')}({', '.join(options)})"
            case "noise":
                return f"{self.use('noise')}({number(_known(call, 'sigma'))})"
            case "several":
                attacks = call.arguments["attacks"]
                assert isinstance(attacks, tuple), "a word for each attack"
                parts = [self.attack_text(part) for part in attacks if isinstance(part, Call)]
                pick = call.arguments["pick"]
                return f'{self.use("several")}({", ".join(parts)}, pick="{pick}")'
            case _:
                raise refuse(call, "cannot be used here", "use `pgd`")

    def _options(self, call: Call) -> list[str]:
        """Those of `pgd`, `targeted` and the attack of TRADES."""
        steps, norm = str(whole_argument(call, "steps")), call.arguments["norm"]
        chosen = [] if norm is None else [f'norm="{norm}"']
        return [steps, *self._restarts(call), *self._length(call), *self._decay(call), *chosen]

    def _restarts(self, call: Call) -> list[str]:
        count = whole_argument(call, "restarts")
        return [f"restarts={count}"] if count > 1 else []

    def _absolute(self, call: Call) -> list[str]:
        alpha = number_argument(call, "alpha")
        return [] if alpha is None else [f"alpha={number(alpha)}"]

    def _length(self, call: Call) -> list[str]:
        """The language's default is a quarter of the radius, however many steps there are."""
        return self._absolute(call) or ["step=0.25"]

    def _decay(self, call: Call) -> list[str]:
        at, by = call.arguments.get("decay_at"), number_argument(call, "decay")
        if not isinstance(at, tuple) or by is None:
            return []
        return [f"decay={{{', '.join(f'{step}: {number(by)}' for step in at)}}}"]

    # --- bounds -----------------------------------------------------------------------------------

    def margins(self, loss: Call, lines: Lines) -> str:
        """As Dialect says."""
        claim = lines.claim(claim_argument(loss))
        by = call_argument(loss, "by")
        if loss.name == "adversarial_loss":
            points = lines.points(claim, by)
            return lines.define("margins", f"{self.use('margins_at')}(net, {claim}, {points})")
        return lines.define("bounds", self.bounds(by, claim, lines))

    def bounds(self, by: Call, claim: str, lines: Lines) -> str:
        """Lower bounds of the margins of a claim, or what stands in for them while training."""
        match by.name:
            case "wong_kolter" if by.arguments.get("projections") is not None:
                count = whole_argument(by, "projections")
                lines.texts.append("# TRAIN-ONLY: an estimate, no bound")
                method = f"{self.use('projections')}({count}, generator)"
                return f"{self.use('estimate')}(net, {claim}, {method})"
            case "small_box":
                points = lines.points(claim, call_argument(by, "attack"))
                share = number_argument(by, "share")
                assert share is not None, "it is required"
                lines.texts.append("# TRAIN-ONLY: a part of the region")
                made = f"{self.use('small_claim')}({claim}, {points}, {number(share)})"
                return self.bounds(call_argument(by, "by"), lines.define("small", made), lines)
            case "taps" | "staps":
                raise refuse(by, "has a loss of its own", "use it in `certified_loss`")
            case "crown_ibp" if is_fused(by):
                help_ = "leave `fused` away, or use it in a `certified_loss` of its own"
                raise refuse(by, "with `fused` bounds a loss, and no margins", help_)
            case name if name in PROVEN:
                return f"{self.use('lower')}(net, {claim}, {self.method(by)})"
            case _:
                raise refuse(by, "is not supported yet", "use `ibp` or `crown_ibp`")

    def method(self, by: Call) -> str:
        """What makes a method whose bounds are proven."""
        name = self.use(PROVEN[by.name])
        beta = number_argument(by, "beta")
        if beta is None or (isinstance(beta, Constant) and beta.value == 1):
            return f"{name}()"
        return f"{name}({number(beta)})"

    # --- losses -----------------------------------------------------------------------------------

    def loss(self, call: Call, lines: Lines) -> str:
        """As Dialect says."""
        match call.name:
            case "clean_loss":
                return f"{self.use('clean_loss')}({self.outputs(call, lines)}, y)"
            case "reconstruction_loss":
                return f"{self.use('reconstruction_loss')}({self.outputs(call, lines)}, x)"
            case "kl_loss":
                code = self._flow(lines).code(_composition(call))
                return f"{self.use('kl_loss')}({code})"
            case "certified_loss" if call_argument(call, "by").name in {"taps", "staps"}:
                return self._latent(call, lines)
            case "certified_loss" if is_fused(call_argument(call, "by")):
                return self._fused(call, lines)
            case "certified_loss" if call.arguments.get("samples") is not None:
                return self._sampled(call, lines)
            case "certified_loss" | "adversarial_loss":
                return f"{self.use('robust_cross_entropy')}({self.margins(call, lines)})"
            case "trades_loss":
                claim = lines.claim(claim_argument(call))
                made = lines.define("divergence", self._divergence(call_argument(call, "by")))
                points = lines.define("points", f"{made}(net, {claim}, generator)")
                moved = f"net.at({claim}.applications[0].point({points}))"
                return f"{self.use('trades_divergence')}({self.scores(lines)}, {moved})"
            case "distillation_loss":
                return self._distilled(call, lines)
            case "noisy_loss":
                sigma = number(_known(call, "sigma"))
                noisy = lines.define("noisy", f"{self.use('with_noise')}(x, {sigma}, generator)")
                return f"{self.use('clean_loss')}(net({self.point(noisy)}), y)"
            case "convex" | "balanced" | "geometric" | "product":
                return self._mixed(call, lines)
            case _:
                raise refuse(call, "is not supported yet", "use another loss")

    def _mixed(self, call: Call, lines: Lines) -> str:
        """Two losses made one."""
        if call.name == "convex":
            first, second = (self.margins(part, lines) for part in _pair(call))
            mixed = f"{self.use('convex_margins')}({_share(call)}, {first}, {second})"
            return f"{self.use('robust_cross_entropy')}({mixed})"
        first, second = (self.loss(part, lines) for part in _pair(call))
        if call.name == "balanced":
            name = self.balances.setdefault(call.text, f"BALANCE{len(self.balances) + 1}")
            self.use("Balance")
            return f"{name}.weigh({_share(call)}, {first}, {second})"
        share = f"{_share(call)}, " if call.name == "geometric" else ""
        return f"{self.use(call.name)}({share}{first}, {second})"

    def _divergence(self, by: Call) -> str:
        match by.name:
            case "pgd":
                options = self._options(by)
            case "fgsm":
                options = ["1", *(self._absolute(by) or ["step=1.0"])]
            case _:
                raise refuse(by, "does not look for a divergence", "use `pgd` or `fgsm`")
        return f"{self.use('kl')}({', '.join(options)})"

    def _some(self, call: Call, lines: Lines) -> str:
        """The claim about all samples of the batch, or about the few that were asked for."""
        if call.arguments.get("samples") is None:
            return lines.claim(claim_argument(call))
        count = whole_argument(call, "samples")
        picked = lines.define("some", f"torch.randperm(len(x), generator=generator)[:{count}]")
        made = lines.claims.call(claim_argument(call), f"x[{picked}], y[{picked}]")
        return lines.define("few", made)

    def _fused(self, call: Call, lines: Lines) -> str:
        """A loss that is bounded as a whole."""
        by = call_argument(call, "by")
        if lines.claims.has_alternatives(claim_argument(call)):
            help_ = "leave `fused` away: margins of alternatives are bounded one by one"
            raise refuse(by, "with `fused` has no bound for a property with `or`", help_)
        claim = self._some(call, lines)
        lines.texts.append("# TRAIN-ONLY: a bound of the loss, of no margin")
        beta = _known(by, "beta")
        share = "" if is_one(beta) else f", {number(beta)}"
        return f"{self.use('fused_loss')}(net, {claim}{share})"

    def _sampled(self, call: Call, lines: Lines) -> str:
        """Bounds of a few samples of the batch stand for all of them."""
        claim = self._some(call, lines)
        bounds = lines.define("bounds", self.bounds(call_argument(call, "by"), claim, lines))
        return f"{self.use('robust_cross_entropy')}({bounds})"

    def _latent(self, call: Call, lines: Lines) -> str:
        whole = claim = lines.claim(claim_argument(call))
        by = call_argument(call, "by")
        if by.name == "staps":
            points = lines.points(claim, call_argument(by, "attack"))
            share = number_argument(by, "share")
            assert share is not None, "it is required"
            made = f"{self.use('small_claim')}({claim}, {points}, {number(share)})"
            claim = lines.define("small", made)
        weight = number_argument(by, "weight")
        assert weight is not None, "it has a default"
        lines.texts.append("# TRAIN-ONLY: points found inside the network, no bounds")
        made = self._inner_attack(by, call_argument(by, "attack"), whole)
        latent = lines.define("latent", made)
        margins = lines.define("margins", f"{self.use('latent_margins')}(net, {claim}, {latent})")
        bounds = lines.define(
            "bounds", f"{self.use('lower')}(net, {claim}, {self.use('interval')}())"
        )
        name = self.use("robust_cross_entropy")
        parts = f"{name}({margins}), {name}({bounds}), scale={number(weight)}"
        return f"{self.use('product')}({parts})"

    def _inner_attack(self, by: Call, attack: Call, claim: str) -> str:
        """What looks for points in the box behind a layer; it is said by the ReLUs up to there.

        A step is the same share of that box as it is of the region of the claim.
        """
        after = by.arguments["after"]
        assert isinstance(after, str), "the schema says that it is a layer"
        number_of = self.relus.get(after)
        if number_of is None:
            raise refuse(by, f"needs a ReLU at the layer `{after}`", "name a layer with `relu`")
        if attack.name != "pgd":
            raise refuse(attack, "does not look behind layers", "use `pgd`")
        if attack.arguments["norm"] is not None:
            # What is behind a layer is a box.
            raise refuse(attack, "steps in linf behind layers", "leave `norm` away")
        options = [f"after={number_of}", "generator=generator"]
        options += [f"{n}={whole_argument(attack, n)}" for n in ("steps", "restarts")]
        alpha = number_argument(attack, "alpha")
        step = "0.25"
        if alpha is not None:
            step = f"{self.use('half_widths')}({claim}.region, {number(alpha)})"
        options.append(f"step={step}")
        options += self._decay(attack) or ["decay={}"]
        return f"{self.use('LatentAttack')}({', '.join(options)})"

    def _distilled(self, call: Call, lines: Lines) -> str:
        teacher = call.arguments["teacher"]
        assert isinstance(teacher, NetworkUse), "the schema says that it is a network"
        temperature = number_argument(call, "temperature")
        assert temperature is not None, "it has a default"
        found = f"{self._fixed(teacher.name)}(x)"
        return f"{self.use('distillation')}({self.scores(lines)}, {found}, {number(temperature)})"

    # --- regularisers -----------------------------------------------------------------------------

    def regularizer(self, call: Call, lines: Lines) -> str:
        """As Dialect says."""
        match call.name:
            case "l1" | "l2":
                return f"{self.use(call.name)}(net.module)"
            case "lipschitz":
                return f"{self.use('spectral_product')}(net)"
            case "shi":
                found = self._inside(self._claim(call, lines), lines)
                tau = _known(call, "tau")
                parts: list[str] = []
                for word, name in (("tightness", "shi_tightness"), ("relu", "shi_relu")):
                    mean = f"{self.use('averaged')}({self.use(name)}, {found}, {number(tau)})"
                    part = lines.define(word, mean)
                    weight = _known(call, word)
                    parts.append(part if is_one(weight) else f"{factor(weight)} * {part}")
                return f"({' + '.join(parts)})"
            case "relu_stability":
                place = lines.define("place", self.around("x", _known(call, "r")))
                found = self._inside(f"{self.use('everywhere')}({place}, net.outputs)", lines)
                return f"{self.use('averaged')}({self.use('relu_stability')}, {found})"
            case "tightness":
                claim = self._claim(call, lines)
                method = call_argument(call, "by")
                if call.arguments["measure"] == "gap":
                    other = self.method(call_argument(call, "against"))
                    return f"{self.use('bound_gap')}(net, {claim}, {self.method(method)}, {other})"
                of = "outputs" if call.arguments["measure"] == "d" else "pre_activations"
                return f'{self.use("gap")}(net, {claim}, "{of}", "{_gap_lines(method.name)}")'
            case _:
                raise refuse(call, "is not supported yet", "use another regulariser")

    def _inside(self, claim: str, lines: Lines) -> str:
        return lines.define("found", f"{self.use('inside')}(net, {claim})")

    def _claim(self, call: Call, lines: Lines) -> str:
        use = call.arguments.get("property")
        if isinstance(use, ClaimUse):
            return lines.claim(use)
        if self.judged is None:
            raise refuse(call, "needs a property", f"write `{call.name}(robust, r = eps)`")
        return lines.claim(self.judged)


def _gap_lines(method: str) -> str:
    """The lines that gaps are measured with; intervals have none, and take CROWN's on them."""
    return "crown_ibp" if method in {"ibp", "crown_ibp"} else method


def _known(call: Call, name: str) -> Number:
    found = number_argument(call, name)
    assert found is not None, f"`{name}` has a default"
    return found


def _composition(call: Call) -> Composition:
    found = call.arguments["of"]
    assert isinstance(found, Composition), f"the schema says that `of` of `{call.name}` is one"
    return found


def _pair(call: Call) -> tuple[Call, Call]:
    return call_argument(call, "first"), call_argument(call, "second")


def _share(call: Call) -> str:
    share = number_argument(call, "alpha")
    assert share is not None, "it is required"
    return real(share.value) if isinstance(share, Constant) else number(share)
