"""What is minimised: losses of margins, of outputs at points, and of two outputs at once.

All are means over the batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def robust_cross_entropy(margins: Tensor) -> Tensor:
    """Mean of `log(1 + sum over t of exp(-margins[t]))`: (batch, m) to a number.

    Of the margins of a class over all others it is the cross-entropy; of lower bounds it lies above
    that of every point. Source: Wong and Kolter 2018, arXiv:1711.00851, theorem 2.
    """
    return per_sample_robust_cross_entropy(margins).mean()


def per_sample_robust_cross_entropy(margins: Tensor) -> Tensor:
    """The same for each sample: (batch, m) to (batch,)."""
    return F.softplus(torch.logsumexp(-margins, dim=1))


def cross_entropy(scores: Tensor, classes: Tensor, smoothing: float = 0.0) -> Tensor:
    """Of the right class: scores (batch, classes) and classes (batch,) to a number."""
    return F.cross_entropy(scores, classes, label_smoothing=smoothing)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Over all entries: two tensors with as many entries in each sample to a number."""
    if outputs.numel() != targets.numel() or len(outputs) != len(targets):
        raise ValueError(f"outputs are {tuple(outputs.shape)}, targets {tuple(targets.shape)}")
    return F.mse_loss(outputs.flatten(1), targets.reshape(len(outputs), -1).to(outputs.dtype))


def clean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy where targets are classes (whole numbers), else the squared error."""
    if targets.dtype.is_floating_point:
        return mean_squared_error(outputs, targets)
    return cross_entropy(outputs, targets)


def trades_divergence(clean: Tensor, adversarial: Tensor) -> Tensor:
    """`KL(softmax(clean) || softmax(adversarial))`: scores (batch, classes) to a number.

    Gradients flow through both. Source: Zhang et al. 2019 (TRADES), arXiv:1901.08573, equation 3.
    """
    expected = F.log_softmax(clean, dim=1)
    found = F.log_softmax(adversarial, dim=1)
    return F.kl_div(found, expected, reduction="batchmean", log_target=True)


def distillation(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of the student with the teacher's softened classes, times temperature squared,
    so that gradients keep their size: scores (batch, classes) to a number.

    The teacher is a constant. Raises ValueError for a temperature that is not positive. Source:
    Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    if temperature <= 0:
        raise ValueError(f"a temperature is positive, not {temperature}")
    expected = F.softmax(teacher.detach() / temperature, dim=1)
    return temperature**2 * F.cross_entropy(student / temperature, expected)
