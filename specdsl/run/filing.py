"""Certificates of obligations as files, one each, by the names of the obligations."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.run.query_result import QueryResult
from specdsl.run.result import Result

PLAIN = re.compile(r"[^A-Za-z0-9._=\[\]-]+")
"""What is taken out of a name before a file has it."""

MAX_NAME = 120


def file_certificate(result: Result | QueryResult, folder: Path | None) -> Result | QueryResult:
    """The result with its certificate in a file of the folder, if it has one and there is a folder;
    without its bytes in any case, which nobody else needs. That a file cannot be written is an
    error of the result.
    """
    content, small = result.content, replace(result, content=None)
    if result.certificate is not None:
        content = result.certificate.content
        small = replace(small, certificate=replace(result.certificate, content=None, proofs=()))
    if folder is None or content is None:
        return small
    from specdsl.writing import write_bytes

    path = folder / certificate_name(result.id)
    try:
        write_bytes(path, content)
    except SpecError as error:
        return replace(small, diagnostics=(*small.diagnostics, *error.diagnostics))
    return replace(small, certificate_file=path)


def certificate_name(id: str) -> str:
    """A name that any file system takes, another one for every id."""
    plain = PLAIN.sub("_", id).strip("_")[:MAX_NAME]
    # Ids differ in what a name leaves out, too.
    tail = "" if plain == id else f"-{sha256(id.encode()).hexdigest()[:8]}"
    return f"{plain}{tail}.sdcert"
