"""Train the three networks of `specs/equivalence.spec` and write them as ONNX.

    python examples/train_distilled.py [FOLDER]

A teacher of 64, 16 and 10 neurons learns scikit-learn's digits. The students are the teacher with
cheaper weights, all of them rounded to multiples of a power of two, as on hardware that computes
with whole numbers: `student.onnx` keeps eight binary digits after the point and is hardly
different, `student_coarse.onnx` keeps one. Training takes a few seconds on one core.
"""

from __future__ import annotations

import torch
import training
from torch import nn
from training import Digits

EPOCHS = 300
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-4
STUDENTS = {"student": 8, "student_coarse": 1}
"""Binary digits that the weights of each student keep after the point."""


def train(digits: Digits) -> nn.Sequential:
    """The teacher: full-batch Adam on the cross entropy."""
    torch.manual_seed(0)
    model = training.dense(64, 16, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(digits.images), digits.classes).backward()
        optimizer.step()
    return model


@torch.no_grad()
def rounded(teacher: nn.Sequential, bits: int) -> nn.Sequential:
    """A copy of the teacher whose weights are multiples of 2^-bits."""
    student = training.dense(64, 16, 10)
    for kept, made in zip(teacher.parameters(), student.parameters(), strict=True):
        made.copy_(torch.round(kept * 2**bits) / 2**bits)
    return student


def main() -> None:
    """Train the teacher, round its weights, say how close the students are, write the files."""
    seen, unseen = training.digits()
    teacher = train(seen)
    models = {"teacher": teacher}
    models |= {name: rounded(teacher, bits) for name, bits in STUDENTS.items()}
    target = training.folder(training.NETWORKS)
    for name, model in models.items():
        with torch.no_grad():
            difference = (model(unseen.images) - teacher(unseen.images)).abs().max()
        right = training.share_right(model, unseen)
        print(f"{right:.1%} of unseen digits, at most {difference:.4f} from the teacher")
        whole = nn.Sequential(nn.Flatten(), *model)
        graph = training.to_graph(whole, (1, 8, 8), "image", "scores")
        training.write(graph, target / f"{name}.onnx")


if __name__ == "__main__":
    main()
