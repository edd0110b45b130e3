"""What a spec may ask for that this version only checks: refused before anything is solved."""

from __future__ import annotations

from specdsl.diagnostics import Diagnostics, diagnostic
from specdsl.language.schemas import BACKENDS, REPORTS
from specdsl.language.spec import CheckDeclaration, OptimizeDeclaration, SearchDeclaration


def refuse_to_come(
    declaration: CheckDeclaration | OptimizeDeclaration | SearchDeclaration, using: str | None
) -> None:
    """Raise SpecError E0901 for a backend or report that does not exist yet.

    `using`: the backend of the command line, which stands in for the one written.
    """
    found = Diagnostics()
    choice = declaration.backend
    if choice is not None and using is None and choice.name in BACKENDS.to_come:
        message = f"the backend `{choice.name}` is not supported yet"
        help = "leave `using` out, or take another with `--using`"
        found.add(diagnostic("E0901", message, choice.span, help=help))
    for request in declaration.reports:
        if request.name in REPORTS.to_come:
            message = f"the report `{request.name}` is not supported yet"
            found.add(diagnostic("E0901", message, request.span, help="leave it out for now"))
    found.raise_errors()
