"""A trial in a process of its own: its script runs as it stands, and what it says is written down.

python -m specdsl.training.sweep.worker SCRIPT RESULT
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any

from specdsl.diagnostics import SpecError, render

if TYPE_CHECKING:
    from specdsl.training.certify.cascade import Certified

# The file descriptor of the pipe from the sweep.
PIPE = 0
# What a shell says of a process that a signal ended.
ABANDONED = 143


def run(script: Path) -> Certified:
    """Run a script, and give what its last evaluation came to: that of the samples held out.

    The function `evaluate` of the script is called by its `main` alone, once for each part. Raises
    what the script does.
    """
    module = _loaded(script)
    found: list[Certified] = []
    evaluate = module.evaluate

    def remembered(net: Any, part: Any) -> Certified:
        found.append(evaluate(net, part))
        return found[-1]

    module.__dict__["evaluate"] = remembered
    sys.argv = [str(script)]
    module.main()
    return found[-1]


def as_json(found: Certified) -> str:
    """Shares of the samples, and how many each bound certified."""
    count = found.count
    shares = {
        "clean": found.clean,
        "adversarial": found.adversarial,
        "certified": found.certified,
    }
    content = {n: None if part is None else part / count for n, part in shares.items()}
    return json.dumps({"samples": count, **content, "by": dict(found.by)})


def main(arguments: Sequence[str]) -> int:
    """0 where the result is written, 2 where the script said what is wrong."""
    script, result = map(Path, arguments)
    Thread(target=_stop_with_parent, daemon=True).start()
    try:
        found = run(script)
    except SpecError as error:
        for each in error.diagnostics:
            sys.stderr.write(render(each) + "\n")
        result.write_text(json.dumps({"failed": str(error)}), encoding="utf-8")
        return 2
    result.write_text(as_json(found), encoding="utf-8")
    return 0


def _loaded(script: Path) -> ModuleType:
    spec = spec_from_file_location("trial", script)
    assert spec is not None, "it is a Python file"
    assert spec.loader is not None, "it is a Python file"
    module = module_from_spec(spec)
    # Dataclasses and named tuples of a script look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _stop_with_parent() -> None:
    """End with the sweep, however that ends: its end of the pipe closes even when it is killed."""
    # Not by `sys.stdin`, whose lock a thread must not hold when the interpreter ends.
    while os.read(PIPE, 1):
        pass
    # What is written at any moment is whole: checkpoints and logs are made for that.
    os._exit(ABANDONED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
