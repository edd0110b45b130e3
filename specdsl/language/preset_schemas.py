"""`method = ...` in a `train` block: methods of the literature by name, each a few lines of text.

What a preset stands for is in `presets.py`; `specdsl explain SPEC` prints it.
"""

from __future__ import annotations

from fractions import Fraction

from specdsl.language.schemas import Option, Schema, Table, table
from specdsl.language.training_methods import ATTACKS

_PROPERTY = Option("property", "property", "a property of this spec", required=True)
_WARM = Option("warm", "int", "clean epochs before the radius grows", default=1, minimum=0)
_RAMP = Option("ramp", "int", "epochs in which it grows; without it 8 of 15 of all", minimum=1)
_FINAL = Option(
    "kappa", "weight", "share of the clean loss at the end", default=0, minimum=0, maximum=1
)
_BY = Option("by", "method", "how points are found", table=ATTACKS)
_CLEAN = Option("clean", "weight", "share of the clean loss", default=0, minimum=0, maximum=1)
_AFTER = Option("after", "layer", "the activation after which points are found", required=True)
_L1 = Option("l1", "weight", "of the absolute values of weights", default="1e-6", minimum=0)
_SHI = Option("shi", "weight", "of the regularisers of Shi", default="1/2", minimum=0)
_RAMPED = (_WARM, _RAMP, _L1, _SHI)


def _share(name: str, doc: str, default: str) -> Option:
    return Option(name, "weight", doc, default=default, minimum=0, maximum=1)


def _of_property(name: str, doc: str, *options: Option) -> Schema:
    return Schema(name, doc, (_PROPERTY, *options), positional=1)


_BOX = Option(
    "share",
    "weight",
    "radius of the small box, in parts of the whole",
    default="2/5",
    positive=True,
    maximum=1,
)

PRESETS: Table = table(
    "preset",
    Schema("standard", "nothing but the clean loss"),
    _of_property("madry", "adversarial training (Madry et al. 2018)", _BY, _CLEAN),
    _of_property("fgsm", "adversarial training with one step (Goodfellow et al. 2015)", _CLEAN),
    _of_property(
        "trades",
        "clean loss, and scores that hardly change (Zhang et al. 2019)",
        _BY,
        Option("beta", "weight", "weight of the change", default=6, minimum=0),
    ),
    _of_property(
        "friendly",
        "adversarial training that stops early for each sample (Zhang et al. 2020)",
        Option("steps", "int", "steps at most", default=10, minimum=1),
        _CLEAN,
    ),
    _of_property(
        "free",
        "adversarial training that uses each batch several times (Shafahi et al. 2019)",
        Option("replays", "int", "how often", default=4, minimum=1),
    ),
    _of_property("ibp", "interval training (Gowal 2018, Shi 2021)", _FINAL, *_RAMPED),
    _of_property(
        "crown_ibp",
        "CROWN-IBP (Zhang et al. 2020)",
        _FINAL,
        *_RAMPED,
        Option("fused", "bool", "loss fusion (Xu et al. 2020)", default="false"),
    ),
    _of_property(
        "wong_kolter",
        "training with the dual network (Wong and Kolter 2018, Wong et al. 2018)",
        Option("projections", "int", "random vectors; without it exact", minimum=1),
        _WARM,
        _RAMP,
    ),
    _of_property("sabr", "small boxes (Mueller et al. 2023)", _BOX, _BY, *_RAMPED),
    _of_property(
        "mtl_ibp",
        "interval and adversarial loss, added (De Palma et al. 2024)",
        _share("alpha", "share of the interval loss", "1/10"),
        _BY,
        *_RAMPED,
    ),
    _of_property(
        "cc_ibp",
        "the loss of a mixture of margins (De Palma et al. 2024)",
        _share("alpha", "share of the interval margins", "1/10"),
        _BY,
        *_RAMPED,
    ),
    _of_property(
        "exp_ibp",
        "a product of powers of both losses (De Palma et al. 2024)",
        _share("alpha", "power of the interval loss", "1/10"),
        _BY,
        *_RAMPED,
    ),
    _of_property("taps", "bounds, then points (Mao et al. 2023)", _AFTER, *_RAMPED),
    _of_property("staps", "the same over small boxes (Mao et al. 2023)", _AFTER, _BOX, *_RAMPED),
    _of_property(
        "mixtrain",
        "bounds for some samples of a batch, the clean loss for all (Wang et al. 2018)",
        Option("samples", "int", "how many", default=16, minimum=1),
        _share("alpha", "share of the bounded loss", "1/2"),
        _WARM,
        _RAMP,
        Option("adaptive", "bool", "weights that follow the losses", default="false"),
    ),
    Schema(
        "noise",
        "samples with normal noise (Cohen et al. 2019)",
        (Option("sigma", "weight", "standard deviation", required=True, minimum=0),),
        positional=1,
    ),
    _of_property(
        "xiao",
        "few and small weights, few unstable activations, pruned (Xiao et al. 2019)",
        _BY,
        Option("l1", "weight", "of the absolute values", default="2e-5", minimum=0),
        Option("rs", "weight", "of unstable activations", default="1e-4", minimum=0),
        Option("below", "real", "weights that are pruned", default="1e-3", positive=True),
        Option("stable", "real", "share of samples", "9/10", minimum=Fraction(1, 2), maximum=1),
        Option("finetune", "int", "epochs after pruning", default=2, minimum=1),
    ),
)
"""Methods by name. The first of the named numbers of the property is the radius that grows."""
