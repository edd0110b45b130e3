"""What emitted scripts import: everything that a training calls, under one name each."""

from __future__ import annotations

from specdsl.bounds.regions.region import InputRegion
from specdsl.training.certify.cascade import (
    Certified,
    accuracies,
    attacked_accuracies,
    certify,
    clean_accuracies,
)
from specdsl.training.runtime.attacks import fgsm, friendly, kl, noise, pgd, several, with_noise
from specdsl.training.runtime.checkpoint import Checkpoint
from specdsl.training.runtime.checks import check_bounds, check_gradients
from specdsl.training.runtime.claim import (
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
from specdsl.training.runtime.claim_parts import (
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
from specdsl.training.runtime.clock import linear, smooth, steps
from specdsl.training.runtime.combine import convex_margins, geometric, product
from specdsl.training.runtime.constraints import Lagrangian, ProxyLagrangian
from specdsl.training.runtime.curves import draw
from specdsl.training.runtime.data import Batches, Samples, flip, samples, shift
from specdsl.training.runtime.free import Free
from specdsl.training.runtime.graph_module import from_onnx
from specdsl.training.runtime.initialise import default as initialise_default
from specdsl.training.runtime.initialise import ibp as initialise_ibp
from specdsl.training.runtime.latent import LatentAttack, latent_margins
from specdsl.training.runtime.layers import Normalize
from specdsl.training.runtime.log import CpuSeconds, EpochRecord, Log, Means
from specdsl.training.runtime.losses import (
    clean_loss,
    distillation,
    robust_cross_entropy,
    trades_divergence,
)
from specdsl.training.runtime.lower import (
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
from specdsl.training.runtime.measures import Measured, class_margins, error_share, hinge, violation
from specdsl.training.runtime.network import Trainable
from specdsl.training.runtime.optimise import Budget, optimizer, seeded, set_lr, step
from specdsl.training.runtime.prune import Pruning
from specdsl.training.runtime.prune_relus import Prunable, prune_relus
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
from specdsl.training.runtime.save import (
    device_named,
    load_safetensors,
    save_onnx,
    save_safetensors,
)
from specdsl.training.runtime.selection import Best
from specdsl.training.runtime.small_boxes import small_claim
from specdsl.training.runtime.targeted import targeted

__all__ = [
    "All",
    "Any_",
    "Application",
    "Atom",
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
    "ProxyLagrangian",
    "Prunable",
    "Pruning",
    "Samples",
    "Trainable",
    "accuracies",
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
    "gap",
    "geometric",
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
    "optimizer",
    "pgd",
    "product",
    "projections",
    "prune_relus",
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
