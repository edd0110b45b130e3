"""Every stage of the compiler as text, for `specdsl compile`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from specdsl.backend import Unsupported, require_plain
from specdsl.diagnostics import SpecError
from specdsl.files import read_source
from specdsl.language.checking.combinations import Combination
from specdsl.query.query import Query
from specdsl.run.decide import unsupported
from specdsl.run.selection import Selection

if TYPE_CHECKING:
    from specdsl.encoding.model.linear_model import LinearModel

SUFFIXES: Mapping[str, str] = {
    "tree": ".tree",
    "spec": ".checked",
    "query": ".query",
    "graph": ".graph",
    "lp": ".lp",
    "mps": ".mps",
    "nl": ".nl",
    "smt2": ".smt2",
    "dot": ".dot",
    "vnnlib": ".vnnlib",
    "onnx": ".onnx",
}
"""Stage to the ending of its files."""

FOR_SOLVERS = frozenset({"lp", "mps", "nl", "smt2", "vnnlib"})
"""Stages that state a question for others, who know of no noise."""

COMMENTS: Mapping[str, str] = {"query": "# ", "graph": "# "}
"""Stages several of whose texts may follow one another on one stream, each under its name."""


@dataclass(frozen=True, slots=True)
class StageText:
    """One text, or the bytes of a model. `name` is a file name without a folder; `title` the id it
    stands for.

    `files`: what the text speaks about, by file name, to be written beside it.
    """

    name: str
    title: str
    text: str | bytes
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)


def tree_text(path: Path) -> StageText:
    """The syntax tree of a file. Raises SpecError."""
    from specdsl.language.parsing.parser import parse
    from specdsl.language.printing.dump import dump_tree

    text = dump_tree(parse(read_source(path)))
    return StageText(path.stem + SUFFIXES["tree"], str(path), text)


def spec_text(path: Path, combination: Combination) -> StageText:
    """The checked specification."""
    from specdsl.language.printing.dump import dump_spec

    name = file_name(path.stem + combination.suffix) + SUFFIXES["spec"]
    return StageText(name, str(path) + combination.suffix, dump_spec(combination.spec))


def stage_texts(
    combinations: Sequence[Combination], stage: str, selection: Selection | None
) -> Iterator[StageText]:
    """One text for each selected obligation (for `lp`, `mps` and `nl`, for each of its cases).

    Raises SpecError for what cannot be elaborated, or has no rule in that stage (E0855).
    """
    from specdsl.query.elaboration.values.resources import Resources
    from specdsl.run.obligations import obligations_of

    resources = Resources()
    models: dict[str, bytes] = {}
    for obligation in (o for each in combinations for o in obligations_of(each, resources)):
        if selection is not None and not selection.matches(obligation.id):
            continue
        try:
            query = obligation.query(resources)
            if stage in FOR_SOLVERS:
                require_plain(stage, query)
            if stage == "vnnlib":
                yield _vnnlib(query, obligation.id, models)
                continue
            if stage == "nl":
                yield from _nl(query, obligation.id)
                continue
            for suffix, text in _WRITERS[stage](query):
                name = file_name(obligation.id) + suffix + SUFFIXES[stage]
                yield StageText(name, obligation.id, text)
        except Unsupported as error:
            raise SpecError([unsupported(error, obligation)]) from error


def network_models(
    combinations: Sequence[Combination], selection: Selection | None
) -> Iterator[StageText]:
    """The ONNX file of each selected network: of one written in layers, or the one it names.

    A network that is composed of others has none of its own. One that several combinations share
    comes once. Raises SpecError for a network that cannot be read (E05xx, E06xx) or built (E062x,
    E0630).
    """
    from specdsl.query.elaboration.values.resources import Resources

    resources = Resources()
    seen: set[tuple[str, bytes]] = set()
    for combination in combinations:
        spec = combination.spec
        for name, declaration in spec.networks.items():
            id = f"{Path(spec.source.name).name}::{name}{combination.suffix}"
            if declaration.value is not None or not (selection is None or selection.matches(id)):
                continue
            model = resources.network(spec, name).imported.model
            if (name, model) not in seen:
                seen.add((name, model))
                yield StageText(file_name(id) + SUFFIXES["onnx"], id, model)


def file_name(id: str) -> str:
    """An obligation's id as a file name: `robust_7` for `f.spec::robust[7]`."""
    return re.sub(r"[^\w.-]+", "_", id.rpartition("::")[2]).strip("_")


def _query(query: Query) -> Iterator[tuple[str, str]]:
    from specdsl.query.dump import dump

    yield "", dump(query)


def _graph(query: Query) -> Iterator[tuple[str, str]]:
    from specdsl.graph.dump import dump

    yield "", dump(query.graph)


def _dot(query: Query) -> Iterator[tuple[str, str]]:
    from specdsl.graph.dot import to_dot

    yield "", to_dot(query.graph, query.name)


def _smt2(query: Query) -> Iterator[tuple[str, str]]:
    from specdsl.backends.smt.write import write_smt2

    yield "", write_smt2(query)


def _vnnlib(query: Query, id: str, models: dict[str, bytes]) -> StageText:
    """VNN-LIB 2.0. `models` so far: a network that several obligations share is one file."""
    from specdsl.query.vnnlib.write import write_vnnlib2

    written = write_vnnlib2(query)
    files = {name: _model_file(name, model, models) for name, model in written.models.items()}
    models.update({file: written.models[name] for name, file in files.items()})
    networks = " ".join(f"--network {name}={file}" for name, file in files.items())
    name = file_name(id) + SUFFIXES["vnnlib"]
    command = f"; specdsl-vnnlib verify {name} {networks}\n"
    beside = {file: models[file] for file in files.values()}
    return StageText(name, id, command + written.text, beside)


def _model_file(name: str, model: bytes, taken: Mapping[str, bytes]) -> str:
    """`f.onnx`, or `f_2.onnx` where another network has that name already."""
    file, number = f"{name}.onnx", 2
    while taken.get(file, model) != model:
        file, number = f"{name}_{number}.onnx", number + 1
    return file


def _lp(query: Query) -> Iterator[tuple[str, str]]:
    from specdsl.encoding.model.write import write_lp

    return _models(query, write_lp)


def _mps(query: Query) -> Iterator[tuple[str, str]]:
    from specdsl.encoding.model.write import write_mps

    return _models(query, write_mps)


def _nl(query: Query, id: str) -> Iterator[StageText]:
    """The names of columns and rows are in files beside the model."""
    from specdsl.encoding.model.write import write_nl

    for suffix, model in _case_models(query):
        stem, written = file_name(id) + suffix, write_nl(model)
        beside = {".col": written.columns, ".row": written.rows}
        files = {stem + ending: text.encode() for ending, text in beside.items()}
        yield StageText(stem + SUFFIXES["nl"], id, written.text, files)


def _models(query: Query, write: Callable[[LinearModel], str]) -> Iterator[tuple[str, str]]:
    for suffix, model in _case_models(query):
        yield suffix, write(model)


def _case_models(query: Query) -> Iterator[tuple[str, LinearModel]]:
    """What the file's name ends in, and the model. Raises SpecError E0858."""
    from specdsl.encoding.cases import case_models

    for case, model in case_models(query):
        suffix = f".case_{case}" if len(query.cases) > 1 else ""
        if model is None:
            raise SpecError.of("E0858", f"case {case} of `{query.name}` has no constraint")
        yield suffix, model


_WRITERS: Mapping[str, Callable[[Query], Iterator[tuple[str, str]]]] = {
    "query": _query,
    "graph": _graph,
    "dot": _dot,
    "smt2": _smt2,
    "lp": _lp,
    "mps": _mps,
}
