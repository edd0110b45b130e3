"""Build the wheel, install it alone into an empty environment, and check one spec with it.

The new environment sees the libraries of the environment that runs this script, but not its
specdsl: what is missing from the wheel (the grammar, the JSON schema) is missing there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SPEC = """spec 1.0
network double: real[1] -> real[1] {
  layer dense(weight = [[2]], bias = [0])
}
property grows { forall x in [1, 2]  show double(x) >= 1 }
property shrinks { forall x in [1, 2]  show double(x) <= 1 }
check grows, shrinks
"""
FALSIFIED = 1

# An editable install puts the checkout on the path by such a file; everything else is libraries.
LIBRARIES = """import site, sys
from pathlib import Path
packages = Path({packages!r})
sys.path.append(str(packages))
for entry in packages.glob("*.pth"):
    if "specdsl" not in entry.name.lower():
        site.addpackage(str(packages), entry.name, None)
"""


def run(*command: str | Path, ok: int = 0) -> str:
    """Stdout of a command; ends this script where its exit status is not `ok`."""
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd="/"
    )
    if result.returncode != ok:
        shown = " ".join(str(part) for part in command)
        sys.exit(f"{shown}\nended with {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built into `folder`."""
    build = [sys.executable, "-m", "build", "--wheel"]
    # Without hatchling here, `build` fetches it into an environment of its own: slower, same wheel.
    if find_spec("hatchling") is not None:
        build.append("--no-isolation")
    run(*build, "--outdir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """An environment with the wheel and nothing else of its own; its Python."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    target = Path(run(python, "-c", where).strip())
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    packages = sysconfig.get_path("purelib")
    (target / "libraries.py").write_text(LIBRARIES.format(packages=packages))
    (target / "libraries.pth").write_text("import libraries\n")
    return python


def main() -> None:
    """Build, install, check; the exit status says whether the wheel is whole."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(folder / "dist")
        python = install(wheel, folder / "env")
        home = run(python, "-c", "import specdsl; print(specdsl.__file__)").strip()
        if not Path(home).resolve().is_relative_to((folder / "env").resolve()):
            sys.exit(f"specdsl was imported from {home}, not from the wheel")
        spec = folder / "wheel.spec"
        spec.write_text(SPEC)
        specdsl = folder / "env" / "bin" / "specdsl"
        text = run(specdsl, "check", spec, "--output-format", "json", ok=FALSIFIED)
        verdicts = {r["property"]: r["verdict"] for r in json.loads(text)["results"]}
        if verdicts != {"grows": "verified", "shrinks": "falsified"}:
            sys.exit(f"the wheel says {verdicts}")
        run(python, "-c", "from specdsl.report.document import schema; schema()")
        print(f"{wheel.name}: installs alone, {verdicts}")


if __name__ == "__main__":
    main()
