"""Bounds on the error of small networks, by every solver-based method that the field compares.

    python -m benchmarks.relaxations DATA [--count N] [--only TEXT] [-o build/relaxations]
        [--page docs/relaxations.md] [--plot docs/relaxations.svg]

DATA holds the four files of MNIST. Networks are trained first and kept in the folder of `-o` with
the rows of every method; what is there is not made again. `--count` asks about fewer images of each
setting, `--only` about one whose name has that text. Ends with 1 where theory is contradicted: an
image that a weaker relaxation proves and a tighter one does not, or a bound that is better where
it cannot be (`orders.py`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.relaxations.asking import WAYS_OF, ask, missing, read_rows, write
from benchmarks.relaxations.networks import BODIES, DIGITS, MNIST, network
from benchmarks.relaxations.orders import inversions
from benchmarks.relaxations.tables import draw, table
from tests.docs.pages import with_parts


def main() -> int:
    """Train and ask what is left, then print or write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int)
    parser.add_argument("--only", default="")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/relaxations"))
    parser.add_argument("--page", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    path = given.output / "rows.jsonl"
    rows = read_rows(path)
    for setting in (DIGITS, MNIST):
        if given.only not in setting.name:
            continue
        count = min(setting.count, given.count or setting.count)
        for by in BODIES:
            net = network(setting, by, given.data, given.output)
            for method in WAYS_OF[setting.name]:
                if missing(rows, setting, by, method, count):
                    key = (setting.name, by, method)
                    rows = [r for r in rows if (r.setting, r.trained, r.method) != key]
                    rows += write(ask(setting, by, net, method, given.data, count), path)
    order = {name: i for i, name in enumerate(BODIES)}
    methods = {name: i for i, name in enumerate(WAYS_OF[DIGITS.name])}
    rows.sort(key=lambda r: (r.setting, order[r.trained], methods[r.method], r.image))
    if given.plot is not None:
        draw(rows, given.plot)
    if given.page is None:
        sys.stdout.write(table(rows))
    else:
        parts = {"relaxations": f"\n{table(rows)}\n\n"}
        given.page.write_text(with_parts(given.page.read_text(), parts))
    wrong = list(inversions(rows))
    sys.stdout.write("\n".join([f"{len(wrong)} inversions", *wrong]) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
