"""TAPS: intervals through the first layers, an attack on what they leave through the others.

The intervals of an inner layer are a box, most of which no input reaches. A point of that box that
is worst for a margin gives a value between the true minimum and the interval bound of the rest:
no bound, but nearer to the truth, and so a better thing to train for. On small boxes: STAPS.

Source: Mao et al. 2023, arXiv:2305.04574.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.forward import affine_value
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.training.runtime.bounds.lower import lower
from specdsl.training.runtime.claims.claim import Claim
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.regularisers.intervals import Ends, intervals

# Narrower than this, both ends of a box take half of a gradient.
NARROW = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class LatentAttack:
    """How a worst point is looked for in the box behind the ReLU number `after`, counted from 1.

    Signed gradient steps of `step` half-widths, multiplied by the factors of `decay` from those
    steps on, from `restarts` random points; `step` is one number or one of each sample, (batch,),
    as `half_widths` gives them. `connector`: the part of a width over which an end takes a share of
    the gradient. Not callable, so that it is no `Bound`.
    """

    after: int
    generator: torch.Generator
    steps: int = 8
    restarts: int = 1
    step: float | Tensor = 0.5
    decay: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({4: 0.1, 7: 0.1}))
    connector: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 0 or self.restarts < 1 or self.after < 1:
            raise ValueError("no fewer than 0 steps, 1 restart and 1 ReLU")
        if not 0 < self.connector <= 1:
            raise ValueError(f"a connector lies between 0 and 1, not {self.connector}")


def latent_margins(net: Trainable, claim: Claim, attack: LatentAttack) -> Tensor:
    """Margins of a claim at the worst points found in the inner box: (batch, m). TRAIN ONLY.

    Each margin has a point of its own. Of an application that a claim reads beside others, the
    worst points are its own too. Gradients flow into all weights: through the rest of the network
    by its values, through the first layers by the ends of the box.
    Raises Unsupported where there are fewer ReLUs, or a connection goes around that one.
    """
    # What `lower` adds up and combines are estimates here, and so is what comes out.
    return lower(net, claim, lambda net, region, rows: _estimated(net, region, rows, attack))


def _estimated(net: Trainable, region: InputRegion, rows: Tensor, attack: LatentAttack) -> Tensor:
    compiled = net.compiled()
    node = relu_number(compiled, attack.after)
    box = intervals(compiled, region)[node]
    rows = rows.expand(region.batch, -1, -1)
    points = worst_points(compiled, node, box, rows, attack)
    return _margins(compiled, node, connected(points, box, attack.connector), rows)


def half_widths(region: InputRegion, alpha: float) -> Tensor:
    """A length in units of the inputs as a share of each region, which a step inside has too.

    In parts of the widest radius: (batch,). Two half-widths are a whole box; longer steps are cut
    to that, and any step in a point.
    """
    widest = region.box.radius.detach().amax(1)
    return (alpha / widest.clamp(min=torch.finfo(widest.dtype).tiny)).clamp(max=2.0)


def relu_number(compiled: CompiledGraph, number: int) -> NodeId:
    """The node of a ReLU, counted from 1. Raises Unsupported where there are fewer."""
    relus = [node for node, op, _ in compiled.graph if type(op) is ops.Relu]
    if number > len(relus):
        what = f"ReLU number {number} of a network with {len(relus)}"
        raise Unsupported("an attack inside a network", what)
    return relus[number - 1]


def outputs_from(compiled: CompiledGraph, node: NodeId, values: Tensor) -> Tensor:
    """The output computed from values of an inner node: (points, *node) to (points, *output).

    Raises Unsupported where it depends on the input in another way too.
    """
    graph = compiled.graph
    found = {node: values}
    for other, op, operands in graph:
        if isinstance(op, ops.Constant):
            found[other] = compiled.constants[other].expand(len(values), *op.value.shape)
        elif other not in found and operands and found.keys() >= set(operands):
            given = [found[o] for o in operands]
            rule = compiled.rules.get(other)
            kernel = compiled.kernels.get(other)
            if rule is not None:
                found[other] = rule.evaluate(given)
            elif kernel is not None:
                found[other] = affine_value(kernel, given)
    if graph.output not in found:
        what = f"a connection around `{node}`"
        raise Unsupported("an attack inside a network", what, "choose another `after`")
    return found[graph.output]


def worst_points(
    compiled: CompiledGraph, node: NodeId, box: Ends, rows: Tensor, attack: LatentAttack
) -> Tensor:
    """A point of the box for every row that makes `rows . output` small, without a gradient.

    Shapes: box (batch, *node), rows (batch, count, outputs), points (batch, count, *node).
    """
    count = rows.shape[1]
    lower, upper = (
        end[:, None].expand(-1, count, *end.shape[1:]) for end in (box.lower, box.upper)
    )
    radius = (upper - lower) / 2
    step = attack.step
    if isinstance(step, Tensor):
        step = step.reshape(-1, *(1 for _ in lower.shape[1:]))
    best, least = lower, torch.full(rows.shape[:2], torch.inf).to(rows)
    for _ in range(attack.restarts):
        points = lower + 2 * radius * _uniform(lower, attack.generator)
        # Products round: the points stay inside.
        points = points.maximum(lower).minimum(upper)
        size = step
        for number in range(attack.steps):
            size = size * attack.decay.get(number, 1.0)
            points = points.detach().requires_grad_()
            with torch.enable_grad():
                margins = _margins(compiled, node, points, rows)
                (gradient,) = torch.autograd.grad(margins.sum(), points)
            best, least = _better(best, least, points.detach(), margins.detach())
            points = points.detach() - size * radius * gradient.sign()
            points = points.maximum(lower).minimum(upper)
        with torch.no_grad():
            margins = _margins(compiled, node, points, rows)
        best, least = _better(best, least, points.detach(), margins)
    return best


def connected(points: Tensor, box: Ends, part: float) -> Tensor:
    """The points, with gradients that go to the ends of the box near which they lie.

    An end takes the whole gradient of an entry that lies on it, none from `part` of the width on,
    and linearly between (the rectified linear connector). Shapes: points (batch, count, *node).
    """
    lower, upper = box.lower[:, None], box.upper[:, None]
    with torch.no_grad():
        reach = part * (upper - lower)
        narrow = reach < NARROW
        safe = reach.clamp(min=NARROW)
        to_lower, to_upper = (
            torch.where(narrow, 0.5, (1 - gap / safe).clamp(min=0))
            for gap in (points - lower, upper - points)
        )
    moved = to_lower * (lower - lower.detach()) + to_upper * (upper - upper.detach())
    return points.detach() + moved


def _margins(compiled: CompiledGraph, node: NodeId, points: Tensor, rows: Tensor) -> Tensor:
    """Each row at its own point: (batch, count)."""
    outputs = outputs_from(compiled, node, points.flatten(0, 1)).flatten(1)
    return (rows * outputs.unflatten(0, points.shape[:2])).sum(2)


def _better(best: Tensor, least: Tensor, points: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
    improved = margins < least
    shaped = improved.reshape(*improved.shape, *(1 for _ in points.shape[2:]))
    return torch.where(shaped, points, best), torch.where(improved, margins, least)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(like.shape, generator=generator, device=generator.device)
    return drawn.to(dtype=like.dtype, device=like.device)
