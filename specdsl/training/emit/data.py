"""What both kinds of script say of the datasets of a training."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from json import dumps
from os.path import relpath
from pathlib import Path

from specdsl.language.spec import DatasetDeclaration
from specdsl.language.types import LabelType
from specdsl.training.emit.names import free_name
from specdsl.training.plan.plan import Part


def identifier(name: str) -> str:
    """A declared name as one of Python: what is imported stands behind a dot."""
    return free_name(name)


def augment_of(declaration: DatasetDeclaration) -> int:
    """By how many pixels images are moved while training; 0 where they are not."""
    if declaration.settings.get("augment") != "shift":
        return 0
    pixels = declaration.words["augment"]["pixels"]
    assert isinstance(pixels, Fraction), "the schema says that it is a number"
    return int(pixels)


def is_labelled(declaration: DatasetDeclaration) -> bool:
    """Whether its targets are classes."""
    return len(declaration.element) > 1 and isinstance(declaration.element[1], LabelType)


def has_targets(declaration: DatasetDeclaration) -> bool:
    """Whether its targets are numbers."""
    return len(declaration.element) > 1 and not is_labelled(declaration)


def quoted(text: str) -> str:
    """A string of Python."""
    return dumps(text, ensure_ascii=False)


def file_from(path: Path, folder: Path) -> str:
    """A file as it is called from a folder."""
    return Path(relpath(path.resolve(), folder.resolve())).as_posix()


def slice_text(part: Part) -> str:
    """`[0:7000]`, or nothing for all samples."""
    if part.start is None and part.stop is None:
        return ""
    start = "" if part.start is None else str(part.start)
    stop = "" if part.stop is None else str(part.stop)
    return f"[{start}:{stop}]"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
