"""Deciding instances again without a technique, each technique in a process of its own.

Not in `__main__`, which processes that are spawned cannot import from.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.ablation.techniques import Technique, concerned
from specdsl.run.asked_backend import asked_backend
from specdsl.run.instances.outcome import Instance, Key
from specdsl.run.instances.results import How, open_results, read_records, read_results


def deciding_methods(results: Path) -> dict[Key, str]:
    """Of the instances that were decided: what decided each."""
    return {
        (record["benchmark"], record["onnx"], record["vnnlib"]): record["method"]
        for record in read_records(results)
        if record["verdict"] in ("sat", "unsat")
    }


def decide(rows: Sequence[Instance], technique: Technique, timeout: float, output: Path) -> None:
    """Decide the rows that are not in the output yet, without the technique."""
    import torch

    from specdsl.run.instances.solving import Networks, solve_row

    torch.set_num_threads(1)
    backend, networks = asked_backend(technique.using).create(), Networks()
    done = read_results(output)
    with open_results(output, How(technique.using, isolated=False)) as file:
        for row in rows:
            if row.key not in done:
                file.append(row, solve_row(row, backend, timeout, networks), timeout)


def run_all(
    rows: Mapping[Key, Instance],
    methods: Mapping[Key, str],
    techniques: Sequence[Technique],
    folder: Path,
    *,
    timeout: float,
    jobs: int,
) -> None:
    """Leave a results file of each technique in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    # Libraries keep threads: a child that was forked may wait for one that it does not have.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {
            pool.submit(
                decide,
                [rows[key] for key in concerned(technique, methods)],
                technique,
                timeout,
                folder / f"{technique.name}.jsonl",
            ): technique
            for technique in techniques
        }
        for future, technique in waiting.items():
            future.result()
            sys.stderr.write(f"{technique.name}: done\n")
