"""Tables of `bench`, journals of `sweep` and logs of `train`, with which a killed run goes on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.mutators import json_values
from tests.fuzz.mutators.texts import Language
from tests.fuzz.target import Target

_CELLS = Language(
    re.compile(r'"[^"]*"|[^,"\n]+|.', re.DOTALL),
    (",", "\n", '"', "benchmark", "onnx", "vnnlib", "timeout_s", "verdict", "sat", "\0", "nan"),
    (('"', '"'), (",", ""), ("\n", ""), ("1,", "\n")),
)


@cache
def _instances() -> tuple[bytes, ...]:
    return (
        b"benchmark,onnx,vnnlib,timeout_s,verdict\nacasxu,a.onnx,b.vnnlib,116,unsat\n"
        b'"mnist, fc",a/b.onnx.gz,c.vnnlib.gz,,sat\n',
        b"vnnlib,onnx,benchmark\nq.vnnlib,n.onnx,small\n",
        b"benchmark,onnx,vnnlib,verdict,seconds,method,certificate\na,b,c,sat,0.5,search,\n",
    )


@cache
def _lines() -> tuple[bytes, ...]:
    return (
        b'{"benchmark": "acasxu", "onnx": "a.onnx", "vnnlib": "b.vnnlib", "verdict": "unsat", '
        b'"seconds": 1.5, "method": "search", "expected": null, "limit": 60.0}\n'
        b'{"benchmark": "small", "onnx": "a.onnx", "vnnlib": "c.vnnlib", "verdict": "sat"}\n',
        b'{"trial": 1, "parameters": {"eps": "1/255"}, "key": "ab", "recipe": "cd", "folder": "1", '
        b'"judged": "robust", "measure": "ef", "least_clean": null, "samples": 10, "clean": 0.9, '
        b'"adversarial": 0.8, "certified": 0.7, "by": {"crown": 7}, "cpu_seconds": 1.0, '
        b'"failed": null}\n{"trial": 2, "parameters": {}, "key": "gh", "recipe": "cd", '
        b'"folder": "2", "judged": "robust", "measure": "ef", "least_clean": null, '
        b'"samples": null, "clean": null, "adversarial": null, '
        b'"certified": null, "by": null, "cpu_seconds": null, "failed": "stopped"}\n',
        b'{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": NaN, "certified": "n/a"}\n',
    )


def _mutate_cells(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    changed = _CELLS.mutate(random, content, corpus)
    # The reader of the standard library has a limit for the length of a cell.
    return changed + b"x" * 2**18 if random.random() < 0.003 else changed


def _read_instances(content: bytes, folder: Path) -> None:
    from specdsl.run.instances.results import read_results
    from specdsl.run.instances.tables import read_instances

    path = folder / "fuzz.csv"
    path.write_bytes(content)
    if content.startswith(b"benchmark,onnx,vnnlib,verdict"):
        read_results(path)
    read_instances(path)


def _read_lines(content: bytes, folder: Path) -> None:
    """By what its first line begins with, as the files are told apart by their names."""
    from specdsl.run.instances.results import read_records, read_results
    from specdsl.training.sweep.journal import Journal

    path = folder / "fuzz.jsonl"
    path.write_bytes(content)
    if content.startswith(b'{"benchmark"'):
        read_results(path)
        read_records(path)
    elif content.startswith(b'{"epoch"'):
        from specdsl.training.runtime.loop.log import read_log

        read_log(path)
    else:
        journal = Journal.begun(path, resume=True)
        for trial in journal.trials.values():
            assert journal.next_number > trial.trial
            assert trial.meets in (True, False)
            assert trial.accuracies is None or trial.clean is not None


TARGETS = (
    Target("instances", ".csv", _instances, _mutate_cells, _read_instances, 1_000),
    Target("lines", ".jsonl", _lines, json_values.mutate_lines, _read_lines, 1_000),
)
