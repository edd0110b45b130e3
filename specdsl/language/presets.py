"""What presets of training stand for: text of the language, line by line, as a user would write it.

Names in capitals are filled in: PROPERTY(...) are the property and its named arguments as given,
GROWING those with the radius that grows, BY the attack, others the option of that name. Numbers
and defaults are those of the papers named in `preset_schemas.py`, and of the recipe that was
measured for them: one clean epoch, a radius that grows smoothly over 8 of 15 epochs, the
regularisers of Shi et al. 2021 (arXiv:2103.17268) fading while it grows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Attacks where none is given. Steps of half the radius, a tenth of it after the fourth and the
# seventh: SABR (Mueller et al. 2023, arXiv:2210.04871), and MTL-IBP after it.
SHRINKING = "pgd(steps = 8, alpha = {radius} / 2, decay = 1/10, decay_at = [4, 7])"
# Madry et al. 2018 (arXiv:1706.06083) on MNIST: 40 steps of a thirtieth; 10 of a quarter cost less.
STEADY = "pgd(steps = 10, alpha = {radius} / 4)"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a preset is written around.

    `epochs` in all; the radius grows from epoch `start` to `end`. `grows`: whether there is a
    radius that can; otherwise only the weights of losses change. `radius`: whether one is known.
    `given`: the options that were written; `on`: those that were set to true.
    """

    epochs: int
    start: int
    end: int
    grows: bool
    radius: bool
    given: frozenset[str] = frozenset()
    finetune: int = 0
    on: frozenset[str] = frozenset()

    @property
    def now(self) -> str:
        """The radius of the moment, in text."""
        return "eps" if self.grows else "RADIUS"

    def attack(self, text: str, radius: str) -> str:
        """An attack; where no radius is known, with the sizes of steps that are its defaults."""
        if self.radius:
            return text.format(radius=radius)
        return "pgd(steps = 10)"

    def clock(self) -> str:
        """`eps` from 0 to the radius, and `fade` from 1 to 0 as it grows."""
        span = f"epochs = {self.start}..{self.end}"
        if not self.grows:
            return f"let fade = ramp(1, 0, {span}, shape = smooth)\n"
        ramp = f"let eps = ramp(0, RADIUS, {span}, shape = smooth)\n"
        return ramp + "let fade = 1 - eps / RADIUS\n"

    def warmed(self, terms: str) -> str:
        """Terms, with the clean loss alone in the epochs before the radius grows."""
        if self.start == 0:
            return f"minimize {terms}\n"
        warm = f"let warm = steps(0, 1 for e in 0..{self.start - 1})\n"
        return warm + f"minimize warm * clean_loss() + (1 - warm) * ({terms})\n"

    def mixed(self, loss: str) -> str:
        """A loss with the share of the clean one that was asked for."""
        if "clean" not in self.given:
            return f"minimize {loss}\n"
        return f"minimize CLEAN * clean_loss() + (1 - CLEAN) * {loss}\n"

    def shi(self) -> str:
        """The regularisers of Shi with the small l1 of the recipe."""
        return "regularize SHI * fade * shi(GROWING) + L1 * l1(weights)\n"


Writer = Callable[[Frame], str]


def _standard(_: Frame) -> str:
    return "minimize clean_loss()"


def _adversarial(attack: Callable[[Frame], str]) -> Writer:
    """An attack's loss mixed with the clean one."""
    return lambda frame: (
        f"let points = {attack(frame)}\n" + frame.mixed("adversarial_loss(GIVEN, by = points)")
    )


def _madry_attack(frame: Frame) -> str:
    return f"BY[{frame.attack(STEADY, 'RADIUS')}]"


def _fgsm_attack(_: Frame) -> str:
    return "fgsm()"


def _friendly(frame: Frame) -> str:
    """Steps after the first wrong answer grow from 0 to 3, as in arXiv:2002.11242."""
    size = ", alpha = RADIUS / 4" if frame.radius else ""
    end = max(1, frame.epochs - 1)
    return (
        f"let tau = ramp(0, 3, epochs = 0..{end})\n"
        f"let points = friendly(steps = STEPS, tau = tau{size})\n"
        + frame.mixed("adversarial_loss(GIVEN, by = points)")
    )


def _trades(frame: Frame) -> str:
    return (
        f"let points = BY[{frame.attack(STEADY, 'RADIUS')}]\n"
        "minimize clean_loss() + BETA * trades_loss(GIVEN, by = points)"
    )


def _free(_: Frame) -> str:
    return "minimize adversarial_loss(GIVEN, by = free(replays = REPLAYS))"


def _noise(_: Frame) -> str:
    return "minimize noisy_loss(SIGMA)"


def _mixing(frame: Frame, bounds: str) -> str:
    """From the clean loss to bounds as the radius grows (arXiv:1810.12715)."""
    kappa = "KAPPA + (1 - KAPPA) * fade" if "kappa" in frame.given else "fade"
    return (
        frame.clock()
        + f"let kappa = {kappa}\n"
        + "minimize kappa * clean_loss()\n"
        + f"  + (1 - kappa) * certified_loss(GROWING, by = {bounds})\n"
        + frame.shi()
    )


def _ibp(frame: Frame) -> str:
    return _mixing(frame, "ibp")


def _crown_ibp(frame: Frame) -> str:
    """Linear bounds give way to intervals as the radius grows (arXiv:1906.06316)."""
    fused = ", fused = true" if "fused" in frame.on else ""
    return _mixing(frame, f"crown_ibp(beta = fade{fused})")


def _wong_kolter(frame: Frame) -> str:
    """The radius starts small, because the loss sticks where it is large from the beginning."""
    return (
        frame.clock()
        + "minimize fade * clean_loss()\n"
        + "  + (1 - fade) * certified_loss(GROWING, by = wong_kolter(PROJECTIONS))\n"
    )


def _sabr(frame: Frame) -> str:
    return (
        frame.clock()
        + f"let points = BY[{frame.attack(SHRINKING, frame.now)}]\n"
        + frame.warmed("certified_loss(GROWING, by = small_box(share = SHARE, attack = points))")
        + frame.shi()
    )


def _two(loss: str) -> Writer:
    """Interval bounds and an attack together (arXiv:2305.13991)."""
    return lambda frame: (
        frame.clock()
        + f"let points = BY[{frame.attack(SHRINKING, frame.now)}]\n"
        + frame.warmed(loss)
        + frame.shi()
    )


_MTL = (
    "ALPHA * certified_loss(GROWING, by = ibp)"
    " + (1 - ALPHA) * adversarial_loss(GROWING, by = points)"
)
_BOTH = "(ALPHA, certified_loss(GROWING, by = ibp), adversarial_loss(GROWING, by = points))"


def _latent(bounds: str) -> Writer:
    """The loss of points behind a layer times that of bounds (arXiv:2305.04574)."""
    return lambda frame: (
        frame.clock()
        + f"let points = {frame.attack(SHRINKING, frame.now)}\n"
        + frame.warmed(f"certified_loss(GROWING, by = {bounds})")
        + frame.shi()
    )


def _mixtrain(frame: Frame) -> str:
    """The share of the bounded loss grows with the radius: of the weights, or of the sum."""
    start = frame.clock() + "let share = ALPHA * (1 - fade)\n"
    if "adaptive" in frame.on:
        bounded = "certified_loss(GROWING, by = fast_lin, samples = SAMPLES)"
        return start + f"minimize balanced(share, {bounded}, clean_loss())\n"
    return (
        start
        + "minimize (1 - share) * clean_loss()\n"
        + "  + share * certified_loss(GROWING, by = fast_lin, samples = SAMPLES)\n"
    )


def _xiao(frame: Frame) -> str:
    """Adversarial training with l1 and RS loss, then both prunings, then a few epochs more.

    Pruned weights and activations stay as they are (arXiv:1809.03008).
    """
    stability = " + RS * relu_stability(RADIUS)" if frame.radius else ""
    radius = ", r = RADIUS" if frame.radius else ""
    return (
        f"let points = BY[{frame.attack(STEADY, 'RADIUS')}]\n"
        "minimize adversarial_loss(GIVEN, by = points)\n"
        f"regularize L1 * l1(weights){stability}\n"
        f"stage sparse {{ epochs = {frame.epochs - frame.finetune} }}\n"
        f"stage pruned {{\n  epochs = {frame.finetune}\n"
        "  prune weights(below = BELOW)\n"
        f"  prune relus(stable = STABLE{radius})\n}}\n"
    )


WRITERS: Mapping[str, Writer] = MappingProxyType(
    {
        "standard": _standard,
        "madry": _adversarial(_madry_attack),
        "fgsm": _adversarial(_fgsm_attack),
        "trades": _trades,
        "friendly": _friendly,
        "free": _free,
        "noise": _noise,
        "ibp": _ibp,
        "crown_ibp": _crown_ibp,
        "wong_kolter": _wong_kolter,
        "sabr": _sabr,
        "mtl_ibp": _two(_MTL),
        "cc_ibp": _two("convex" + _BOTH),
        "exp_ibp": _two("geometric" + _BOTH),
        "taps": _latent("taps(after = AFTER, attack = points)"),
        "staps": _latent("staps(after = AFTER, share = SHARE, attack = points)"),
        "mixtrain": _mixtrain,
        "xiao": _xiao,
    }
)
"""Preset to the function that writes its lines."""
