"""What emitted scripts import: everything that a training calls, under one name each."""

from __future__ import annotations

from specdsl.bounds.regions.region import InputRegion
from specdsl.training.certify.cascade import (
    Certified,
    accuracies,
    alpha_crown,
    attacked_accuracies,
    certify,
    clean_accuracies,
)
from specdsl.training.certify.complete import complete
from specdsl.training.runtime.attacks.attacks import (
    fgsm,
    friendly,
    kl,
    noise,
    pgd,
    several,
    with_noise,
)
from specdsl.training.runtime.attacks.free import Free
from specdsl.training.runtime.attacks.targeted import targeted
from specdsl.training.runtime.bounds.fused import fused_loss
from specdsl.training.runtime.bounds.latent import LatentAttack, half_widths, latent_margins
from specdsl.training.runtime.bounds.lower import (
    crown,
    crown_ibp,
    estimate,
    fast_lin,
    forward,
    interval,
    lower,
    projections,
    wong_kolter,
)
from specdsl.training.runtime.bounds.small_boxes import small_claim
from specdsl.training.runtime.claims.claim import (
    All,
    Any_,
    Application,
    Atom,
    Claim,
    ball,
    box,
    class_rows,
    intersect,
    margins_at,
    unchanged,
)
from specdsl.training.runtime.claims.parts import (
    chosen_rows,
    cut_by_ball,
    decided,
    each,
    each_output,
    fixed,
    halfspaces,
    hull,
    joint,
    matrix_of,
    moved,
    rows_of,
    rows_of_class,
    same_class,
    select,
)
from specdsl.training.runtime.loop.checkpoint import Checkpoint
from specdsl.training.runtime.loop.checks import check_bounds, check_gradients
from specdsl.training.runtime.loop.clock import linear, smooth, steps
from specdsl.training.runtime.loop.curves import draw
from specdsl.training.runtime.loop.data import Batches, Samples, flip, samples, shift
from specdsl.training.runtime.loop.log import CpuSeconds, EpochRecord, Log, Means
from specdsl.training.runtime.loop.optimise import (
    Budget,
    Optimisers,
    optimizer,
    seeded,
    set_lr,
    step,
)
from specdsl.training.runtime.loop.outermost import guarded
from specdsl.training.runtime.loop.selection import Best
from specdsl.training.runtime.losses.balance import Balance
from specdsl.training.runtime.losses.codes import kl_loss, normal, reconstruction_loss
from specdsl.training.runtime.losses.combine import convex_margins, geometric, product
from specdsl.training.runtime.losses.constraints import Lagrangian, ProxyLagrangian
from specdsl.training.runtime.losses.losses import (
    clean_loss,
    distillation,
    robust_cross_entropy,
    trades_divergence,
)
from specdsl.training.runtime.losses.measures import (
    Measured,
    class_margins,
    error_share,
    hinge,
    violation,
)
from specdsl.training.runtime.networks.graph_module import from_onnx
from specdsl.training.runtime.networks.initialise import default as initialise_default
from specdsl.training.runtime.networks.initialise import ibp as initialise_ibp
from specdsl.training.runtime.networks.layers import Normalize
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.prune import Pruning
from specdsl.training.runtime.networks.prune_relus import Prunable, prune_relus
from specdsl.training.runtime.networks.save import (
    device_named,
    load_safetensors,
    save_onnx,
    save_safetensors,
)
from specdsl.training.runtime.networks.together import Together
from specdsl.training.runtime.regularisers.claims import (
    averaged,
    bound_gap,
    everywhere,
    gap,
    inside,
    unstable,
)
from specdsl.training.runtime.regularisers.intervals import relu_stability, shi_relu, shi_tightness
from specdsl.training.runtime.regularisers.lipschitz import spectral_product
from specdsl.training.runtime.regularisers.weights import l1, l2

__all__ = [
    "All",
    "Any_",
    "Application",
    "Atom",
    "Balance",
    "Batches",
    "Best",
    "Budget",
    "Certified",
    "Checkpoint",
    "Claim",
    "CpuSeconds",
    "EpochRecord",
    "Free",
    "InputRegion",
    "Lagrangian",
    "LatentAttack",
    "Log",
    "Means",
    "Measured",
    "Normalize",
    "Optimisers",
    "ProxyLagrangian",
    "Prunable",
    "Pruning",
    "Samples",
    "Together",
    "Trainable",
    "accuracies",
    "alpha_crown",
    "attacked_accuracies",
    "averaged",
    "ball",
    "bound_gap",
    "box",
    "certify",
    "check_bounds",
    "check_gradients",
    "chosen_rows",
    "class_margins",
    "class_rows",
    "clean_accuracies",
    "clean_loss",
    "complete",
    "convex_margins",
    "crown",
    "crown_ibp",
    "cut_by_ball",
    "decided",
    "device_named",
    "distillation",
    "draw",
    "each",
    "each_output",
    "error_share",
    "estimate",
    "everywhere",
    "fast_lin",
    "fgsm",
    "fixed",
    "flip",
    "forward",
    "friendly",
    "from_onnx",
    "fused_loss",
    "gap",
    "geometric",
    "guarded",
    "half_widths",
    "halfspaces",
    "hinge",
    "hull",
    "initialise_default",
    "initialise_ibp",
    "inside",
    "intersect",
    "interval",
    "joint",
    "kl",
    "kl_loss",
    "l1",
    "l2",
    "latent_margins",
    "linear",
    "load_safetensors",
    "lower",
    "margins_at",
    "matrix_of",
    "moved",
    "noise",
    "normal",
    "optimizer",
    "pgd",
    "product",
    "projections",
    "prune_relus",
    "reconstruction_loss",
    "relu_stability",
    "robust_cross_entropy",
    "rows_of",
    "rows_of_class",
    "same_class",
    "samples",
    "save_onnx",
    "save_safetensors",
    "seeded",
    "select",
    "set_lr",
    "several",
    "shi_relu",
    "shi_tightness",
    "shift",
    "small_claim",
    "smooth",
    "spectral_product",
    "step",
    "steps",
    "targeted",
    "trades_divergence",
    "unchanged",
    "unstable",
    "violation",
    "with_noise",
    "wong_kolter",
]
