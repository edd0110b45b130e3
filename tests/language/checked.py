"""Specs written in tests of the checker, and what it finds in them."""

from __future__ import annotations

from pathlib import Path

from specdsl.diagnostics import Diagnostic, SpecError
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec
from specdsl.source import Source

BASE = Path("/specs")
WORK = Path("/work")

HEAD = """spec 1.0
enum Advisory { COC, WL, WR, SL, SR }
space Image { pixels: real[1, 28, 28] in [0, 1] }
space Craft {
  rho: real `m` in [0, 60760]  normalize (mean = 20000, range = 60000)
  theta: real `rad` in [-3, 3]
  speed: real `m/s` in [100, 1200]
}
space Applicant {
  income: real `EUR` in [0, 200_000]  normalize (mean = 45_000, range = 30_000)
  debt: real `EUR` in [0, 100_000]
  age: int `yr` in [18, 99]
  gender: category in [0, 2] encode one_hot
}
network net: Image -> real[10] = onnx("net.onnx")
network acas: Craft -> real[Advisory] = onnx("acas.onnx")
network score: Applicant -> real[1] = onnx("credit.onnx")
network encoder: Image -> real[8] = onnx("encoder.onnx")
network head: real[8] -> real[10] = onnx("head.onnx")
dataset test: (Image, label[10]) = idx("images.gz", "labels.gz")
"""


def checked(text: str, **overrides: str) -> Spec:
    """A whole file."""
    return check(parse(Source("t.spec", text)), overrides, base=BASE, working_directory=WORK)


def findings(text: str) -> list[Diagnostic]:
    """Errors and warnings of a whole file."""
    try:
        return list(checked(text).warnings)
    except SpecError as error:
        return list(error.diagnostics)


def codes(text: str) -> list[str]:
    """The codes of a file after HEAD."""
    return [d.code for d in findings(HEAD + text)]


def claim(body: str) -> list[str]:
    """The codes of a property that is checked."""
    return codes(f"property p = {body}\ncheck p\n")
