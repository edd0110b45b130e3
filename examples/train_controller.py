"""Train the controller of `specs/double_integrator.spec` and write it as ONNX.

    python examples/train_controller.py [FOLDER]

A cart on a line is seen as position and speed, and pushed with a force from -1 to 1 once a second.
The best linear controller for small pushes is known in closed form; clipped to -1 to 1 it is what
the network imitates, on 5,000 states. Training takes a few seconds on one core.
"""

from __future__ import annotations

import numpy as np
import torch
import training
from scipy.linalg import solve_discrete_are
from torch import Tensor, nn

A = np.array([[1.0, 1.0], [0.0, 1.0]])
B = np.array([[0.5], [1.0]])
STATES = 5_000
REACH = torch.tensor([4.0, 2.0], dtype=torch.float64)
"""The states to learn from: positions within 4 m, speeds within 2 m/s."""
STEPS = 1_500
LEARNING_RATE = 1e-2

HORIZON = 10
START = torch.tensor([[2.5, -0.25], [3.0, 0.25]], dtype=torch.float64)
NOISE = 1e-3
GOAL = 0.5


def gain() -> Tensor:
    """K of the linear-quadratic regulator u = -K x with unit costs, shape (1, 2)."""
    cost = solve_discrete_are(A, B, np.eye(2), np.eye(1))
    return torch.tensor(np.linalg.solve(np.eye(1) + B.T @ cost @ B, B.T @ cost @ A))


def train() -> nn.Sequential:
    """Full-batch Adam on the squared error, on random states."""
    torch.manual_seed(0)
    states = REACH * (2 * torch.rand(STATES, 2, dtype=torch.float64) - 1)
    pushes = (-states @ gain().T).clamp(-1, 1)
    model = training.dense(2, 16, 8, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(states), pushes).backward()
        optimizer.step()
    return model


@torch.no_grad()
def simulate(model: nn.Sequential, runs: int = 10_000) -> Tensor:
    """States of random runs from the start box, shape (steps + 1, runs, 2)."""
    state = START[0] + (START[1] - START[0]) * torch.rand(runs, 2, dtype=torch.float64)
    states = [state]
    for _ in range(HORIZON):
        push = model(state).clamp(-1, 1)
        noise = NOISE * (2 * torch.rand(runs, 2, dtype=torch.float64) - 1)
        state = state @ torch.tensor(A).T + push @ torch.tensor(B).T + noise
        states.append(state)
    return torch.stack(states)


def main() -> None:
    """Train, say where random runs lead, write the file."""
    model = train()
    states = simulate(model)
    inside = (states.abs() <= GOAL).all(dim=2)
    print(f"farthest position: {float(states[..., 0].max()):.2f} m")
    print(f"runs that reach the goal: {float(inside.any(dim=0).double().mean()):.1%}")
    print(f"runs in the goal at the end: {float(inside[-1].double().mean()):.1%}")
    graph = training.to_graph(model, (1, 2), "state", "push")
    training.write(graph, training.folder(training.NETWORKS) / "double_integrator.onnx")


if __name__ == "__main__":
    main()
