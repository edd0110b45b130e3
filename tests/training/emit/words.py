"""Every word of the tables of training in a block that trains two epochs on digits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from specdsl.language.presets import WRITERS
from tests.training.emit.scripts import START

RAMP = "let e = ramp(0, eps, epochs = 0..1) "
BOUNDS = (
    "ibp",
    "crown",
    "crown_ibp(beta = 1/2)",
    "crown_ibp(beta = 1 - e / eps, fused = true)",
    "fast_lin",
    "forward",
    "wong_kolter",
    "wong_kolter(projections = 5)",
    "small_box(share = 2/5)",
    "small_box(share = 2/5, attack = fgsm, by = crown_ibp)",
    "taps(after = a1)",
    "staps(after = a1, share = 1/5, attack = pgd(steps = 2))",
)
ATTACKS = (
    "fgsm(alpha = eps / 2)",
    "pgd(steps = 3, restarts = 2, alpha = eps / 4, decay = 1/10, decay_at = [1, 2])",
    "pgd(steps = 2, norm = l1)",
    "targeted(steps = 2, restarts = 2)",
    "friendly(steps = 3, tau = 1)",
    "noise(1/10)",
    "several(fgsm, pgd(steps = 2), pick = draw)",
    "several(fgsm, pgd(steps = 2))",
    "free(replays = 2, alpha = eps / 2)",
)
OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "tau": "let tau = ramp(0, 3, epochs = 0..1) minimize adversarial_loss("
        "robust, r = eps, by = friendly(steps = 3, tau = tau, alpha = eps / 4))",
        "l2": "minimize adversarial_loss(round, r = eps, by = pgd(steps = 3))"
        " + certified_loss(round, r = eps, by = crown_ibp)",
        "trades": "minimize clean_loss() + 6 * trades_loss(robust, r = eps, by = pgd(steps = 2,"
        " alpha = eps / 4)) + trades_loss(robust, r = eps, by = fgsm)",
        "noisy": "minimize clean_loss() + noisy_loss(1/10)",
        "samples": "minimize clean_loss() + certified_loss(robust, r = eps, samples = 8)",
        "fused samples": "minimize clean_loss() + product(clean_loss(),"
        " certified_loss(round, r = eps, by = crown_ibp(fused = true), samples = 8))",
        "convex": "minimize convex(1/10, certified_loss(robust, r = eps),"
        " adversarial_loss(robust, r = eps))",
        "balanced": "let a = ramp(0, 1/2, epochs = 0..2) minimize balanced(a,"
        " certified_loss(robust, r = eps, samples = 8), clean_loss()) + balanced(1/5,"
        " adversarial_loss(robust, r = eps), noisy_loss(1/10))",
        "adaptive": "method = mixtrain(robust, r = eps, adaptive = true)",
        "fused preset": "method = crown_ibp(robust, r = eps, fused = true)",
        "geometric": "minimize geometric(1/10, certified_loss(robust, r = eps),"
        " adversarial_loss(robust, r = eps, by = pgd(steps = 2)))",
        "product": "minimize product(clean_loss(), certified_loss(robust, r = eps))",
        "regularizers": "minimize certified_loss(robust, r = eps)"
        " regularize 1/10 * tightness() + 1/10 * tightness(measure = d)"
        " + 1/10 * tightness(measure = r)"
        " regularize 1/2 * shi() + shi(relu = 0) regularize 1e-3 * relu_stability(r = eps)"
        " + 1e-5 * l1(weights) + 1e-5 * l2(weights) + 1e-5 * lipschitz()",
        "constraints": "minimize clean_loss()"
        " constrain violation(robust, r = eps, by = pgd(steps = 2)) <= 1/100"
        " constrain certified_error(robust, r = eps) <= 1/10 by lagrangian(lr = 1, init = 1)"
        " constrain certified_error(robust, r = eps, class = 3) <= 1/10"
        " by lagrangian(lr = 1, init = 1)"
        " constrain clean_error() <= 1/20 by lagrangian(lr = 1)"
        " constrain clean_error(class = 2) <= 1/20 constrain noisy_loss(1/10) <= 1",
        "proxy": "let b = ramp(1, 1/2, epochs = 0..1) minimize clean_loss()"
        " constrain certified_error(robust, r = eps) <= b by proxy_lagrangian(lr = b)",
        "selection": "clip = 10 budget = 1000 `s` patience = 2 minimize clean_loss()"
        " keep best by adversarial(robust, r = eps, by = pgd(steps = 2)) on digits[192:256]"
        " where clean_accuracy >= 1/20",
        "clean selection": "minimize clean_loss() keep best by clean_accuracy() on digits[192:256]",
        "names": "let lambda = ramp(0, 1, epochs = 0..1) let smooth = ramp(1, 1/2, epochs = 0..1,"
        " shape = smooth) let time = smooth / 2 let lr = time / 100"
        " minimize smooth * clean_loss() + lambda * time * lr * noisy_loss(lambda)",
        "rates": "let rate = steps(5e-3, 1e-3 for e in 1..1) minimize clean_loss()"
        " regularize 1e-3 * l2(weights)",
    }
)
PRUNED = START.replace("epochs = 2 ", "") + (
    "minimize clean_loss() regularize 1e-4 * relu_stability(eps)"
    " stage one { epochs = 1 constrain clean_error() <= 1/20 }"
    " stage two { epochs = 2 prune weights(below = 1e-2) prune relus(stable = 6/10, r = eps)"
    " minimize clean_loss() + adversarial_loss(robust, r = eps, by = free(replays = 2))"
    " optimizer = adam(lr = 1e-3) }"
    " keep best by certified(robust, r = eps, by = ibp) on digits[192:256]"
)
EVERYTHING = PRUNED.replace(
    " stage one",
    " let e = ramp(0, eps, epochs = 0..2, shape = smooth) let fade = 1 - e / eps"
    " let A = pgd(steps = 8, alpha = e / 2, decay = 1/10, decay_at = [4, 7])"
    " minimize (1 - fade) * convex(1/10, certified_loss(robust, r = e, by = crown_ibp(beta ="
    " fade)), adversarial_loss(robust, r = e, by = A)) + fade / 2 * noisy_loss(1/10)"
    " regularize fade * shi(robust, r = e)"
    " constrain certified_error(robust, r = eps, by = crown_ibp, class = 3) <= 1/10"
    " by proxy_lagrangian"
    " stage one",
).replace("minimize clean_loss() regularize", "minimize clean_loss() / 2 regularize", 1)


def preset(name: str) -> str:
    """A block that trains by a preset."""
    if name == "xiao":
        return f"{START.replace('epochs = 2', 'epochs = 3')} method = xiao(robust, r = eps)"
    given = {"standard": "standard", "noise": "noise(1/4)"}
    after = ", after = a1" if "taps" in name else ""
    return f"{START} method = {given.get(name, f'{name}(robust, r = eps{after})')}"


BLOCKS: Mapping[str, str] = MappingProxyType(
    {
        **{f"preset {name}": preset(name) for name in WRITERS},
        **{by: f"{START}{RAMP}minimize certified_loss(robust, r = e, by = {by})" for by in BOUNDS},
        **{by: f"{START}minimize adversarial_loss(robust, r = eps, by = {by})" for by in ATTACKS},
        **{name: START + lines for name, lines in OTHERS.items()},
        "rates of stages": START.replace("epochs = 2 ", "").replace(
            "lr = 5e-3", "steps(5e-3, 1e-3 for e in 1..1)"
        )
        + "minimize clean_loss() stage one { epochs = 1 }"
        " stage two { epochs = 1 optimizer = adam(ramp(1e-3, 1e-4, epochs = 1..2)) }",
        "optimisers of stages": START.replace("epochs = 2 ", "").replace("adam(", "sgd(")
        + "minimize clean_loss() stage one { epochs = 1 optimizer = adam(lr = 5e-3) }"
        " stage two { epochs = 2 optimizer = sgd(lr = 1e-2, momentum = 9/10) }"
        " stage three { epochs = 1 optimizer = sgd(lr = 1e-3, momentum = 9/10) }",
        "pruned": PRUNED,
        "everything": EVERYTHING,
    }
)
"""Blocks by what they try."""
