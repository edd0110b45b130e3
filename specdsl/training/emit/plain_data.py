"""The datasets of a script that stands alone: a function for each way of reading files, and one
that gives the samples of each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.language.spec import DatasetDeclaration, Spec, Value
from specdsl.training.emit.data import (
    file_from,
    identifier,
    is_labelled,
    quoted,
    slice_text,
)
from specdsl.training.emit.lines import WIDTH, call
from specdsl.training.emit.numbers import real
from specdsl.training.plan.plan import Part

# In a `bytearray` PyTorch reads without a warning that nobody may write there.
PLAIN_BYTES = "bytearray((HERE / {}).read_bytes())"
PACKED_BYTES = "bytearray(gzip.decompress((HERE / {}).read_bytes()))"


@dataclass(frozen=True, slots=True, eq=False)
class DataText:
    """Functions in order of use, and which imports they need."""

    functions: tuple[str, ...]
    imports: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Reading:
    """How samples come from files: the parameters of a function that reads them, what it is about
    and its statements, which give arrays `x` and `y`.
    """

    parameters: tuple[str, ...]
    what: str
    lines: tuple[str, ...]
    module: str = ""


def standalone_data(
    spec: Spec, parts: Mapping[str, Part], shape: tuple[int, ...], folder: Path
) -> DataText:
    """`parts()` gives the samples of each part by name; inputs have the shape of the network's.

    `folder`: where the script will lie; files are named from there. Raises SpecError E0901 for
    readers that take more than numpy.
    """
    declared = {name: spec.datasets[name] for name in (p.dataset for p in parts.values())}
    functions: dict[str, str] = {}
    modules: set[str] = set()
    body: list[str] = []
    for name, declaration in declared.items():
        reading = _reading(declaration)
        source = _reader(reading, declaration, shape)
        reader = functions.setdefault(source, f"samples_{len(functions) + 1}".removesuffix("_1"))
        modules.add(reading.module)
        files = [quoted(file_from(path, folder)) for path in declaration.paths]
        body += call(f"{identifier(name)} = {reader}", files)
    written = [f"def {reader}{source}" for source, reader in functions.items()]
    return DataText((*written, _parts(parts, body)), frozenset(modules - {""}))


def _reader(reading: _Reading, declaration: DatasetDeclaration, shape: tuple[int, ...]) -> str:
    """A function without its name: inputs scaled and in their shape, and targets."""
    labelled = is_labelled(declaration)
    target, kind = ("labels (n,)", "long") if labelled else ("targets (n, ...)", "float")
    sizes = ", ".join(map(str, shape))
    given = ", ".join(f"{name}: str" for name in reading.parameters)
    # Computed in double precision and rounded, as the language does.
    scaled = _scaled(declaration.settings)
    x = f"(x.double(){scaled})" if scaled else "x"
    lines = [
        f"({given}) -> tuple[Tensor, Tensor]:",
        f'    """Inputs (n, {sizes}) and {target} of {reading.what}."""',
        *(f"    {line}" for line in reading.lines),
        f"    return {x}.float().view(-1, {sizes}).to(DEVICE), y.{kind}().to(DEVICE)",
    ]
    return "\n".join(lines)


def _reading(declaration: DatasetDeclaration) -> _Reading:
    arguments, two = declaration.arguments, len(declaration.paths) > 1
    match declaration.reader:
        case "idx" if two:
            return _idx(declaration)
        case "npy" if two:
            loaded = "x, y = (torch.tensor(np.load(HERE / name)) for name in (inputs, labels))"
            return _Reading(("inputs", "labels"), "npy files", (loaded,), "numpy")
        case "npz":
            names = (str(arguments.get("inputs") or "x"), str(arguments.get("labels") or "y"))
            inputs, labels = (quoted(name) for name in names)
            picked = f"x, y = torch.tensor(arrays[{inputs}]), torch.tensor(arrays[{labels}])"
            lines = ("arrays = np.load(HERE / file)", picked)
            return _Reading(("file",), "an npz file", lines, "numpy")
        case "sklearn":
            loaded = f"arrays = sklearn.datasets.load_{arguments['name']}(return_X_y=True)"
            lines = (loaded, "x, y = (torch.tensor(array) for array in arrays)")
            return _Reading((), "scikit-learn", lines, "sklearn.datasets")
        case reader:
            text = f"a script in plain PyTorch cannot read `{reader}` with these arguments yet"
            help_ = "leave `--standalone` away, or use `idx`, `npz`, `npy` or `sklearn`"
            raise SpecError.of("E0901", text, declaration.span, help=help_)


def _idx(declaration: DatasetDeclaration) -> _Reading:
    """Big-endian sizes, their number in the fourth byte, then a byte for each entry."""
    packed = [path.suffix == ".gz" for path in declaration.paths]
    names = ("inputs", "labels")
    reads = [PACKED_BYTES if each else PLAIN_BYTES for each in packed]
    if packed[0] == packed[1]:
        read = [f"files = [{reads[0].format('name')} for name in (inputs, labels)]"]
    else:
        contents = ", ".join(r.format(n) for r, n in zip(reads, names, strict=True))
        read = [f"files = [{contents}]"]
    bytes_ = "torch.frombuffer(file, dtype=torch.uint8, offset=4 + 4 * file[3])"
    numbers = f"x, y = ({bytes_} for file in files)"
    what = "idx files, where sizes come first"
    return _Reading(names, what, (*read, numbers), "gzip" if any(packed) else "")


def _scaled(settings: Mapping[str, Value]) -> str:
    scale, shift = settings.get("scale", Fraction(1)), settings.get("shift", Fraction(0))
    assert isinstance(scale, Fraction), "checked with the types"
    assert isinstance(shift, Fraction), "checked with the types"
    text = ""
    if scale != 1:
        whole = scale.numerator == 1
        text += f" / {scale.denominator}" if whole else f" * {real(scale)}"
    return text + (f" + {real(shift)}" if shift else "")


def _parts(parts: Mapping[str, Part], body: list[str]) -> str:
    """The function that gives samples by the name of their part."""
    chosen: list[str] = []
    for name, part in parts.items():
        all_, picked = identifier(part.dataset), slice_text(part)
        some = f"tuple(values{picked} for values in {all_})" if picked else all_
        chosen.append(f'"{name}": {some}')
    whole = f"    return {{{', '.join(chosen)}}}"
    if len(whole) > WIDTH:
        whole = "\n".join(["    return {", *(f"        {entry}," for entry in chosen), "    }"])
    lines = ["def parts() -> dict[str, tuple[Tensor, ...]]:"]
    return "\n".join([*lines, *body, whole])
