"""The datasets of a training in text: a function for each, and the parts that are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from json import dumps
from os.path import relpath
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.language.spec import DatasetDeclaration, Spec, Value
from specdsl.language.types import LabelType
from specdsl.training.emit.lines import call
from specdsl.training.emit.names import free_name
from specdsl.training.emit.numbers import real
from specdsl.training.plan.plan import Part

READ_IDX = '''\
def read_idx(name: str) -> np.ndarray:
    """Images or labels as MNIST has them: big-endian sizes, then bytes."""
    content = {content}
    shape = struct.unpack_from(f">{{content[3]}}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)'''
PLAIN_BYTES = "(HERE / name).read_bytes()"

TENSORS = '''\
def tensors(inputs: np.ndarray, targets: np.ndarray) -> tuple[Tensor, Tensor]:
    """Inputs (n, {sizes}) and {target}."""
    x = torch.tensor(inputs, dtype=torch.float32, device=DEVICE).reshape(-1, {sizes})
    return x, torch.tensor(targets, dtype=torch.{kind}, device=DEVICE)'''


@dataclass(frozen=True, slots=True, eq=False)
class DataText:
    """Functions in order of use, and which imports they need."""

    functions: tuple[str, ...]
    imports: tuple[str, ...]


def standalone_data(
    spec: Spec, parts: Mapping[str, Part], shape: tuple[int, ...], folder: Path
) -> DataText:
    """`parts()` gives the samples of each part by name; inputs have the shape of the network's.

    `folder`: where the script will lie; files are named from there. Raises SpecError E0901 for
    readers that take more than numpy.
    """
    names = list(dict.fromkeys(part.dataset for part in parts.values()))
    declared = [spec.datasets[name] for name in names]
    idx = [path for d in declared if d.reader == "idx" for path in d.paths]
    packed = [path.suffix == ".gz" for path in idx]
    functions = [READ_IDX.format(content=_content(packed))] if idx else []
    labelled = is_labelled(declared[0])
    texts = ("labels (n,)", "int64") if labelled else ("targets (n, ...)", "float32")
    sizes = ", ".join(map(str, shape))
    functions.append(TENSORS.format(sizes=sizes, target=texts[0], kind=texts[1]))
    functions.append(_parts(parts, declared, folder))
    imports = ["gzip"] if any(packed) else []
    if any(d.reader == "sklearn" for d in declared):
        imports.append("sklearn.datasets")
    return DataText(tuple(functions), tuple(imports))


def _content(packed: Sequence[bool]) -> str:
    """The bytes of a file that may be compressed."""
    if not any(packed):
        return PLAIN_BYTES
    unpacked = f"gzip.decompress({PLAIN_BYTES})"
    return unpacked if all(packed) else f'{unpacked} if name.endswith(".gz") else {PLAIN_BYTES}'


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


def _reading(declaration: DatasetDeclaration, folder: Path) -> list[str]:
    """Statements that give `inputs` and `labels` as arrays."""
    paths = [quoted(file_from(path, folder)) for path in declaration.paths]
    arguments = declaration.arguments
    match declaration.reader:
        case "idx" if len(paths) > 1:
            return [*call("inputs = read_idx", paths[:1]), *call("labels = read_idx", paths[1:])]
        case "npy" if len(paths) > 1:
            places = [f"HERE / {path}" for path in paths]
            return [*call("inputs = np.load", places[:1]), *call("labels = np.load", places[1:])]
        case "npz":
            names = (str(arguments.get("inputs") or "x"), str(arguments.get("labels") or "y"))
            inputs, labels = (quoted(name) for name in names)
            arrays = call("arrays = np.load", [f"HERE / {paths[0]}"])
            return [*arrays, f"    inputs, labels = arrays[{inputs}], arrays[{labels}]"]
        case "sklearn":
            name = arguments["name"]
            return [f"    inputs, labels = sklearn.datasets.load_{name}(return_X_y=True)"]
        case reader:
            text = f"a script in plain PyTorch cannot read `{reader}` with these arguments yet"
            help_ = "leave `--standalone` away, or use `idx`, `npz`, `npy` or `sklearn`"
            raise SpecError.of("E0901", text, declaration.span, help=help_)


def quoted(text: str) -> str:
    """A string of Python."""
    return dumps(text, ensure_ascii=False)


def file_from(path: Path, folder: Path) -> str:
    """A file as it is called from a folder."""
    return Path(relpath(path.resolve(), folder.resolve())).as_posix()


def _scaled(settings: Mapping[str, Value]) -> str:
    scale, shift = settings.get("scale", Fraction(1)), settings.get("shift", Fraction(0))
    assert isinstance(scale, Fraction), "checked with the types"
    assert isinstance(shift, Fraction), "checked with the types"
    text = ""
    if scale != 1:
        whole = scale.numerator == 1
        text += f" / {scale.denominator}" if whole else f" * {real(scale)}"
    return text + (f" + {real(shift)}" if shift else "")


def _parts(parts: Mapping[str, Part], declared: Sequence[DatasetDeclaration], folder: Path) -> str:
    lines = ["def parts() -> dict[str, tuple[Tensor, Tensor]]:"]
    lines.append(f'    """The samples of {listed(parts)}."""')
    for each in declared:
        lines += _reading(each, folder)
        called = identifier(each.name)
        scaled = f"inputs{_scaled(each.settings)}"
        lines += call(f"{called}_x, {called}_y = tensors", [scaled, "labels"])
    lines.append("    return {")
    for name, part in parts.items():
        called, picked = identifier(part.dataset), slice_text(part)
        lines.append(f'        "{name}": ({called}_x{picked}, {called}_y{picked}),')
    lines.append("    }")
    return "\n".join(lines)


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
