"""Networks that an exact verifier decides sooner: sparsity and stable ReLUs, step by step.

    python -m benchmarks.xiao DATA [--count 50] [--limit 10] [-o ROWS]
    python -m benchmarks.xiao DATA --tune

DATA holds the four files of MNIST. The table of Xiao et al. 2019, arXiv:1809.03008, on a dense
network that mixed-integer programming can decide: adversarial training, then l1, pruning of small
weights, pruning of ReLUs, and the loss for stable ReLUs, each on top of those before it. Clean and
adversarial accuracy are of all test images, provable accuracy and the CPU seconds of the backend
`milp` of the first `--count`; what it does not decide within `--limit` seconds of the clock counts
as not provable, and with these seconds. `--tune` trains without the last images of the training set
and judges by those: it is how the weights of l1 and of the loss were chosen. Rows that are in ROWS
are not made again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.trainings import Recipe, Training, dense, judged, read_rows, trained, write_row
from specdsl.api import load
from specdsl.run.pipeline import Silent
from specdsl.run.result import Result

EPS = 0.1
NETWORK = dense(64, 64)
L1 = "{l1} * l1(weights)"
RS = "{rs} * relu_stability(r = eps)"
# By `--tune`, of those tried: the largest l1 that costs no more than a point under attack, then the
# largest weight of the loss that does. 8e-4 and 1e-3 were tried on two layers of 48, and cost more.
L1_WEIGHT = 4e-4
RS_WEIGHT = 4e-4
L1_TRIED = (1e-4, 2e-4, 4e-4, 8e-4)
RS_TRIED = (2e-4, 4e-4, 1e-3)

# With the whole radius from the beginning half of the neurons die, and nothing is left to compare.
BLOCK = """let r = ramp(0, eps, epochs = 0..8)
  let points = pgd(steps = 5, alpha = r / 2)
  minimize adversarial_loss(robust, r = r, by = points)
"""
STAGES = """  stage sparse {{ epochs = 13 }}
  stage pruned {{
    epochs = 2
    {prune}
  }}
"""
WEIGHTS = "prune weights(below = 1e-3)"
RELUS = "prune relus(stable = 9/10, r = eps)"

PROBLEM = """spec 1.0
space Image {{ pixels: real[1, 28, 28] in [0, 1] }}
network net: Image -> real[10] = given
dataset unseen: (Image, label[10]) = idx(
  "{images}", "{labels}"
) {{ scale = 1/255 }}
property robust(x, y) = forall z in norm_ball(x, {eps}, linf) & box(0, 1): argmax(net(z)) == y
check forall (x, y) in unseen[0:{count}]: robust(x, y)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One network. Accuracies in percent, `withstood` the one under PGD of the images that are
    decided; weights that are not zero; unstable ReLUs of an image; `undecided`: images that took
    longer than the limit, and count with it.
    """

    step: str
    clean: float
    adversarial: float
    withstood: float
    provable: float
    seconds: float
    median: float
    undecided: int
    weights: int
    unstable: float


@dataclass(slots=True)
class Clock(Silent):
    """CPU seconds of this process in each obligation."""

    began: float = 0.0
    results: list[tuple[Result, float]] = field(default_factory=list[tuple[Result, float]])

    def started(self, id: str) -> None:
        """From here."""
        self.began = time.process_time()

    def finished(self, result: object) -> None:
        """To here."""
        assert isinstance(result, Result)
        spent = time.process_time() - self.began
        self.results.append((result, spent))
        sys.stderr.write(f"{result.id}: {result.word} ({spent:.2f} s)\n")


def steps(l1: float, rs: float) -> dict[str, str]:
    """The lines of each step's block."""
    sparse = BLOCK + "  regularize " + L1.format(l1=l1) + "\n"
    stable = BLOCK + "  regularize " + L1.format(l1=l1) + " + " + RS.format(rs=rs) + "\n"
    both = STAGES.format(prune=f"{WEIGHTS}\n    {RELUS}")
    return {
        "adversarial training": BLOCK,
        "+ l1": sparse,
        "+ small weights pruned": sparse + STAGES.format(prune=WEIGHTS),
        "+ ReLUs pruned": sparse + both,
        "+ loss for stable ReLUs": stable + both,
    }


def recipe(body: str, *, validated: bool = False) -> Recipe:
    """A training of this file."""
    return Recipe(body, network=NETWORK, rate=2e-3, validated=validated)


def decided(training: Training, data: Path, count: int, limit: float) -> list[tuple[Result, float]]:
    """Images by mixed-integer programming, with their CPU seconds."""
    names = {kind: f"t10k-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")}
    images, labels = names.values()
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        for name in names.values():
            (Path(folder) / name).symlink_to((data / name).resolve())
        path = Path(folder) / "problem.spec"
        path.write_text(PROBLEM.format(eps=EPS, count=count, images=images, labels=labels))
        networks = {"net": training.net.module.eval()}
        spec = load(path, allow=[data.resolve()], networks=networks)
        spec.check(using="milp", timeout=limit, observer=clock)
    assert len(clock.results) == count, "every image was asked about"
    return clock.results


def first(training: Training, count: int) -> Training:
    """The same network, to be judged by the first images alone."""
    return replace(training, test=training.test[:count])


def row(step: str, body: str, data: Path, count: int, limit: float) -> Row:
    """Train, judge and decide one network."""
    training = trained(recipe(body), data, 0, EPS)
    found = judged(training, EPS, tight=False)
    results = decided(training, data, count, limit)
    late = [result.word not in ("verified", "falsified") for result, _ in results]
    seconds = sorted(limit if o else spent for o, (_, spent) in zip(late, results, strict=True))
    return Row(
        step,
        found.clean,
        found.adversarial,
        judged(first(training, count), EPS, tight=False).adversarial,
        100 * sum(result.verdict == "verified" for result, _ in results) / count,
        sum(seconds) / count,
        seconds[count // 2],
        sum(late),
        sum(int((p != 0).sum()) for p in training.net.module.parameters()),
        found.unstable,
    )


def tuning(data: Path) -> Iterator[str]:
    """What each weight costs and gains on training images left out."""
    yield "| l1 | RS | clean | PGD-40 | certified | unstable ReLUs |\n|---|---|---|---|---|---|"
    pairs = [(0.0, 0.0), *((l1, 0.0) for l1 in L1_TRIED), *((L1_WEIGHT, rs) for rs in RS_TRIED)]
    for l1, rs in pairs:
        body = BLOCK if not l1 else steps(l1, rs)["+ loss for stable ReLUs" if rs else "+ l1"]
        found = judged(trained(recipe(body, validated=True), data, 0, EPS), EPS, tight=False)
        figures = (found.clean, found.adversarial, found.certified, found.unstable)
        yield f"| {l1:g} | {rs:g} | {' | '.join(f'{figure:.1f}' for figure in figures)} |"


def table(rows: Sequence[Row]) -> str:
    """A line a step."""
    lines = [
        "| step | clean | PGD-40 | PGD-40, first | provable | mean MILP CPU-s | median | undecided "
        "| weights | unstable ReLUs |",
        "|---" * 10 + "|",
    ]
    lines += [
        f"| {r.step} | {r.clean:.2f} | {r.adversarial:.2f} | {r.withstood:.0f} | {r.provable:.0f} "
        f"| {r.seconds:.2f} | {r.median:.2f} | {r.undecided} | {r.weights} | {r.unstable:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Tune, or make the rows that are not there yet and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--limit", type=float, default=10.0)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/xiao.jsonl"))
    given = parser.parse_args()
    if given.tune:
        for line in tuning(given.data):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        return
    rows = [Row(**found) for found in read_rows(given.output)]
    done = {found.step for found in rows}
    for step, body in steps(L1_WEIGHT, RS_WEIGHT).items():
        if step not in done:
            rows.append(row(step, body, given.data, given.count, given.limit))
            write_row(given.output, asdict(rows[-1]))
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
