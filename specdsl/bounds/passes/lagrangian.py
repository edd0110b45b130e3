"""The layer-wise Lagrangian dual: free multipliers between layers, and the best found for them.

Every nonlinear op `y = f(z)` with `z` in its interval is cut off from what computes `z`: the row's
coefficient `nu` on `y` is exchanged for a free one, `mu`, on `z`, and the least value over the
interval of `nu f(z) - mu z` is paid for it, entry by entry. What is paid, and the least value over
the inputs of the linear function that is left, add up to a lower bound of the row, whatever the
multipliers. They start as those of CROWN, where the bound is CROWN's or better, and climb from
there; at best the bound is that of the linear program over the convex hull of each op.

The paper has a second multiplier for each layer, of `z = W x + b`. It is eliminated here: with `nu`
carried through the affine op exactly, the bounds on `x` are those that the op before has paid for.

Source: Dvijotham et al. 2018, arXiv:1803.06567.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds import piecewise, smooth
from specdsl.bounds.kinds.nonlinear import (
    NonlinearRule,
    PiecewiseLinearRule,
    PolynomialRule,
    SmoothRule,
)
from specdsl.bounds.kinds.relaxation import Passed
from specdsl.bounds.passes.crown import Propagated
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.backward import least, walk
from specdsl.bounds.rows.rows import DenseRows, Rows, entries
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

# Of a typical multiplier of the row, at the first step; the last is LAST_PART of it.
FIRST_STEP = 0.4
LAST_PART = 0.05
# Of what 400 steps win on random networks of three hidden layers, 20 win 45 %, 50 win 80 %.
STEPS = 50


@dataclass(frozen=True, slots=True, eq=False)
class DualBound:
    """`lower` (batch, rows), the best found; `multipliers` of every elementwise node that gave it,
    (batch, rows, *operand). Any other multipliers of these shapes give a bound as well.
    """

    lower: Tensor
    multipliers: Mapping[NodeId, Tensor]


def lagrangian_bound(
    compiled: CompiledGraph,
    rows: Tensor,
    region: InputRegion,
    propagated: Propagated,
    steps: int = STEPS,
) -> DualBound:
    """The dual bound of `rows . output` after so many steps of ascent from CROWN's multipliers.

    `propagated`: bounds and relaxations of all nodes on the region. Shapes: rows (batch or 1, rows,
    *output). Raises Unsupported for graphs that magnify rounding without limit.
    """
    _require_tame(compiled)
    with torch.no_grad():
        walk = _Walk(compiled, region, propagated, None)
        best = walk.lower(rows.expand(region.batch, *rows.shape[1:]))
    multipliers = walk.found
    scales = {node: _typical(value) for node, value in multipliers.items()}
    free = {n: (value / scales[n]).requires_grad_(True) for n, value in multipliers.items()}
    if not free:
        return DualBound(best, {})
    ascent = torch.optim.Adam(list(free.values()), lr=FIRST_STEP, maximize=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(ascent, LAST_PART ** (1 / max(1, steps)))
    for _ in range(steps):
        ascent.zero_grad()
        with torch.enable_grad():
            tried = {node: value * scales[node] for node, value in free.items()}
            value = dual_value(compiled, rows, region, propagated, tried)
            value.sum().backward()
        better = value.detach() > best
        best = value.detach().where(better, best)
        multipliers = {
            node: _where_rows(better, tried[node].detach(), kept)
            for node, kept in multipliers.items()
        }
        ascent.step()
        schedule.step()
    return DualBound(best, multipliers)


def dual_value(
    compiled: CompiledGraph,
    rows: Tensor,
    region: InputRegion,
    propagated: Propagated,
    multipliers: Mapping[NodeId, Tensor],
) -> Tensor:
    """The dual bound at given multipliers, (batch, rows); differentiable in them.

    Entries on which an op has one linear piece take the only multiplier that costs nothing, so
    theirs are not read. Raises Unsupported as `lagrangian_bound`.
    """
    _require_tame(compiled)
    walk = _Walk(compiled, region, propagated, multipliers)
    return walk.lower(rows.expand(region.batch, *rows.shape[1:]))


def _require_tame(compiled: CompiledGraph) -> None:
    if compiled.outward is not None:
        what = "ops that may magnify rounding without limit"
        raise Unsupported("the Lagrangian dual", what, "use `crown`")


def _typical(values: Tensor) -> Tensor:
    """A size of each row's multipliers, 1 where all are 0: (batch, rows, 1, ...)."""
    size = values.abs().flatten(2).mean(2)
    size = size.where(size > 0, torch.ones_like(size))
    return size.reshape(*size.shape, *(1 for _ in values.shape[2:]))


def _where_rows(chosen: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return one.where(chosen.reshape(*chosen.shape, *(1 for _ in one.shape[2:])), other)


@dataclass(slots=True, eq=False)
class _Walk:
    """One way back from the output. Without multipliers they are chosen as CROWN does, and noted in
    `found`.
    """

    compiled: CompiledGraph
    region: InputRegion
    propagated: Propagated
    multipliers: Mapping[NodeId, Tensor] | None
    found: dict[NodeId, Tensor] = field(default_factory=dict[NodeId, Tensor])

    def lower(self, rows: Tensor) -> Tensor:
        """The bound; rows (batch, rows, *output) to (batch, rows)."""
        output = self.compiled.graph.output
        return least(walk(self.compiled, output, DenseRows(rows), self._through), self.region)

    def _through(self, node: NodeId, rows: Rows) -> Passed:
        through = self.propagated.relaxations[node].through(rows)
        rule = self.compiled.rules[node]
        if not _is_elementwise(rule):
            return through
        (operand,) = self.compiled.graph.operands(node)
        z = self.propagated.bounds[operand]
        # Rows of the output are dense, and stay so.
        coefficients, multiplier = (r.dense().coefficients for r in (rows, through.rows[0]))
        if self.multipliers is None:
            self.found[node] = multiplier
        else:
            multiplier = self.multipliers[node].where(rule.unstable(z)[:, None], multiplier)
        cost = entries(least_cost(rule, z, coefficients, multiplier), 2).sum(2)
        return Passed((DenseRows(multiplier),), cost)


def _is_elementwise(rule: NonlinearRule) -> bool:
    if isinstance(rule, PolynomialRule):
        return isinstance(rule.op, ops.Square)
    return isinstance(rule, PiecewiseLinearRule | SmoothRule)


# --- what an entry pays --------------------------------------------------------------------------


def least_cost(rule: NonlinearRule, z: Interval, nu: Tensor, mu: Tensor) -> Tensor:
    """A lower bound of the least `nu f(z) - mu z` on the interval; differentiable in nu and mu.

    Exact but for smooth ops, where it is near. Shapes: z (batch, *shape), others (batch, rows,
    *shape).
    """
    with torch.no_grad():
        found = _lowest(rule, z, nu, mu)
        at_point = rule.evaluate([found.point])
    # The value as found; its gradient is that at the minimiser.
    return found.value + (nu - nu.detach()) * at_point - (mu - mu.detach()) * found.point


def _lowest(rule: NonlinearRule, z: Interval, nu: Tensor, mu: Tensor) -> smooth.Lowest:
    if isinstance(rule, SmoothRule):
        return _lowest_smooth(rule, z, nu, mu)
    low, high = z.lower[:, None], z.upper[:, None]
    if isinstance(rule, PiecewiseLinearRule):
        inner = [low.new_tensor(p).clamp(low, high) for p in rule.op.breakpoints]
        points = [low, high, *inner]
        values = [nu * piecewise.evaluate(rule.op, p) - mu * p for p in points]
    else:
        # A square turns where its slope is that of the line, if it is convex there at all.
        turn = (mu / (2 * nu)).nan_to_num(nan=0.0).clamp(low, high)
        points = [low, high, turn]
        values = [nu * p * p - mu * p for p in points]
    value, best = torch.stack(values).min(0, keepdim=True)
    spread = torch.stack([p.expand_as(nu) for p in points])
    return smooth.Lowest(value[0], spread.gather(0, best)[0])


def _lowest_smooth(rule: SmoothRule, z: Interval, nu: Tensor, mu: Tensor) -> smooth.Lowest:
    """`|nu|` times the least of `sign f(z) - (mu / |nu|) z`, or bounds of both parts apart."""
    size, steep = nu.abs().transpose(0, 1), mu.transpose(0, 1)
    slopes = (steep / size).where(size > 0, torch.zeros_like(steep))
    above, below = (smooth.lowest_beside_line(rule.op, z, slopes, s) for s in (1.0, -1.0))
    positive = nu.transpose(0, 1) > 0
    # Without the function only the line is left, which `apart` bounds exactly.
    value = (size * above.value.where(positive, below.value)).masked_fill(size == 0, -torch.inf)
    point = above.point.where(positive, below.point)
    image = rule.image([z])
    corner = z.lower.where(steep < 0, z.upper)
    apart = torch.minimum(nu * image.lower[:, None], nu * image.upper[:, None]).transpose(0, 1)
    apart = apart - steep * corner
    better = ~(value >= apart)  # Fails for NaN.
    return smooth.Lowest(
        apart.where(better, value).transpose(0, 1), corner.where(better, point).transpose(0, 1)
    )
