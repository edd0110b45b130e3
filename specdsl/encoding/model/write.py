"""`LinearModel` as text in the LP, MPS and NL formats, through Pyomo's writers.

Names are `relu_3(17)`: layer and neuron (the formats do not allow square brackets). A row with two
finite sides is written as one row when they are equal, else as two.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.model.pyomo_model import to_pyomo


def write_lp(model: LinearModel) -> str:
    """CPLEX LP format, numbers in full float64 precision."""
    from pyomo.repn.plugins.lp_writer import LPWriter

    stream = StringIO()
    LPWriter().write(to_pyomo(model).model, stream, symbolic_solver_labels=True)
    return stream.getvalue()


def write_mps(model: LinearModel) -> str:
    """Free MPS format, numbers in full float64 precision.

    It minimises, as the format does where nothing is said: the section that would say so is an
    extension, which GLPK does not read.
    """
    built = to_pyomo(model).model
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.mps"
        built.write(str(path), format="mps", io_options={"symbolic_solver_labels": True})
        return path.read_text().replace("OBJSENSE\n MIN\n", "", 1)


@dataclass(frozen=True, slots=True)
class NlFiles:
    """A model in AMPL's format knows columns and rows by numbers; their names are in two files
    beside it, one a line.
    """

    text: str
    columns: str
    rows: str


def write_nl(model: LinearModel) -> NlFiles:
    """AMPL's NL format, as text."""
    built = to_pyomo(model).model
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.nl"
        built.write(str(path), format="nl", io_options={"symbolic_solver_labels": True})
        found = (path, path.with_suffix(".col"), path.with_suffix(".row"))
        return NlFiles(*(each.read_text() for each in found))
