"""Names of a spec as names of a script, which has names of its own."""

from __future__ import annotations

import re
from keyword import iskeyword

# What scripts import, define and call their variables, whatever they train; a test holds it against
# what they import.
_WORDS = """
All Any_ Application Atom BALANCE1 BATCH BUDGET Balance Batches Best Budget CLIP Callable Certified
Checkpoint Claim Constraints CpuSeconds EPOCHS EpochRecord FREE1 Free HERE InputRegion Lagrangian
LatentAttack Log Losses Means Measured NamedTuple Net Normalize Optimisers OrderedDict Path
ProxyLagrangian Prunable Pruning RECIPE SEED SHAPE Samples Schedule THREADS Tensor Together
Trainable accuracies alpha_crown annotations argparse attack attacked_accuracies averaged ball
bound_gap bounds box cache certify check check_bounds check_gradients chosen chosen_rows claim
class_margins class_rows clean_accuracies clean_loss code complete constraints_of convex_margins
crown crown_ibp cut_by_ball data decided device_named distillation divergence draw each each_output
end epoch error_share estimate evaluate everywhere excess fast_lin few fgsm fixed flip forward found
friendly from_onnx fused_loss gap generator geometric guarded half_widths halfspaces hinge hull
initialise_default initialise_ibp inner inside intersect interval joint judged kl kl_loss l1 l2
latent latent_margins linear load_safetensors loss losses_of lower main margins margins_at matrix_of
means model moved net network_input networks nn noise noisy normal optimiser optimisers optimizer
outputs parts pgd place points product projections prune_relus read_cifar read_csv read_idx
read_npy_pair read_npz read_sklearn reconstruction_loss relu relu_stability robust_cross_entropy
rows_of rows_of_class s same_class samples save_onnx save_safetensors schedule scores seeded select
set_lr several shi_relu shi_tightness shift small small_claim smooth some spectral_product step
steps sys targeted terms tightness torch trades_divergence train unchanged unstable violation weight
with_noise within wong_kolter x y
"""
TAKEN = frozenset(_WORDS.split())
# Functions that certify after training.
CERTIFIED = re.compile(r"certified_[0-9]+")


def free_name(name: str) -> str:
    """The name itself, or with an underscore behind it where the script has it already."""
    found = name.replace(".", "_")
    taken = found in TAKEN or iskeyword(found) or CERTIFIED.fullmatch(found)
    return f"{found}_" if taken else found
