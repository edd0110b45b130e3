"""The outermost frame of a script: what a user can mend is told as a compiler tells it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from specdsl.backend import Unsupported
from specdsl.diagnostics import SpecError, render
from specdsl.training.runtime.loop.checks import Mistake

# As the command line has them, which stands above everything here.
USAGE = 2
INTERRUPTED = 130
# Set to anything, every error comes with the frames that it passed through.
TRACEBACK = "SPECDSL_TRACEBACK"


def guarded(main: Callable[[], None]) -> None:
    """Run a script; where it stops for a reason that is no bug, say it on stderr and exit.

    Exit codes are those of `specdsl`: 2 for what a diagnostic says, 130 when interrupted. Whatever
    else is raised is a bug, of the script or of ours, and keeps its traceback.
    """
    if os.environ.get(TRACEBACK):
        main()
        return
    try:
        main()
    except SpecError as error:
        _stop("\n\n".join(render(item) for item in error.diagnostics), USAGE)
    except Unsupported as error:
        told = SpecError.of("E0901", str(error), error.place, help=error.advice)
        _stop("\n\n".join(render(item) for item in told.diagnostics), USAGE)
    except Mistake as error:
        _stop(f"check: {error}", USAGE)
    except KeyboardInterrupt:
        _stop("interrupted: run it again to go on after the last whole epoch", INTERRUPTED)


def _stop(text: str, code: int) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.exit(code)
