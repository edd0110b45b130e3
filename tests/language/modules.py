"""A module for tests, and what is said of files that import modules."""

from __future__ import annotations

from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.files import read_source
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec

ROBUST = """spec 1.0
param eps: real = 2/255 in [0, 1]
param file: string = "net.onnx"
enum Class { cat, dog }
space Image { pixels: real[4] in [0, 1] }
network net: Image -> real[Class] = onnx(file)
dataset test: (Image, label[Class]) = csv("data.csv", label = "class")
region ball(x, r) = norm_ball(x, r, linf) & box(0, 1)
let score(x) = net(x).cat - net(x).dog
property robust(x, y, r) { forall z in ball(x, r)  let e = eps  show argmax(net(z)) == y }
property all_robust = forall (x, y) in test[0:2]: robust(x, y, eps)
property cats { forall x in Image  show score(x) >= 0 }
check all_robust as accuracy using milp report certified_accuracy expect certified_accuracy >= 0.9
check cats
"""


def checked(folder: Path, text: str, **overrides: str) -> Spec:
    """A whole file in the folder, without its first line; `m__x` overrides `m.x`."""
    path = folder / "main.spec"
    path.write_text("spec 1.0\n" + text)
    program = parse(read_source(path))
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return check(program, dotted, base=folder, working_directory=folder)


def findings(folder: Path, text: str, **overrides: str) -> list[str]:
    """Codes, each with the file, line and text it points at."""
    try:
        spec = checked(folder, text, **overrides)
    except SpecError as error:
        found = error.diagnostics
    else:
        found = spec.warnings
    return [
        f"{d.code} {Path(d.primary.span.source.name).name} {d.primary.span.text}"
        if d.primary
        else d.code
        for d in found
    ]
