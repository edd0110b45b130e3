"""What a user sees for the mistakes that need files or a command line: one golden for each code.

Mistakes in the text alone have theirs in tests/language; a last test holds all goldens against the
list of codes.
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from specdsl.backends.registry import create
from specdsl.codes import CODES
from specdsl.data.sklearn_sets import read_sklearn
from specdsl.diagnostics import SpecError, render
from specdsl.graph.runtime import Runtime
from tests.cli.conftest import Cli
from tests.conftest import GOLDEN, Golden

NETWORK = (
    "network f: real[2] -> real[2] { layer dense(weight = [[1, 2], [3, 4]], bias = [0, 0]) }\n"
)
DATA = "let none = 0\ndataset d: (real[2], label[2]) = "
ROBUST = (
    "property p(x, y) = forall z in norm_ball(x, 1, linf): f(z)[0] <= 100\n"
    "check forall (x, y) in d[0:1]: p(x, y)"
)
DECLARED = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)\n"
BOUNDS = "(assert (and (<= 0 X_0) (<= X_0 1) (<= 0 X_1) (<= X_1 1)))\n"
SECOND = (
    "(vnnlib-version <2.0>)\n"
    "(declare-network f (declare-input X real [2]) (declare-output Y real [1]))\n"
)
EITHER = "(assert (or (<= Y_0 0) (>= Y_0 1)))\n"
TABLE = "0,0,0\n1,1,1\n"


def spec(text: str) -> tuple[str, ...]:
    Path("f.spec").write_text("spec 1.0\n" + NETWORK + text + "\n")
    return ("check", "f.spec")


def edited() -> tuple[str, ...]:
    """A script in the place of another, to which a line was added since it was written."""
    command = training("layer dense(2)")
    text = '"""Trains `h`, text:0123456789ab."""\nEPOCHS = 2  # one more\n'
    Path("train.py").write_text(text)
    return (*command, "-o", "train.py")


def training(layer: str, line: str = "", *, check: bool = False) -> tuple[str, ...]:
    text = (
        "spec 1.0\n"
        f"network h: real[2] -> real[2] {{ {layer} }}\n"
        'dataset d: (real[2], label[2]) = csv("d.csv", label = 2)\n'
        "property p(x, y) = forall z in norm_ball(x, 1, linf): argmax(h(z)) == y\n"
        "train h on d {\n  epochs = 1  optimizer = adam(lr = 1/1000)\n"
        f"  minimize certified_loss(p)\n  {line}\n}}\n"
    )
    claim = "check forall z in box([0, 0], [1, 1]): h(z)[0] <= 1\n" if check else ""
    Path("f.spec").write_text(text + claim)
    return ("check" if check else "emit", "f.spec")


def swept(values: str, *options: str) -> tuple[str, ...]:
    training("layer dense(2)")
    with Path("f.spec").open("a") as file:
        file.write("param c: real = 1/2 in [0, 1]\n")
    return ("sweep", "f.spec", "-D", values, *options)


def data(reader: str, content: bytes | str = b"", name: str = "d.csv") -> tuple[str, ...]:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return spec(DATA + reader + "\n" + ROBUST)


def arrays(reader: str, **content: object) -> tuple[str, ...]:
    np.savez("d.npz", **content)  # type: ignore[arg-type]
    return spec(DATA + reader + "\n" + ROBUST)


def onnx(content: bytes, name: str = "g.onnx") -> tuple[str, ...]:
    Path(name).write_bytes(content)
    text = f'network g: real[2] -> real[2] = onnx("{name}")\n'
    return spec(text + "property p = forall x in box([0, 0], [1, 1]): g(x)[0] <= 9\ncheck p")


def claim(text: str) -> tuple[str, ...]:
    return spec(f"property p {{ {text} }}\ncheck p using incomplete")


def query(text: str) -> tuple[str, ...]:
    from specdsl.graph.graph import GraphBuilder
    from specdsl.graph.ops import Dense, Input
    from specdsl.graph.to_onnx import export

    builder = GraphBuilder()
    node = builder.add(Dense(np.ones((1, 2)), np.zeros(1)), builder.add(Input((2,))))
    Path("n.onnx").write_bytes(export(builder.build(node), "n"))
    Path("q.vnnlib").write_text(text)
    return ("solve", "n.onnx", "q.vnnlib")


def folder() -> tuple[str, ...]:
    Path("g.spec").mkdir()
    return ("check-syntax", "g.spec/")


def large() -> tuple[str, ...]:
    Path("f.spec").write_bytes(b"#" * (17 * 2**20))
    return ("check", "f.spec")


def latin() -> tuple[str, ...]:
    Path("f.spec").write_bytes("spec 1.0 # größer".encode("latin-1"))
    return ("check", "f.spec")


def table(text: str) -> tuple[str, ...]:
    Path("t.csv").write_text(text)
    return ("bench", "t.csv")


POINT = "space Point { a: real in [0, 1]  b: real in [0, 1] }\n"
CLAIMS = " or ".join(f"(x[0] >= {n}/20 and x[1] <= {n}/15)" for n in range(1, 15))

SCENES: dict[str, Callable[[], tuple[str, ...]]] = {
    "E0501": lambda: ("check", "missing.spec"),
    "E0502": lambda: (*net_folder(),),
    "E0503": large,
    "E0504": lambda: onnx(gzip.compress(b"x" * 99)[:-9], "g.onnx.gz"),
    "E0505": latin,
    "E0510": lambda: arrays('npz("d.npz", inputs = "x")', x=np.array([["a", "b"]]), y=[0]),
    "E0511": lambda: data('csv("d.csv", label = 2)', "0,nan,0\n"),
    "E0512": lambda: arrays('npz("d.npz")', inputs=np.zeros((3, 2)), x=np.zeros((3, 2)), y=[0]),
    "E0513": lambda: data('csv("d.csv", label = 2)', "0,0,0.5\n"),
    "E0514": lambda: data('idx("d.csv", "d.csv")', b"\x00\x00\x08\x01\x00\x00"),
    "E0515": lambda: data('npz("d.csv")', b"PK\x03\x04 cut"),
    "E0516": lambda: arrays('npz("d.npz", inputs = "images")', x=np.zeros((1, 2)), y=[0]),
    "E0517": lambda: data('csv("d.csv", label = 2)', "0,0,0\n1,1\n"),
    "E0518": lambda: data('csv("d.csv", label = "klass")', "a,b,class\n" + TABLE),
    "E0521": lambda: data('csv("d.csv", label = 2)', "0,0,0,0\n"),
    "E0522": lambda: data('csv("d.csv", label = 2)', "0,0,7\n"),
    "E0753": lambda: (
        data('csv("d.csv", label = 2)', "")
        and data_slice('csv("d.csv", label = 2)', TABLE, "d[1:3]")
    ),
    "E0523": lambda: data('cifar_binary("d.csv")', "too short for a sample of CIFAR", "d.csv"),
    "E0524": lambda: (*tensors(b"not the tensors"),),
    "E0652": lambda: spec(
        "network g: real[2] -> real = given\n"
        "property p = forall x in box([0, 0], [1, 1]): g(x) <= 9\ncheck p"
    ),
    "E0622": lambda: spec(
        "network g: real[2] -> real { layer dense(1) }\n"
        "property p = forall x in box([0, 0], [1, 1]): g(x) <= 9\ncheck p"
    ),
    "E0623": lambda: training("layer dense(2)", 'save onnx("h.onnx")', check=True),
    "E0650": lambda: (*wrong_size(),),
    "E0651": lambda: claim('forall x in box([0, 0], [1, 1]) show f.hidden("relu_7")(x)[0] <= 1'),
    "E0750": lambda: claim("forall x in box([0, 0], [1, 1]) show " + CLAIMS),
    "E0751": lambda: claim(
        "forall x in norm_ball([0, 0], f([0, 0])[0] - 1, linf) show f(x)[0] <= 1"
    ),
    "E0755": lambda: spec(
        "let g = smooth(f, 1/4)\n"
        "check forall x in norm_ball([1, 0], 1/10, l2): argmax(g(x)) != 0\n"
        "check forall x in norm_ball([1, 0], 1/10, l2): argmax(g(2 * x)) == 0"
    ),
    "E0850": lambda: (*spec("check p"), "-D", "eps"),
    "E0851": lambda: (*spec("check p"), "-k", "(a"),
    "E0852": lambda: (
        *claim("forall x in box([0, 0], [1, 1]) show f(x)[0] <= 9"),
        "--using",
        "smtt",
    ),
    "E0854": lambda: (
        *claim("forall x in box([0, 0], [1, 1]) show f(x)[0] <= 9"),
        "--output-file",
        "absent/out.txt",
    ),
    "E0855": lambda: spec(
        "property p = forall x in box([0, 0], [1, 1]): x[0] * f(x)[0] <= 9\ncheck p using milp"
    ),
    "E0856": lambda: ("explain", "E9999"),
    "E0857": lambda: table("onnx,vnnlib\n"),
    "E0859": lambda: ("emit", *spec("const c = 1")[1:]),
    "E0862": edited,
    "E0858": lambda: ("compile", *twice()[1:], "--to", "lp", "-o", "-"),
    "E1106": lambda: training("layer dense(weight = [[1, 0], [0, 1]], bias = [0, 0])"),
    "E1110": lambda: swept("c=0..1"),
    "E1111": lambda: swept("c=0..1:1/2", "--trials", "2"),
    "E1000": lambda: query("(assert (<= X_0 1)"),
    "E1001": lambda: query("(assert " + "(not " * 200),
    "E1002": lambda: query("(assume (<= X_0 1))"),
    "E1003": lambda: query(DECLARED + "(assert (<= X_0 1e999999999))"),
    "E1004": lambda: query(DECLARED + "(assert (<= X_7 1))"),
    "E1005": lambda: query(DECLARED + "(declare-const X_0 Real)"),
    "E1006": lambda: query(DECLARED + "(assert (<= X_0 1))"),
    "E1007": lambda: query(DECLARED + BOUNDS + EITHER * 60),
    "E1008": lambda: query(DECLARED + BOUNDS + "(assert (<= (* X_0 Y_0) 1))"),
    "E1009": lambda: query(
        "(declare-const X_0 Real)(declare-const Y_0 Real)\n"
        "(assert (and (<= 0 X_0) (<= X_0 1) (<= Y_0 0)))"
    ),
    "E1010": lambda: query(SECOND + "(assert (<= X[2] 1.0))"),
    "E1011": lambda: query(SECOND.replace("X real", "X int64") + "(assert (<= X[0] Y[0]))"),
    "E1012": lambda: query(
        SECOND + SECOND[22:].replace("f", "g").replace("X", "A").replace("Y", "B")
    ),
    "E1013": lambda: (
        *("compile", "--to", "vnnlib"),
        spec(
            "space Big { n: int in [0, 999]  b: real in [0, 1] }\n"
            "network g: Big -> real { layer dense(weight = [[1, 1]], bias = [0]) }\n"
            "property p { forall x in Big show g(x) <= 9 }\ncheck p"
        )[1],
    ),
    "W0880": lambda: (
        *spec("check forall x in box([0, 0], [1, 1]): f(x)[0] <= 9 using smt"),
        *("--cache-dir", "f.spec"),
    ),
    "W0881": lambda: (
        *spec("check forall x in box([0, 0], [1, 1]): sin(f(x)[0]) <= -1 using attack"),
        *("--certificates", "files"),
    ),
    "W0902": lambda: spec("property p = forall x in box([0], [1]): x[0] <= 2"),
    "W0750": lambda: spec(
        POINT + "network g: Point -> real { layer dense(weight = [[1, 1]], bias = [0]) }\n"
        "property p { forall x in Point where x.a >= 3 show g(x) <= 0 }\ncheck p"
    ),
}


def data_slice(reader: str, content: str, samples: str) -> tuple[str, ...]:
    Path("d.csv").write_text(content)
    text = ROBUST.replace("d[0:1]", samples)
    return spec(DATA + reader + "\n" + text)


def net_folder() -> tuple[str, ...]:
    Path("g.onnx").mkdir()
    text = 'network g: real[2] -> real[2] = onnx("g.onnx")\n'
    return spec(text + "property p = forall x in box([0, 0], [1, 1]): g(x)[0] <= 9\ncheck p")


def tensors(content: bytes) -> tuple[str, ...]:
    Path("w.safetensors").write_bytes(content)
    return spec(
        'network g: real[2] -> real { layer dense(1)  weights = safetensors("w.safetensors") }\n'
        "property p = forall x in box([0, 0], [1, 1]): g(x) <= 9\ncheck p"
    )


def wrong_size() -> tuple[str, ...]:
    query("")
    text = 'network g: real[3] -> real = onnx("n.onnx")\n'
    return spec(text + "property p = forall x in box([0, 0, 0], [1, 1, 1]): g(x) <= 9\ncheck p")


def twice() -> tuple[str, ...]:
    return spec("property p = forall x in box([0, 0], [1, 1]): f(x)[0] <= 9\ncheck p, p")


def diagnostics_in(text: str, folder: Path) -> str:
    """The rendered diagnostics of a run, without progress, reports and the folder's name."""
    blocks = re.findall(r"^(?:error|warning)\[\w+\]:.*?(?=\n\n|\Z)", text, re.M | re.S)
    return "\n\n".join(dict.fromkeys(b.strip() for b in blocks)).replace(f"{folder}/", "")


@pytest.mark.parametrize("code", SCENES)
def test_every_code_reads_as_agreed(cli: Cli, golden: Golden, tmp_path: Path, code: str) -> None:
    run = cli(*SCENES[code]())
    text = diagnostics_in(run.err + "\n\n" + run.out, tmp_path)
    assert f"[{code}]" in text, run
    assert "Traceback" not in run.err
    golden.check(f"codes/{code}.txt", text)


def test_without_scikit_learn_the_extra_is_named(
    cli: Cli, golden: Golden, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    text = "dataset d: (real[64], label[10]) = " + 'sklearn("digits")\n' + ROBUST
    run = cli(*spec(text.replace("f(z)[0]", "z[0]")))
    golden.check("codes/E0519.txt", diagnostics_in(run.err, tmp_path))


def test_data_sets_that_scikit_learn_lacks_read_as_agreed(golden: Golden) -> None:
    # The checker knows the names too; this is what Python callers meet.
    with pytest.raises(SpecError) as caught:
        read_sklearn("digit")
    golden.check("codes/E0520.txt", render(caught.value.diagnostics[0]))


def test_options_of_backends_made_in_python_read_as_agreed(golden: Golden) -> None:
    with pytest.raises(SpecError) as caught:
        create("search", {"bach": 3})
    golden.check("codes/E0853.txt", render(caught.value.diagnostics[0]))


def test_a_runtime_that_refuses_reads_as_agreed(golden: Golden) -> None:
    with pytest.raises(SpecError) as caught:
        Runtime(b"garbage", "net")
    text = render(caught.value.diagnostics[0]).splitlines()[0].partition(":")
    # What follows is the runtime's own wording, which changes with its version.
    golden.check("codes/E0611.txt", text[0] + text[1] + text[2][:40].rstrip())


def test_a_module_in_training_mode_reads_as_agreed(golden: Golden) -> None:
    torch = pytest.importorskip("torch")
    from specdsl.graph.torch_import.load import load_module

    with pytest.raises(SpecError) as caught:
        load_module(torch.nn.Linear(2, 1), [(1, 2)], "net")
    golden.check("codes/E0615.txt", render(caught.value.diagnostics[0]))


@pytest.mark.parametrize(
    ("code", "region", "method"),
    [("E0870", ([0, 2], [1, 1]), "crown"), ("E0871", ([0, 0], [1, 1]), "crwn")],
)
def test_arguments_of_the_bound_engine_read_as_agreed(
    golden: Golden, code: str, region: tuple[list[float], list[float]], method: str
) -> None:
    torch = pytest.importorskip("torch")
    from specdsl import bound

    with pytest.raises(SpecError) as caught:
        bound(torch.nn.Linear(2, 1).eval(), region, method)
    golden.check(f"codes/{code}.txt", render(caught.value.diagnostics[0]))


def test_every_code_has_a_golden() -> None:
    text = "\n".join(p.read_text() for p in GOLDEN.rglob("*.txt"))
    missing = {code for code in CODES if f"[{code}]" not in text}
    assert missing == UNSEEN


# E0610 is a bug of the importer (tests/graph provokes it by breaking a rule); E0752 and E0754 stand
# behind the type checker, which reports the same mistakes first.
UNSEEN = {"E0610", "E0752", "E0754"}
