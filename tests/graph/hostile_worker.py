"""Loads hostile files, each in a child with limits, and says what happened: one line of JSON each.

Run as `python -m tests.graph.hostile_worker FOLDER FILE...`; the first file must be a good network.
Children are forked after it has loaded, so that starting one costs nothing and every module is
there already: from then on, whatever a child opens is opened because of the file.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph.onnx_import.load import load_onnx
from tests.fuzz.watch import Watch

# Above what the process has when the child starts.
MAX_MEMORY = 2**30
# Of processor time, which does not depend on what else the machine does; a hang takes none.
MAX_SECONDS = 10
MAX_WAIT = 60


@dataclass(frozen=True)
class Outcome:
    """`ending`: the codes of the diagnostics, `loaded`, or what else ended the child."""

    file: str
    ending: str
    message: str
    seconds: float
    trespasses: tuple[str, ...]


def load(path: Path) -> tuple[str, str]:
    """How loading ends, and the message of the diagnostic."""
    try:
        load_onnx(read_bytes(path), path.name)
    except SpecError as error:
        first = error.diagnostics[0]
        return first.code, first.message
    except BaseException as error:  # noqa: BLE001 - whatever ends a child is its outcome
        return type(error).__name__, str(error)[:500]
    return "loaded", ""


def in_child(folder: Path, path: Path, write: int) -> None:
    """Load under limits and send the outcome; the child ends here."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    spent = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (spent + MAX_SECONDS, spent + MAX_SECONDS))
    signal.alarm(MAX_WAIT)
    watch = Watch(folder)
    sys.addaudithook(watch)
    start = time.perf_counter()
    ending, message = load(path)
    seconds = time.perf_counter() - start
    outcome = Outcome(path.name, ending, message, seconds, tuple(watch.trespasses))
    os.write(write, json.dumps(asdict(outcome)).encode())
    os._exit(0)


def outcome_of(folder: Path, path: Path) -> dict[str, Any]:
    """What a child says about a file, or what ended it."""
    read, write = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        in_child(folder, path, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if said:
        return json.loads(said)
    ending = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {status}"
    return asdict(Outcome(path.name, ending, "", time.perf_counter() - start, ()))


def main() -> None:
    """Load the good network here, then every file in a child of its own."""
    folder, good, *files = map(Path, sys.argv[1:])
    load_onnx(read_bytes(good), good.name)
    for file in files:
        sys.stdout.write(json.dumps(outcome_of(folder, file)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
