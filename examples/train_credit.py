"""Train the two credit networks of `specs/credit.spec` and write them as ONNX.

    python examples/train_credit.py [FOLDER]

The data are made up: 4,000 applicants with an income, debts, an age and a gender, and the scores
that a biased office gave them in the past. It took points off one gender, and distrusted high
incomes. Both networks have one hidden layer and learn these scores.

- `credit_careless.onnx` just learns them, bias included.
- `credit_careful.onnx` learns them under two rules, restored after every step of the optimiser.
  More income never lowers the score: along every path from the income to the score the product of
  the weights is not negative, and one path is a straight line that rises. And the paths from the
  gender to the score add up to little.

Training takes a few seconds on one core.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import training
from torch import Tensor, nn

APPLICANTS = 4_000
HIDDEN = 12
STEPS = 1_500
LEARNING_RATE = 1e-2

INCOME, DEBT, AGE, GENDER = range(4)
MEAN = torch.tensor([45_000, 10_000, 50, 0], dtype=torch.float64)
RANGE = torch.tensor([30_000, 15_000, 30, 1], dtype=torch.float64)
"""The `normalize` of the space in the spec: the networks see (x - mean) / range."""

LINE = 0
"""The hidden neuron that passes the income on, shifted so that it is active for every income."""
LINE_SHIFT = 2.0  # the lowest income is -1.5 after normalisation
LEAST_SLOPE = 0.03
MOST_GENDER = 0.03


@dataclass(frozen=True)
class Applicants:
    """Normalised fields, shape (n, 4), and the scores of the past, shape (n, 1)."""

    fields: Tensor
    scores: Tensor


def applicants() -> Applicants:
    """Half of the incomes are below 50,000 EUR, half of the debts below 12,500 EUR."""
    generator = torch.Generator().manual_seed(0)

    def uniform() -> Tensor:
        return torch.rand(APPLICANTS, generator=generator, dtype=torch.float64)

    income = 200_000 * uniform() ** 2
    debt = 100_000 * uniform() ** 3
    age = torch.floor(18 + 82 * uniform())
    gender = torch.floor(2 * uniform())
    fields = (torch.stack([income, debt, age, gender], dim=1) - MEAN) / RANGE
    earned = torch.tanh(fields[:, INCOME] / 1.5) / 4 - torch.tanh(fields[:, DEBT] / 2) / 4
    distrust = torch.relu(income - 120_000) / 80_000 / 5
    scores = 0.5 + earned + fields[:, AGE].clamp(-1, 0.5) / 20 - distrust - gender / 8
    return Applicants(fields, scores[:, None])


def train(data: Applicants, careful: bool) -> nn.Sequential:
    """Full-batch Adam on the squared error."""
    torch.manual_seed(0)
    model = training.dense(4, HIDDEN, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(data.fields), data.scores).backward()
        optimizer.step()
        if careful:
            keep_rules(model)
    return model


@torch.no_grad()
def keep_rules(model: nn.Sequential) -> None:
    """Change the weights as little as the two rules ask for."""
    inner, outer = model[0], model[2]
    assert isinstance(inner, nn.Linear)
    assert isinstance(outer, nn.Linear)
    weights, out = inner.weight, outer.weight[0]
    weights[LINE], inner.bias[LINE] = 0.0, LINE_SHIFT
    weights[LINE, INCOME] = 1.0
    out[LINE] = out[LINE].clamp(min=LEAST_SLOPE)
    weights[weights[:, INCOME] * out < 0, INCOME] = 0.0
    influence = (weights[:, GENDER] * out).abs().sum()
    weights[:, GENDER] *= (MOST_GENDER / influence).clamp(max=1.0)


def main() -> None:
    """Train both, say how they treat income and gender, write the files."""
    data, target = applicants(), training.folder(training.NETWORKS)
    for name, careful in (("credit_careful", True), ("credit_careless", False)):
        model = train(data, careful)
        describe(model, data)
        training.write(
            training.to_graph(model, (1, 4), "applicant", "score"), target / f"{name}.onnx"
        )


@torch.no_grad()
def describe(model: nn.Sequential, data: Applicants) -> None:
    """Print the error, and how much the score falls with income and differs between genders."""
    error = float((model(data.fields) - data.scores).abs().mean())
    step = torch.zeros(4, dtype=torch.float64)
    step[INCOME] = 1_000 / RANGE[INCOME]
    rise = model(data.fields + step) - model(data.fields)
    genders = [data.fields.clone() for _ in range(2)]
    for gender, fields in enumerate(genders):
        fields[:, GENDER] = gender
    difference = (model(genders[0]) - model(genders[1])).abs()
    print(f"mean error {error:.3f}, least rise for 1,000 EUR {float(rise.min()):+.5f}, ", end="")
    print(f"largest difference between genders {float(difference.max()):.3f}")


if __name__ == "__main__":
    main()
